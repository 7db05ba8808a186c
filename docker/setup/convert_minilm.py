#!/usr/bin/env python3
"""Writes a BERT encoder with mean pooling (all-MiniLM-L6-v2) as ONNX, from its safetensors weights.

    convert_minilm.py FOLDER OUT.onnx     FOLDER holds config.json and model.safetensors

One output, `sentence_embedding`: the mean of the last hidden states over the attention mask, scaled to length 1.
Opset 17, standard operators only, weights in float32; equal inputs give equal bytes.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NUMPY_TYPES = {"F32": np.float32, "I64": np.int64}
MASKED = -10_000.0


def read_safetensors(path):
    data = path.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[8 + header_bytes + begin : 8 + header_bytes + end]
        tensors[name.removeprefix("bert.")] = np.frombuffer(raw, NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


class Graph:
    """Collects nodes and constants."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.initializers = []
        self.counter = 0

    def fresh(self, prefix):
        self.counter += 1
        return f"{prefix}_{self.counter}"

    def constant(self, array):
        name = self.fresh("c")
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, value):
        return self.constant(np.array(value, np.float32))

    def indices(self, values):
        return self.constant(np.array(values, np.int64))

    def weight(self, name):
        return self.constant(self.weights[name])

    def add(self, op, inputs, output=None, **attributes):
        output = output or self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def linear(self, x, name):
        product = self.add("MatMul", [x, self.constant(self.weights[name + ".weight"].T)])
        return self.add("Add", [product, self.weight(name + ".bias")])

    def layer_norm(self, x, name, epsilon):
        scale, bias = self.weight(name + ".weight"), self.weight(name + ".bias")
        return self.add("LayerNormalization", [x, scale, bias], axis=-1, epsilon=epsilon)

    def gelu(self, x):
        inner = self.add("Erf", [self.add("Div", [x, self.number(np.sqrt(2))])])
        half = self.add("Mul", [x, self.number(0.5)])
        return self.add("Mul", [half, self.add("Add", [inner, self.number(1)])])


def embeddings(graph, epsilon):
    length = graph.add("Gather", [graph.add("Shape", ["input_ids"]), graph.indices([1])], axis=0)
    table = graph.weight("embeddings.position_embeddings.weight")
    positions = graph.add("Slice", [table, graph.indices([0]), length, graph.indices([0])])
    words = graph.add("Gather", [graph.weight("embeddings.word_embeddings.weight"), "input_ids"], axis=0)
    types = graph.add("Gather", [graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids"], axis=0)
    total = graph.add("Add", [graph.add("Add", [words, types]), positions])
    return graph.layer_norm(total, "embeddings.LayerNorm", epsilon)


def attention(graph, x, prefix, heads, width, bias):
    def split(name, perm):
        shape = graph.indices([0, -1, heads, width // heads])
        return graph.add("Transpose", [graph.add("Reshape", [graph.linear(x, prefix + name), shape])], perm=perm)

    query = split("attention.self.query", [0, 2, 1, 3])
    key = split("attention.self.key", [0, 2, 3, 1])
    value = split("attention.self.value", [0, 2, 1, 3])
    scores = graph.add("Mul", [graph.add("MatMul", [query, key]), graph.number(1 / np.sqrt(width // heads))])
    weights = graph.add("Softmax", [graph.add("Add", [scores, bias])], axis=-1)
    mixed = graph.add("Transpose", [graph.add("MatMul", [weights, value])], perm=[0, 2, 1, 3])
    joined = graph.add("Reshape", [mixed, graph.indices([0, -1, width])])
    return graph.linear(joined, prefix + "attention.output.dense")


def layer(graph, x, number, config, bias):
    prefix, epsilon = f"encoder.layer.{number}.", config["layer_norm_eps"]
    attended = attention(graph, x, prefix, config["num_attention_heads"], config["hidden_size"], bias)
    x = graph.layer_norm(graph.add("Add", [attended, x]), prefix + "attention.output.LayerNorm", epsilon)
    inner = graph.gelu(graph.linear(x, prefix + "intermediate.dense"))
    out = graph.add("Add", [graph.linear(inner, prefix + "output.dense"), x])
    return graph.layer_norm(out, prefix + "output.LayerNorm", epsilon)


def pool(graph, hidden, mask):
    mask = graph.add("Unsqueeze", [mask, graph.indices([2])])
    masked = graph.add("Mul", [hidden, mask])
    total = graph.add("ReduceSum", [masked, graph.indices([1])], keepdims=0)
    count = graph.add("ReduceSum", [mask, graph.indices([1])], keepdims=0)
    mean = graph.add("Div", [total, graph.add("Clip", [count, graph.number(1e-9)])])
    length = graph.add("ReduceL2", [mean], axes=[1], keepdims=1)
    graph.add("Div", [mean, graph.add("Clip", [length, graph.number(1e-12)])], "sentence_embedding")


def convert(folder):
    config = json.loads((folder / "config.json").read_text())
    graph = Graph(read_safetensors(folder / "model.safetensors"))
    mask = graph.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    open_mask = graph.add("Sub", [graph.number(1), graph.add("Unsqueeze", [mask, graph.indices([1, 2])])])
    bias = graph.add("Mul", [open_mask, graph.number(MASKED)])
    x = embeddings(graph, config["layer_norm_eps"])
    for number in range(config["num_hidden_layers"]):
        x = layer(graph, x, number, config, bias)
    pool(graph, x, mask)

    def ids(name):
        return helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])

    output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", config["hidden_size"]])
    inputs = [ids("input_ids"), ids("attention_mask"), ids("token_type_ids")]
    made = helper.make_graph(graph.nodes, "sentence_encoder", inputs, [output], graph.initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    folder, target = map(pathlib.Path, sys.argv[1:])
    target.write_bytes(convert(folder).SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
