#!/usr/bin/env python3
"""Makes a cross-encoder directory small enough to commit, and its scores of a few pairs by Python's onnxruntime.

    make.py      writes model.onnx, tokenizer.json and scores.json beside itself

Its score counts words: 3 for every word of the utterance that the greeting has, less 0.5 for every word of the utterance, less 2. So the
order of the pair matters, as it does for a real one. Needs numpy, onnx, onnxruntime 1.23.2, tokenizers 0.15.2.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HERE = pathlib.Path(__file__).parent
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = "hello everyone welcome to the stream good morning thank you".split()
PAIRS = [
    ("hello everyone", "hello everyone"), ("hello", "hello everyone welcome to the stream"), ("hello everyone welcome", "hello"),
    ("Good morning", "GOOD morning, thank you"), ("good morning", "something else"), ("thank you", "to the stream"),
]


def tokenizer():
    vocabulary = {word: i for i, word in enumerate(SPECIALS + WORDS)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def model():
    size = len(SPECIALS) + len(WORDS)
    table = np.eye(size, dtype=np.float32)
    table[: len(SPECIALS)] = 0
    constants = {
        "table": table, "all_words": (table.sum(1, keepdims=True) * 1.0).astype(np.float32), "three": np.float32(3), "half": np.float32(0.5),
        "two": np.float32(2), "one": np.float32(1), "axis": np.array([1], np.int64), "last": np.array([2], np.int64),
    }
    n = helper.make_node
    nodes = [
        n("Gather", ["table", "input_ids"], ["words"]),
        n("Cast", ["token_type_ids"], ["second"], to=TensorProto.FLOAT),
        n("Unsqueeze", ["second", "last"], ["of_second"]),
        n("Sub", ["one", "of_second"], ["of_first"]),
        n("Mul", ["words", "of_first"], ["first_words"]),
        n("Mul", ["words", "of_second"], ["second_words"]),
        n("ReduceMax", ["first_words"], ["greeting"], axes=[1], keepdims=0),
        n("ReduceSum", ["second_words", "axis"], ["utterance"], keepdims=0),
        n("Mul", ["greeting", "utterance"], ["both"]),
        n("ReduceSum", ["both", "axis"], ["shared"], keepdims=1),
        n("MatMul", ["utterance", "all_words"], ["length"]),
        n("Mul", ["shared", "three"], ["gain"]),
        n("Mul", ["length", "half"], ["loss"]),
        n("Sub", ["gain", "loss"], ["difference"]),
        n("Sub", ["difference", "two"], ["logits"]),
    ]
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "cross_encoder", ids, [logits], initializers),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )
    onnx.checker.check_model(made)
    return made


def main():
    tokens = tokenizer()
    tokens.save(str(HERE / "tokenizer.json"))
    onnx.save(model(), HERE / "model.onnx")
    session = onnxruntime.InferenceSession(HERE / "model.onnx")
    scores = []
    for greeting, said in PAIRS:
        encoded = tokens.encode(greeting, said)
        fields = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
        logits = session.run(None, {name: np.array([ids], np.int64) for name, ids in fields.items()})[0]
        scores.append([greeting, said, float(logits[0, 0])])
    (HERE / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    print(scores)


if __name__ == "__main__":
    main()
