#!/usr/bin/env python3
"""Does what waits beside an input change its result? Prints, for each model that takes batches, the largest difference.

    batch_invariance.py MODELS WHISPER     the folder of the models, and a Whisper directory (tests/data/whisper/tiny)

Every input is run alone and in batches of 2, 7 and 16 of different inputs of one length; "bits" says whether all its outputs are the
same bytes. One thread, Python's onnxruntime of the version that is pinned (1.24.4), deterministic compute. Needs numpy.
"""

import pathlib
import sys

import numpy as np
import onnxruntime

BATCHES = [2, 7, 16]


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    return onnxruntime.InferenceSession(path, options)


def compare(name, run, inputs):
    """`run` takes arrays whose first axis is the batch."""
    count = max(BATCHES)
    alone = [run({key: value[i : i + 1] for key, value in inputs.items()}) for i in range(count)]
    for batch in BATCHES:
        together = run({key: value[:batch] for key, value in inputs.items()})
        largest, same = 0.0, True
        for i in range(batch):
            for one, many in zip(alone[i], together):
                row = many[i : i + 1]
                largest = max(largest, float(np.abs(one - row).max()))
                same &= one.tobytes() == np.ascontiguousarray(row).tobytes()
        print(f"| `{name}` | {batch} | {largest:.1e} | {'yes' if same else 'no'} |")


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    models, whisper = map(pathlib.Path, sys.argv[1:])
    rng = np.random.default_rng(1)
    print(f"onnxruntime {onnxruntime.__version__}\n| model | batch | largest difference | same bits |\n|---|---|---|---|")
    for length in (8, 24):
        sentences = session(models / "minilm.onnx")
        ids = rng.integers(1_000, 20_000, (16, length))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        compare(f"minilm.onnx, {length} tokens", lambda x: sentences.run(None, x), inputs)
    vad = session(models / "silero_vad.onnx")
    states = rng.standard_normal((16, 2, 128)).astype(np.float32)
    sound = rng.standard_normal((16, 576)).astype(np.float32) * 0.1

    def run_vad(x):
        fields = {"input": x["input"], "state": x["state"].transpose(1, 0, 2), "sr": np.array(16_000, np.int64)}
        output, state = vad.run(None, fields)
        return [output, state.transpose(1, 0, 2)]

    compare("silero_vad.onnx", run_vad, {"input": sound, "state": states})
    encoder = session(whisper / "encoder_model.onnx")
    features = rng.standard_normal((16, 80, 3_000)).astype(np.float32)
    compare("tiny Whisper, encoder", lambda x: encoder.run(None, x), {"input_features": features})
    decoder = session(whisper / "decoder_model.onnx")
    hidden = rng.standard_normal((16, 1_500, 16)).astype(np.float32)
    prompts = rng.integers(0, 800, (16, 4))
    compare("tiny Whisper, decoder", lambda x: decoder.run(None, x), {"input_ids": prompts, "encoder_hidden_states": hidden})


if __name__ == "__main__":
    main()
