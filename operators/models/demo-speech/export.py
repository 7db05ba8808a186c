#!/usr/bin/env python3
"""Writes weights.npz as ctc.onnx, and measures it on test.npz.

Needs onnx and onnxruntime. Weights stand in the file as float16 and are widened when it is loaded: all arithmetic is float32. Input `mel` [1, frames, 80], frames a multiple of 3; output `logprobs` [1, frames / 3, 29].
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from frontend import edits, scaled, spelled
from generate import test_list

DILATIONS = [1, 2] * 5


def graph(weights):
    nodes, constants = [], []

    def constant(array):
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float16), name))
        return add("Cast", [name], to=TensorProto.FLOAT)

    def add(op, inputs, **attributes):
        name = f"{op.lower()}{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def turned(x):
        return add("Transpose", [x], perm=[0, 2, 1])

    def convolution(x, kernel, bias, stride, dilation):
        pads = [3, 3] if stride == 3 else [2 * dilation] * 2
        inputs = [x, constant(kernel.transpose(2, 1, 0)), constant(bias)]
        return add("Relu", [add("Conv", inputs, strides=[stride], dilations=[dilation], pads=pads)])

    def layer_norm(x, scale, shift):
        return add("LayerNormalization", [x, constant(scale), constant(shift)], axis=-1, epsilon=1e-5)

    x = convolution(turned("mel"), weights["in"], weights["in_bias"], 3, 1)
    for layer, dilation in enumerate(DILATIONS):
        normed = turned(layer_norm(turned(x), weights[f"scale{layer}"], weights[f"shift{layer}"]))
        x = add("Add", [x, convolution(normed, weights[f"conv{layer}"], weights[f"bias{layer}"], 1, dilation)])
    out = layer_norm(turned(x), weights["scale_out"], weights["shift_out"])
    out = add("Add", [add("MatMul", [out, constant(weights["out"])]), constant(weights["out_bias"])])
    nodes.append(helper.make_node("LogSoftmax", [out], ["logprobs"], axis=-1))
    mel = helper.make_tensor_value_info("mel", TensorProto.FLOAT, [1, "frames", 80])
    logprobs = helper.make_tensor_value_info("logprobs", TensorProto.FLOAT, [1, "out", 29])
    made = helper.make_graph(nodes, "ctc", [mel], [logprobs], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def word_errors(session):
    """Word error of all test utterances, of the sentences that training may have heard in other voices, and of new ones."""
    data, counts = np.load("test.npz"), {"all": [0, 0], "heard": [0, 0], "new": [0, 0]}
    for row, length, end in zip(test_list(), data["length"], np.cumsum(data["length"])):
        mel = scaled(data["mel"][end - length : end])
        mel = np.pad(mel, ((0, -len(mel) % 3), (0, 0)))
        heard = spelled(session.run(None, {"mel": mel[None]})[0][0].argmax(-1))
        for group in ["all", row["kind"]]:
            counts[group][0] += edits(row["text"].split(), heard.split())
            counts[group][1] += len(row["text"].split())
    return {group: round(wrong / total, 3) for group, (wrong, total) in counts.items()}


def main():
    onnx.save(graph(np.load("weights.npz")), "ctc.onnx")
    print(word_errors(onnxruntime.InferenceSession("ctc.onnx")))


if __name__ == "__main__":
    main()
