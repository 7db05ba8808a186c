#!/usr/bin/env python3
"""Convert MediaPipe's TFLite face models to plain ONNX (opset 16, no custom operators).

    convert_face.py IN.tflite OUT.onnx

Handles exactly the operators that the short-range face detector and the attention landmark model
use, and stops on any other. The same input bytes give the same output bytes.

How it works: one pass over the flatbuffer in execution order. fp16 weights behind DEQUANTIZE are
folded to fp32. Four-dimensional activations are kept channels-first between convolutions, so one
Transpose stands at the input (which stays NHWC, as in the original) and one before each reshape.
TFLite's SAME padding becomes explicit padding with the odd pixel at the end.
"""

import sys
from dataclasses import dataclass

import numpy as np
import onnx
import tflite
from flatbuffers import flexbuffers
from onnx import TensorProto, helper, numpy_helper
from tflite.Model import Model

OPSET = 16
IR_VERSION = 8
OPERATOR_NAMES = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
NUMPY_TYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
}
TO_NCHW = [0, 3, 1, 2]
TO_NHWC = [0, 2, 3, 1]

# How the elements of a value lie in memory, as seen from TFLite's shape.
AS_IN_TFLITE = "as in tflite"
CHANNELS_FIRST = "channels first"


@dataclass(frozen=True)
class Value:
    name: str
    layout: str


def f32(x):
    return np.array(x, np.float32)


def i64(x):
    return np.array(x, np.int64)


class Converter:
    def __init__(self, data):
        self.model = Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.nodes = []
        self.initializers = {}
        self.constants = {}  # tensor index -> array
        self.values = {}  # tensor index -> Value
        self.transposed = {}  # (tensor index, layout) -> name
        self.counter = 0

    def convert(self):
        inputs = [self.declare_input(int(i)) for i in self.graph.InputsAsNumpy()]
        for k in range(self.graph.OperatorsLength()):
            self.convert_operator(self.graph.Operators(k))
        outputs = [self.declare_output(int(i)) for i in self.graph.OutputsAsNumpy()]
        graph = helper.make_graph(
            self.nodes, "face", inputs, outputs, list(self.initializers.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="convert_face",
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def declare_input(self, index):
        name = self.tensor_name(index)
        self.values[index] = Value(name, AS_IN_TFLITE)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape(index))

    def declare_output(self, index):
        name = self.tensor_name(index)
        self.emit("Identity", [self.get(index, AS_IN_TFLITE)], name)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape(index))

    def convert_operator(self, operator):
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        name = OPERATOR_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name == "CUSTOM":
            name = code.CustomCode().decode()
        handler = getattr(self, "op_" + name.lower(), None)
        if handler is None:
            raise SystemExit(f"operator {name} is not supported by this converter")
        inputs = [int(i) for i in operator.InputsAsNumpy()]
        handler(operator, inputs, int(operator.OutputsAsNumpy()[0]))

    # --- building blocks ---

    def fresh(self, prefix):
        self.counter += 1
        return f"{prefix}_{self.counter}"

    def constant(self, array, prefix="c"):
        name = self.fresh(prefix)
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def emit(self, op, inputs, output=None, **attributes):
        output = output or self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def set(self, index, name, layout):
        self.values[index] = Value(name, layout)

    def get(self, index, layout):
        """The name of tensor `index` in `layout`; a transpose is made at most once."""
        value = self.values[index]
        if value.layout == layout or len(self.shape(index)) != 4:
            return value.name
        key = (index, layout)
        if key not in self.transposed:
            perm = TO_NCHW if layout == CHANNELS_FIRST else TO_NHWC
            self.transposed[key] = self.emit("Transpose", [value.name], perm=perm)
        return self.transposed[key]

    def tensor_name(self, index):
        return self.graph.Tensors(index).Name().decode()

    def shape(self, index):
        tensor = self.graph.Tensors(index)
        return [int(v) for v in tensor.ShapeAsNumpy()] if tensor.ShapeLength() else []

    def constant_value(self, index):
        if index not in self.constants:
            tensor = self.graph.Tensors(index)
            raw = self.model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
            array = np.frombuffer(raw, NUMPY_TYPES[tensor.Type()]).reshape(self.shape(index))
            self.constants[index] = array
        return self.constants[index]

    @staticmethod
    def options(operator, cls):
        table = operator.BuiltinOptions()
        options = cls()
        options.Init(table.Bytes, table.Pos)
        return options

    @staticmethod
    def custom_options(operator):
        return flexbuffers.Loads(bytes(operator.CustomOptionsAsNumpy().tobytes()))

    def activation(self, name, function):
        kinds = tflite.ActivationFunctionType
        if function == kinds.NONE:
            return name
        if function == kinds.RELU:
            return self.emit("Relu", [name])
        if function == kinds.RELU6:
            return self.emit("Clip", [name, self.constant(f32(0)), self.constant(f32(6))])
        raise SystemExit(f"activation {function} is not supported by this converter")

    @staticmethod
    def pads(padding, size_in, size_out, kernel, stride, dilation=(1, 1)):
        """ONNX pads [top, left, bottom, right] for TFLite's padding kind."""
        if padding == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        need = [
            max((size_out[d] - 1) * stride[d] + (kernel[d] - 1) * dilation[d] + 1 - size_in[d], 0)
            for d in (0, 1)
        ]
        before = [n // 2 for n in need]
        return before + [n - b for n, b in zip(need, before)]

    # --- built-in operators ---

    def op_dequantize(self, _operator, inputs, output):
        self.constants[output] = self.constant_value(inputs[0]).astype(np.float32)

    def op_conv_2d(self, operator, inputs, output):
        options = self.options(operator, tflite.Conv2DOptions)
        weights = self.constant_value(inputs[1]).transpose(TO_NCHW)  # O,H,W,I -> O,I,H,W
        self.convolution(options, inputs, output, weights, group=1)

    def op_depthwise_conv_2d(self, operator, inputs, output):
        options = self.options(operator, tflite.DepthwiseConv2DOptions)
        weights = self.constant_value(inputs[1]).transpose(3, 0, 1, 2)  # 1,H,W,C -> C,1,H,W
        self.convolution(options, inputs, output, weights, group=self.shape(inputs[0])[3])

    def convolution(self, options, inputs, output, weights, group):
        kernel = weights.shape[2:]
        stride = (options.StrideH(), options.StrideW())
        dilation = (options.DilationHFactor(), options.DilationWFactor())
        size_in, size_out = self.shape(inputs[0])[1:3], self.shape(output)[1:3]
        operands = [self.get(inputs[0], CHANNELS_FIRST), self.constant(weights, "w")]
        if len(inputs) > 2 and inputs[2] >= 0:
            operands.append(self.constant(self.constant_value(inputs[2]), "b"))
        name = self.emit(
            "Conv",
            operands,
            kernel_shape=list(kernel),
            strides=list(stride),
            dilations=list(dilation),
            group=group,
            pads=self.pads(options.Padding(), size_in, size_out, kernel, stride, dilation),
        )
        self.set(output, self.activation(name, options.FusedActivationFunction()), CHANNELS_FIRST)

    def op_relu(self, _operator, inputs, output):
        value = self.values[inputs[0]]
        self.set(output, self.emit("Relu", [value.name]), value.layout)

    def op_prelu(self, _operator, inputs, output):
        """a·x + (1 − a)·relu(x), each by a convolution of one weight a channel: ONNX Runtime leaves its blocked layout of
        channels for a PRelu and enters it again behind it, which cost a third of all time."""
        slope = self.constant_value(inputs[1]).reshape(-1, 1, 1, 1)  # C,1,1,1
        x = self.get(inputs[0], CHANNELS_FIRST)
        channels = {"group": slope.size, "kernel_shape": [1, 1]}
        line = self.emit("Conv", [x, self.constant(slope, "a")], **channels)
        bend = self.emit("Conv", [self.emit("Relu", [x]), self.constant(f32(1) - slope, "b")], **channels)
        self.set(output, self.emit("Add", [line, bend]), CHANNELS_FIRST)

    def op_add(self, operator, inputs, output):
        options = self.options(operator, tflite.AddOptions)
        name = self.emit("Add", [self.get(i, CHANNELS_FIRST) for i in inputs])
        self.set(output, self.activation(name, options.FusedActivationFunction()), CHANNELS_FIRST)

    def op_mul(self, operator, inputs, output):
        options = self.options(operator, tflite.MulOptions)
        factor = self.constant(self.constant_value(inputs[1]))
        name = self.emit("Mul", [self.get(inputs[0], AS_IN_TFLITE), factor])
        self.set(output, self.activation(name, options.FusedActivationFunction()), AS_IN_TFLITE)

    def op_pad(self, _operator, inputs, output):
        amounts = self.constant_value(inputs[1])[TO_NCHW]
        pads = self.constant(i64(np.concatenate([amounts[:, 0], amounts[:, 1]])))
        self.set(output, self.emit("Pad", [self.get(inputs[0], CHANNELS_FIRST), pads]), CHANNELS_FIRST)

    def op_max_pool_2d(self, operator, inputs, output):
        options = self.options(operator, tflite.Pool2DOptions)
        kernel = (options.FilterHeight(), options.FilterWidth())
        stride = (options.StrideH(), options.StrideW())
        size_in, size_out = self.shape(inputs[0])[1:3], self.shape(output)[1:3]
        name = self.emit(
            "MaxPool",
            [self.get(inputs[0], CHANNELS_FIRST)],
            kernel_shape=list(kernel),
            strides=list(stride),
            pads=self.pads(options.Padding(), size_in, size_out, kernel, stride),
        )
        self.set(output, self.activation(name, options.FusedActivationFunction()), CHANNELS_FIRST)

    def op_reshape(self, _operator, inputs, output):
        shape = self.constant(i64(self.shape(output)))
        self.set(output, self.emit("Reshape", [self.get(inputs[0], AS_IN_TFLITE), shape]), AS_IN_TFLITE)

    def op_concatenation(self, operator, inputs, output):
        axis = self.options(operator, tflite.ConcatenationOptions).Axis()
        layout = self.values[inputs[0]].layout
        if layout == CHANNELS_FIRST:
            axis = TO_NCHW.index(axis % 4)
        name = self.emit("Concat", [self.get(i, layout) for i in inputs], axis=axis)
        self.set(output, name, layout)

    def op_strided_slice(self, operator, inputs, output):
        options = self.options(operator, tflite.StridedSliceOptions)
        if options.EllipsisMask() or options.NewAxisMask() or options.ShrinkAxisMask():
            raise SystemExit("strided slice with axis masks is not supported by this converter")
        begin, end, step = (self.constant_value(i).astype(np.int64) for i in inputs[1:4])
        begin = [0 if options.BeginMask() >> k & 1 else int(v) for k, v in enumerate(begin)]
        end = [2**31 - 1 if options.EndMask() >> k & 1 else int(v) for k, v in enumerate(end)]
        operands = [i64(begin), i64(end), i64(range(len(begin))), step]
        x = self.get(inputs[0], AS_IN_TFLITE)
        name = self.emit("Slice", [x] + [self.constant(o) for o in operands])
        self.set(output, name, AS_IN_TFLITE)

    # --- MediaPipe's custom operators (version 2), written out ---

    def op_landmarks2transformmatrix(self, operator, inputs, output):
        """A 4x4 matrix from the crop's pixel grid to the rotated box around a set of landmarks."""
        options = self.custom_options(operator)
        if options["target_rotation_radians"] != 0.0:
            raise SystemExit("a target rotation is not supported by this converter")
        landmarks = self.get(inputs[0], AS_IN_TFLITE)  # 1,n,k

        def pick(indices):
            return self.emit("Gather", [landmarks, self.constant(i64(indices))], axis=1)

        def coordinate(points, k):
            return self.emit("Gather", [points, self.constant(i64([k]))], axis=2)

        def mul(a, b):
            return self.emit("Mul", [a, b])

        def add(a, b):
            return self.emit("Add", [a, b])

        def sub(a, b):
            return self.emit("Sub", [a, b])

        def times(a, factor):
            return mul(a, self.constant(f32(factor)))

        # The rotation, as cosine and sine of the angle between two landmarks.
        across = sub(pick([options["right_rotation_idx"]]), pick([options["left_rotation_idx"]]))
        dx, dy = coordinate(across, 0), coordinate(across, 1)
        length = self.emit("Sqrt", [add(mul(dx, dx), mul(dy, dy))])
        cos, sin = self.emit("Div", [dx, length]), self.emit("Div", [dy, length])

        # The upright bounding box of the rotated points, and its centre rotated back.
        points = pick(list(options["subset_idxs"]))
        px, py = coordinate(points, 0), coordinate(points, 1)
        rx, ry = add(mul(px, cos), mul(py, sin)), sub(mul(py, cos), mul(px, sin))

        def extent(t):
            high = self.emit("ReduceMax", [t], axes=[1], keepdims=1)
            low = self.emit("ReduceMin", [t], axes=[1], keepdims=1)
            return times(add(high, low), 0.5), sub(high, low)

        (mx, width), (my, height) = extent(rx), extent(ry)
        cx, cy = sub(mul(mx, cos), mul(my, sin)), add(mul(mx, sin), mul(my, cos))
        grid_w, grid_h = options["output_width"], options["output_height"]
        sx = times(width, options["scale_x"] / grid_w)
        sy = times(height, options["scale_y"] / grid_h)

        # translate(centre) . rotate . scale . translate(-grid centre)
        m00, m01 = mul(cos, sx), self.emit("Neg", [mul(sin, sy)])
        m10, m11 = mul(sin, sx), mul(cos, sy)
        tx = sub(sub(cx, times(m00, grid_w / 2)), times(m01, grid_h / 2))
        ty = sub(sub(cy, times(m10, grid_w / 2)), times(m11, grid_h / 2))
        zero, one = self.constant(f32([[[0]]])), self.constant(f32([[[1]]]))
        rows = [
            [m00, m01, zero, tx],
            [m10, m11, zero, ty],
            [zero, zero, one, zero],
            [zero, zero, zero, one],
        ]
        rows = [self.emit("Concat", row, axis=2) for row in rows]
        self.set(output, self.emit("Concat", rows, axis=1), AS_IN_TFLITE)

    def op_transformtensorbilinear(self, operator, inputs, output):
        """Bilinear sampling of a feature map through a matrix; zero outside of the map."""
        options = self.custom_options(operator)
        h, w = options["output_height"], options["output_width"]
        _, map_h, map_w, _ = self.shape(inputs[0])
        matrix = self.get(inputs[1], AS_IN_TFLITE)

        def const(x):
            return self.constant(x)

        yy, xx = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
        grid = f32(np.stack([xx.ravel(), yy.ravel(), 0 * xx.ravel(), 0 * xx.ravel() + 1]))[None]
        top = self.emit("Slice", [matrix, const(i64([0])), const(i64([2])), const(i64([1]))])
        sample = self.emit("Sub", [self.emit("MatMul", [top, const(grid)]), const(f32(0.5))])

        limit = const(f32([map_w - 1, map_h - 1]).reshape(1, 2, 1))
        not_below = self.emit("Not", [self.emit("Less", [sample, const(f32(0))])])
        not_above = self.emit("Not", [self.emit("Greater", [sample, limit])])
        inside = self.emit("Cast", [self.emit("And", [not_below, not_above])], to=TensorProto.FLOAT)
        inside = self.emit("ReduceMin", [inside], axes=[1], keepdims=1)
        inside = self.emit("Reshape", [inside, const(i64([1, 1, h, w]))])

        to_unit = const(f32([2 / (map_w - 1), 2 / (map_h - 1)]).reshape(1, 2, 1))
        unit = self.emit("Sub", [self.emit("Mul", [sample, to_unit]), const(f32(1))])
        unit = self.emit("Transpose", [unit], perm=[0, 2, 1])
        unit = self.emit("Reshape", [unit, const(i64([1, h, w, 2]))])
        sampled = self.emit(
            "GridSample",
            [self.get(inputs[0], CHANNELS_FIRST), unit],
            mode="bilinear",
            padding_mode="border",
            align_corners=1,
        )
        self.set(output, self.emit("Mul", [sampled, inside]), CHANNELS_FIRST)

    def op_transformlandmarks(self, _operator, inputs, output):
        """Two-dimensional landmarks through the matrix: x . A^T + t."""
        if self.shape(output)[-1] != 2:
            raise SystemExit("only two-dimensional landmarks are supported by this converter")
        landmarks, matrix = (self.get(i, AS_IN_TFLITE) for i in inputs)

        def part(begin, end):
            bounds = [self.constant(i64(b)) for b in (begin, end, [1, 2])]
            sliced = self.emit("Slice", [matrix] + bounds)
            return self.emit("Transpose", [sliced], perm=[0, 2, 1])

        turned = self.emit("MatMul", [landmarks, part([0, 0], [2, 2])])
        self.set(output, self.emit("Add", [turned, part([0, 3], [2, 4])]), AS_IN_TFLITE)


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    source, target = sys.argv[1:]
    with open(source, "rb") as f:
        model = Converter(f.read()).convert()
    with open(target, "wb") as f:
        f.write(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
