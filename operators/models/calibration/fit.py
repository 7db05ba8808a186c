#!/usr/bin/env python3
"""Fits the calibration of the sentence model to pairs.tsv and writes minilm.json and cosines.json.

    fit.py MODELS     MODELS is the folder that docker/setup/models.sh fills

A logistic curve of the cosine by Newton's method on the likelihood, with a weak prior on the slope (standard deviation 10), so that
pairs that happen to be separable do not make a step of it. cosines.json keeps the cosine of every pair, for the tests.
Needs numpy, onnxruntime and tokenizers (0.15.2 was used).
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
VERSION = "semantic-minilm-calibration-v1.0.0"
PRIOR_DEVIATION = 10.0
NONMATCH_BELOW, MATCH_AT = 0.58, 0.72


def encoder(folder):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "minilm.onnx", options)
    tokenizer = Tokenizer.from_file(str(folder / "minilm_tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def embed(text):
        tokens = tokenizer.encode(text)
        fields = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids}
        return session.run(None, {name: np.array([ids], np.int64) for name, ids in fields.items()})[0][0].astype(np.float64)

    return embed


def fit(cosines, labels):
    """Slope and midpoint of the logistic curve."""
    centre = cosines.mean()
    x = np.stack([cosines - centre, np.ones_like(cosines)], 1)
    w = np.zeros(2)
    prior = np.array([1 / PRIOR_DEVIATION**2, 0])
    for _ in range(100):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (labels - p) - prior * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(prior)
        w = w + np.linalg.solve(hessian, gradient)
    return w[0], centre - w[1] / w[0]


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    embed = encoder(pathlib.Path(sys.argv[1]))
    lines = [line.split("\t") for line in (HERE / "pairs.tsv").read_text().splitlines() if not line.startswith("#")]
    labels = np.array([int(label) for label, _, _ in lines])
    cosines = np.array([embed(greeting) @ embed(said) for _, greeting, said in lines])
    slope, midpoint = (round(float(v), 3) for v in fit(cosines, labels))
    calibration = {"version": VERSION, "slope": slope, "midpoint": midpoint}
    (HERE / "minilm.json").write_text(json.dumps(calibration, indent=2) + "\n")
    rows = [[greeting, said, int(label), round(float(c), 6)] for (label, greeting, said), c in zip(lines, cosines)]
    (HERE / "cosines.json").write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    p = 1 / (1 + np.exp(-slope * (cosines - midpoint)))
    for (label, greeting, said), c, q in sorted(zip(lines, cosines, p), key=lambda row: row[1]):
        side = "match" if q >= MATCH_AT else "none" if q < NONMATCH_BELOW else "gray"
        print(f"{label} {side:5} {q:.3f} {c:.3f} | {greeting} | {said}")
    for name, wanted in (("match", 1), ("no match", 0)):
        chosen = p[labels == wanted]
        print(f"{name}: {len(chosen)} pairs, {(chosen >= MATCH_AT).sum()} match, {(chosen < NONMATCH_BELOW).sum()} none")
    print(calibration)


if __name__ == "__main__":
    main()
