#!/usr/bin/env python3
"""Convert MediaPipe's TFLite face models to plain ONNX (opset 16, no custom operators).

    convert_face.py IN.tflite OUT.onnx

Handles exactly the operators that the short-range face detector and the attention landmark model
use, and stops on any other. The same input bytes give the same output bytes.

How it works: one pass over the flatbuffer's operators by their distance from the input. fp16 weights
behind DEQUANTIZE are folded to fp32. Four-dimensional activations are channels-first, the input too,
with one Transpose before each reshape. TFLite's SAME padding becomes explicit padding with the odd
pixel at the end.

Much of it is for speed in ONNX Runtime, whose convolutions have a layout of their own in which
channels lie in blocks: a graph is fast that stays in that layout and has few nodes. So PRelu, padding
and copies are convolutions, and operators on branches of one shape are one operator with more
channels. None of this changes a bit of a result; `compare_faces.py` in operators/models checks that.
"""

import collections
import itertools
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
    # Of a tensor that lies in a larger one: its place among the channels, the `lane`-th of so many as wide as `width`.
    lane: int = 0
    lanes: int = 1
    width: int = 0


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
        self.matrices = {}  # indices of matrices -> the name of a tensor that holds them all
        self.made = {}  # what a node or constant is made of -> name
        self.plain = set()  # names of tensors outside of the blocked layout of channels
        self.operators = self.find_operators()
        self.signs = self.find_signs()  # tensor index -> 1 or −1 for each channel, by which it is held; 1 if absent
        self.copies = set()  # names of tensors that a convolution merely copied
        self.counter = 0

    def convert(self):
        inputs = [self.declare_input(int(i)) for i in self.graph.InputsAsNumpy()]
        for (name, _), run in itertools.groupby(self.operators, self.kind):
            self.convert_operators(name, list(run))
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
        self.set([index], name, CHANNELS_FIRST)
        shape = [self.shape(index)[axis] for axis in TO_NCHW]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def declare_output(self, index):
        name = self.tensor_name(index)
        self.emit("Identity", [self.get([index], AS_IN_TFLITE)], name)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape(index))

    def find_operators(self):
        """All operators but those that only widen a constant, which are done with here: name, operator, inputs, output. By
        their distance from the input, so that those which can be converted together follow each other."""
        found, depths = [], collections.Counter()
        for operator in (self.graph.Operators(k) for k in range(self.graph.OperatorsLength())):
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            name = OPERATOR_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            name = code.CustomCode().decode() if name == "CUSTOM" else name
            inputs, output = [int(i) for i in operator.InputsAsNumpy()], int(operator.OutputsAsNumpy()[0])
            if name == "DEQUANTIZE":
                self.constants[output] = self.constant_value(inputs[0]).astype(np.float32)
            else:
                depths[output] = 1 + max(depths[i] for i in inputs)
                found.append((name, operator, inputs, output))
        return sorted(found, key=lambda operator: (depths[operator[3]], self.kind(operator)))

    def kind(self, operator):
        """What operators that follow each other must share to be converted together."""
        name, _, inputs, output = operator
        return name, repr([self.shape(inputs[0]), self.shape(output)[:-1]])

    def convert_operators(self, name, run):
        """Converts operators of one kind: together where a handler takes them so. (The branches for lips, eyes and irises are
        of one shape; side by side they are one with more channels.)"""
        _, operators, inputs, outputs = zip(*run)
        together = getattr(self, "all_" + name.lower(), None)
        one = getattr(self, "op_" + name.lower(), None)
        widths = {self.shape(output)[-1] for output in outputs}
        if together and (len(widths) == 1 or len({read[0] for read in inputs}) == len(inputs)):
            together(operators, inputs, outputs)
        elif one or together:
            for _, operator, read, output in run:
                one(operator, read, output) if one else together([operator], [read], [output])
        else:
            raise SystemExit(f"operator {name} is not supported by this converter")

    # --- building blocks ---

    def fresh(self, prefix):
        self.counter += 1
        return f"{prefix}_{self.counter}"

    def constant(self, array, prefix="c"):
        array = np.array(array, order="C")
        key = (prefix, array.dtype.str, array.shape, array.tobytes())
        if key not in self.made:
            name = self.made[key] = self.fresh(prefix)
            self.initializers[name] = numpy_helper.from_array(array, name)
        return self.made[key]

    def emit(self, op, inputs, output=None, **attributes):
        """The name of a node's output; what was asked for before is not made again."""
        key = (op, *inputs, repr(sorted(attributes.items())))
        if output or key not in self.made:
            name = output or self.fresh(op.lower())
            self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
            self.made.setdefault(key, name)
            return name
        return self.made[key]

    def set(self, indices, name, layout, width=0):
        """Says where tensors lie: in one, side by side along their channels, `width` channels each."""
        for lane, index in enumerate(indices):
            self.values[index] = Value(name, layout, lane, len(indices), width or self.shape(index)[-1])

    def get(self, indices, layout):
        """The name of a tensor that holds others side by side, in `layout`."""
        values = [self.values[i] for i in indices]
        whole = len({v.name for v in values}) == 1 and [v.lane for v in values] == list(range(values[0].lanes))
        if whole and all(v.width == self.shape(i)[-1] for i, v in zip(indices, values)):
            return self.laid_out(values[0], layout)
        axis = 1 if layout == CHANNELS_FIRST else 3
        parts = [self.single(i, layout, axis) for i in indices]
        name = self.emit("Concat", parts, axis=axis) if len(parts) > 1 else parts[0]
        if layout == CHANNELS_FIRST:
            # Back in the blocked layout at once, also for those who only add it.
            channels = sum(self.shape(i)[3] for i in indices)
            name = self.copy(name, np.ones((channels, 1, 1, 1), np.float32), channels)
        return name

    def laid_out(self, value, layout):
        if value.layout == layout:
            return value.name
        return self.emit("Transpose", [value.name], perm=TO_NCHW if layout == CHANNELS_FIRST else TO_NHWC)

    def single(self, index, layout, axis):
        value = self.values[index]
        name, first = self.laid_out(value, layout), value.lane * value.width
        if value.lanes == 1 and value.width == self.shape(index)[3]:
            return name
        bounds = [first], [first + self.shape(index)[3]], [axis]
        return self.emit("Slice", [name] + [self.constant(i64(bound)) for bound in bounds])

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
    def options(operators, cls):
        """The options that operators share."""
        tables = [cls() for _ in operators]
        for operator, options in zip(operators, tables):
            table = operator.BuiltinOptions()
            options.Init(table.Bytes, table.Pos)
        numbers = [name for name in vars(cls) if name[0].isupper() and name != "Init" and "Root" not in name]
        numbers = [name for name in numbers if not name.endswith("Identifier")]
        if len({tuple(getattr(options, name)() for name in numbers) for options in tables}) != 1:
            raise SystemExit("different options side by side are not supported by this converter")
        return tables[0]

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

    def all_conv_2d(self, operators, inputs, outputs):
        weights = [self.constant_value(read[1]).transpose(TO_NCHW) for read in inputs]  # O,H,W,I -> O,I,H,W
        options = self.options(operators, tflite.Conv2DOptions)
        self.convolution(options, inputs, outputs, weights, group=1)

    def all_depthwise_conv_2d(self, operators, inputs, outputs):
        weights = [self.constant_value(read[1]).transpose(3, 0, 1, 2) for read in inputs]  # 1,H,W,C -> C,1,H,W
        options = self.options(operators, tflite.DepthwiseConv2DOptions)
        self.convolution(options, inputs, outputs, weights, group=self.shape(inputs[0][0])[3])

    def convolution(self, options, inputs, outputs, weights, group):
        kernel = weights[0].shape[2:]
        stride = (options.StrideH(), options.StrideW())
        dilation = (options.DilationHFactor(), options.DilationWFactor())
        size_in, size_out = self.shape(inputs[0][0])[1:3], self.shape(outputs[0])[1:3]
        width = max(self.shape(output)[3] for output in outputs)
        biases = []
        for k, (read, output) in enumerate(zip(inputs, outputs)):
            before, after = self.sign(read[0]), self.sign(output)
            before = before[None, :, None, None] if group == 1 else before[:, None, None, None]
            more = width - len(after)
            weights[k] = np.pad(weights[k] * before * after[:, None, None, None], [(0, more)] + [(0, 0)] * 3)
            biases.append(np.pad(self.constant_value(read[2]) * after, (0, more)))
        operands = [
            self.get([read[0] for read in inputs], CHANNELS_FIRST),
            self.constant(np.concatenate(weights), "w"),
            self.constant(np.concatenate(biases), "b"),
        ]
        name = self.emit(
            "Conv",
            operands,
            kernel_shape=list(kernel),
            strides=list(stride),
            dilations=list(dilation),
            group=group * len(outputs),
            pads=self.pads(options.Padding(), size_in, size_out, kernel, stride, dilation),
        )
        self.set(outputs, self.activation(name, options.FusedActivationFunction()), CHANNELS_FIRST, width)

    def op_relu(self, _operator, inputs, output):
        self.set([output], self.emit("Relu", [self.get(inputs, CHANNELS_FIRST)]), CHANNELS_FIRST)

    def all_prelu(self, _operators, inputs, outputs):
        """a·x + (1 − a)·relu(x), each by a convolution of one weight a channel: ONNX Runtime leaves its blocked layout of
        channels for a PRelu and enters it again behind it, which cost a third of all time. The bend is relu(|1 − a|·x), so
        that it is one node; a channel where it should be subtracted is held with its sign changed, and so is what follows."""
        slope = np.concatenate([self.constant_value(read[1]).reshape(-1, 1, 1, 1) for read in inputs])  # C,1,1,1
        read = [read[0] for read in inputs]
        x = self.get(read, CHANNELS_FIRST)
        channels = {"group": slope.size, "kernel_shape": [1, 1]}
        before, after = (np.concatenate([self.sign(i) for i in of]).reshape(slope.shape) for of in (read, outputs))
        bend = np.abs(f32(1) - slope) * before
        bend = self.emit("Relu", [self.emit("Conv", [x, self.constant(bend, "b")], **channels)])
        bend_sign = self.bend_signs(slope) * after
        if (bend_sign < 0).any():
            bend = self.emit("Conv", [bend, self.constant(bend_sign, "s")], **channels)
        line = self.emit("Conv", [x, self.constant(slope * before * after, "a")], **channels)
        self.set(outputs, self.emit("Add", [line, bend]), CHANNELS_FIRST)

    @staticmethod
    def bend_signs(slope):
        return np.where(slope > 1, f32(-1), f32(1))

    def sign(self, index):
        return self.signs.get(index, np.ones(self.shape(index)[3], np.float32))

    def find_signs(self):
        """The tensors that are held with signs changed: outputs of PRelu and sums with them, where only convolutions, sums and
        PRelu read them, since these can be told."""
        kinds, _, inputs, outputs = zip(*self.operators)
        readers = collections.defaultdict(set)
        for kind, read in zip(kinds, inputs):
            for index in read:
                readers[index].add(kind)
        signs = {}
        for kind, read, output in zip(kinds, inputs, outputs):
            if kind == "PRELU" and readers[output] <= {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD"}:
                signs[output] = self.bend_signs(self.constant_value(read[1]).ravel())
            if kind == "ADD" and set(read) & set(signs):
                (changed,) = set(read) & set(signs)
                (other,) = set(read) - {changed}
                if kinds[outputs.index(other)] != "CONV_2D" or readers[other] != {"ADD"} or readers[output] != {"PRELU"}:
                    raise SystemExit("a sum that is not of a convolution before a PRelu is not supported by this converter")
                signs[other] = signs[output] = signs[changed]
        return signs

    def all_add(self, operators, inputs, outputs):
        options = self.options(operators, tflite.AddOptions)
        operands = [self.get(of, CHANNELS_FIRST) for of in zip(*inputs)]
        channels = sum(self.shape(output)[3] for output in outputs)
        ones = np.ones((channels, 1, 1, 1), np.float32)
        operands = [self.copy(x, ones, channels) if x in self.plain else x for x in operands]
        # Of two convolutions, ONNX Runtime lets the first add the output of the second: the copy, which has no bias.
        name = self.emit("Add", sorted(operands, key=lambda x: x not in self.copies))
        self.set(outputs, self.activation(name, options.FusedActivationFunction()), CHANNELS_FIRST)

    def op_mul(self, operator, inputs, output):
        options = self.options([operator], tflite.MulOptions)
        factor = self.constant(self.constant_value(inputs[1]))
        name = self.emit("Mul", [self.get(inputs[:1], AS_IN_TFLITE), factor])
        self.set([output], self.activation(name, options.FusedActivationFunction()), AS_IN_TFLITE)

    def all_pad(self, _operators, inputs, outputs):
        """More channels, all zero: where they fill the blocks of sixteen of that layout, by a convolution, as in `all_prelu`."""
        amounts = self.constant_value(inputs[0][1])
        if amounts[:3].any() or amounts[3, 0]:
            raise SystemExit("padding of anything but channels is not supported by this converter")
        x = self.get([read[0] for read in inputs], CHANNELS_FIRST)
        before, after = self.shape(inputs[0][0])[3], self.shape(outputs[0])[3]
        if before % 16 == after % 16 == 0:
            weights = np.eye(after, before, dtype=np.float32)[:, :, None, None]
            name = self.copy(x, np.concatenate([weights] * len(outputs)), len(outputs))
        elif len(outputs) == 1:
            name = self.emit("Pad", [x, self.constant(i64([0] * 5 + [after - before, 0, 0]))])
        else:
            raise SystemExit("padding of so many channels side by side is not supported by this converter")
        self.set(outputs, name, CHANNELS_FIRST)

    def copy(self, x, weights, group):
        """A convolution by zeros and ones, whose numbers are exactly those that it reads."""
        name = self.emit("Conv", [x, self.constant(weights, "w")], kernel_shape=[1, 1], group=group)
        self.copies.add(name)
        return name

    def all_max_pool_2d(self, operators, inputs, outputs):
        options = self.options(operators, tflite.Pool2DOptions)
        kernel = (options.FilterHeight(), options.FilterWidth())
        stride = (options.StrideH(), options.StrideW())
        size_in, size_out = self.shape(inputs[0][0])[1:3], self.shape(outputs[0])[1:3]
        name = self.emit(
            "MaxPool",
            [self.get([read[0] for read in inputs], CHANNELS_FIRST)],
            kernel_shape=list(kernel),
            strides=list(stride),
            pads=self.pads(options.Padding(), size_in, size_out, kernel, stride),
        )
        self.set(outputs, self.activation(name, options.FusedActivationFunction()), CHANNELS_FIRST)

    def op_reshape(self, _operator, inputs, output):
        shape = self.constant(i64(self.shape(output)))
        self.set([output], self.emit("Reshape", [self.get(inputs[:1], AS_IN_TFLITE), shape]), AS_IN_TFLITE)

    def op_concatenation(self, operator, inputs, output):
        axis = self.options([operator], tflite.ConcatenationOptions).Axis()
        layout = self.values[inputs[0]].layout
        if layout == CHANNELS_FIRST:
            axis = TO_NCHW.index(axis % 4)
        name = self.emit("Concat", [self.get([i], layout) for i in inputs], axis=axis)
        self.set([output], name, layout)

    def op_strided_slice(self, operator, inputs, output):
        options = self.options([operator], tflite.StridedSliceOptions)
        if options.EllipsisMask() or options.NewAxisMask() or options.ShrinkAxisMask():
            raise SystemExit("strided slice with axis masks is not supported by this converter")
        begin, end, step = (self.constant_value(i).astype(np.int64) for i in inputs[1:4])
        begin = [0 if options.BeginMask() >> k & 1 else int(v) for k, v in enumerate(begin)]
        end = [2**31 - 1 if options.EndMask() >> k & 1 else int(v) for k, v in enumerate(end)]
        operands = [i64(begin), i64(end), i64(range(len(begin))), step]
        x = self.get(inputs[:1], AS_IN_TFLITE)
        name = self.emit("Slice", [x] + [self.constant(o) for o in operands])
        self.set([output], name, AS_IN_TFLITE)

    # --- MediaPipe's custom operators (version 2), written out ---

    def all_landmarks2transformmatrix(self, operators, inputs, outputs):
        """4x4 matrices from the crop's pixel grid to the rotated boxes around sets of landmarks, all in one: 1,boxes,4,4."""
        options = [self.custom_options(operator) for operator in operators]
        if any(box["target_rotation_radians"] != 0.0 for box in options):
            raise SystemExit("a target rotation is not supported by this converter")
        if len({self.get(read, AS_IN_TFLITE) for read in inputs}) != 1:
            raise SystemExit("boxes around points of different tensors are not supported by this converter")
        landmarks = self.get(inputs[0], AS_IN_TFLITE)  # 1,n,k

        def each(value):
            """One number for each box: 1,boxes,1,1."""
            return self.constant(f32([value(box) for box in options]).reshape(1, -1, 1, 1))

        def pick(indices):
            """Points of each box: 1,boxes,n,k. Where one has fewer, its first is repeated."""
            indices = [list(indices(box)) for box in options]
            most = max(map(len, indices))
            return self.emit(
                "Gather",
                [landmarks, self.constant(i64([i + i[:1] * (most - len(i)) for i in indices]))],
                axis=1,
            )

        def coordinate(points, k):
            return self.emit("Gather", [points, self.constant(i64([k]))], axis=3)

        def mul(a, b):
            return self.emit("Mul", [a, b])

        def add(a, b):
            return self.emit("Add", [a, b])

        def sub(a, b):
            return self.emit("Sub", [a, b])

        # The rotation, as cosine and sine of the angle between two landmarks.
        across = sub(
            pick(lambda box: [box["right_rotation_idx"]]), pick(lambda box: [box["left_rotation_idx"]])
        )
        dx, dy = coordinate(across, 0), coordinate(across, 1)
        length = self.emit("Sqrt", [add(mul(dx, dx), mul(dy, dy))])
        cos, sin = self.emit("Div", [dx, length]), self.emit("Div", [dy, length])

        # The upright bounding box of the rotated points, and its centre rotated back.
        points = pick(lambda box: box["subset_idxs"])
        px, py = coordinate(points, 0), coordinate(points, 1)
        rx, ry = add(mul(px, cos), mul(py, sin)), sub(mul(py, cos), mul(px, sin))

        def extent(t):
            high = self.emit("ReduceMax", [t], axes=[2], keepdims=1)
            low = self.emit("ReduceMin", [t], axes=[2], keepdims=1)
            return mul(add(high, low), self.constant(f32(0.5))), sub(high, low)

        (mx, width), (my, height) = extent(rx), extent(ry)
        cx, cy = sub(mul(mx, cos), mul(my, sin)), add(mul(mx, sin), mul(my, cos))
        half_w, half_h = each(lambda box: box["output_width"] / 2), each(lambda box: box["output_height"] / 2)
        sx = mul(width, each(lambda box: box["scale_x"] / box["output_width"]))
        sy = mul(height, each(lambda box: box["scale_y"] / box["output_height"]))

        # translate(centre) . rotate . scale . translate(-grid centre)
        m00, m01 = mul(cos, sx), self.emit("Neg", [mul(sin, sy)])
        m10, m11 = mul(sin, sx), mul(cos, sy)
        tx = sub(sub(cx, mul(m00, half_w)), mul(m01, half_h))
        ty = sub(sub(cy, mul(m10, half_w)), mul(m11, half_h))
        zero = each(lambda _: 0)
        rows = [[m00, m01, zero, tx], [m10, m11, zero, ty]]
        rows = [self.emit("Concat", row, axis=3) for row in rows]
        last = f32([[0, 0, 1, 0], [0, 0, 0, 1]])
        rows.append(self.constant(np.tile(last, (1, len(operators), 1, 1))))
        matrices = self.emit("Concat", rows, axis=2)
        self.matrices[outputs] = matrices
        for k, output in enumerate(outputs):
            one = self.emit("Gather", [matrices, self.constant(i64(k))], axis=1)  # 1,4,4
            self.set([output], one, AS_IN_TFLITE)

    def all_transformtensorbilinear(self, operators, inputs, outputs):
        """Bilinear sampling of one feature map through matrices; zero outside of the map."""
        options = [self.custom_options(operator) for operator in operators]
        maps, matrices = zip(*inputs)
        if len(set(maps)) != 1 or matrices not in self.matrices:
            raise SystemExit("sampling of several feature maps is not supported by this converter")
        h, w = options[0]["output_height"], options[0]["output_width"]
        if any((box["output_height"], box["output_width"]) != (h, w) for box in options):
            raise SystemExit("samples of different sizes are not supported by this converter")
        _, map_h, map_w, channels = self.shape(maps[0])
        boxes, places = len(operators), h * w

        def op(kind, *operands, **attributes):
            operands = [self.constant(x) if isinstance(x, np.ndarray) else x for x in operands]
            return self.emit(kind, operands, **attributes)

        def per_axis(x, y):
            return f32([x, y]).reshape(1, 1, 2, 1)

        yy, xx = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
        grid = f32(np.stack([xx.ravel(), yy.ravel(), 0 * xx.ravel(), 0 * xx.ravel() + 1]))
        top = op("Slice", self.matrices[matrices], i64([0]), i64([2]), i64([2]))
        top = op("Reshape", top, i64([boxes, 1, 2, 4]))
        sample = op("Sub", op("MatMul", top, grid), f32(0.5))  # boxes,1,2,places

        not_below = op("Not", op("Less", sample, f32(0)))
        not_above = op("Not", op("Greater", sample, per_axis(map_w - 1, map_h - 1)))
        inside = op("Cast", op("And", not_below, not_above), to=TensorProto.FLOAT)
        inside = op("ReduceMin", inside, axes=[2], keepdims=0)  # boxes,1,places

        # To −1..1 and back, as GridSample would.
        unit = op("Sub", op("Mul", sample, per_axis(2 / (map_w - 1), 2 / (map_h - 1))), f32(1))
        place = op("Mul", op("Mul", op("Add", unit, f32(1)), f32(0.5)), per_axis(map_w - 1, map_h - 1))
        first = op("Floor", place)
        second = op("Add", first, f32(1))
        shares = op("Concat", op("Sub", second, place), op("Sub", place, first), axis=1)  # boxes,2,2,places
        both = op("Concat", first, second, axis=1)
        # No index leaves the map, whatever the numbers are.
        both = op("Where", op("Greater", both, f32(0)), both, f32(0))
        both = op("Min", both, per_axis(map_w - 1, map_h - 1))

        def axis(x, k, *shape):
            return op("Reshape", op("Gather", x, i64(k), axis=2), i64([boxes, *shape]))

        rows = op("Mul", axis(both, 1, 2, 1, places), f32(map_w))
        index = op("Cast", op("Add", rows, axis(both, 0, 1, 2, places)), to=TensorProto.INT64)
        pixels = op("Reshape", self.get(maps[:1], AS_IN_TFLITE), i64([map_h * map_w, channels]))
        sampled = op("Gather", pixels, index, axis=0)  # box,row,column,place,channel
        sampled = op("Mul", sampled, axis(shares, 0, 1, 2, places, 1))
        sampled = op("ReduceSum", sampled, i64([2]), keepdims=0)
        down = op("Mul", op("Gather", shares, i64(1), axis=2), inside)
        sampled = op("Mul", sampled, op("Reshape", down, i64([boxes, 2, places, 1])))
        sampled = op("ReduceSum", sampled, i64([1]), keepdims=0)
        # A box's channels side by side with the others'.
        sampled = op("Reshape", op("Transpose", sampled, perm=[1, 0, 2]), i64([1, h, w, boxes * channels]))
        self.set(outputs, op("Transpose", sampled, perm=TO_NCHW), CHANNELS_FIRST)
        self.plain.add(self.get(outputs, CHANNELS_FIRST))

    def op_transformlandmarks(self, _operator, inputs, output):
        """Two-dimensional landmarks through the matrix: x . A^T + t."""
        if self.shape(output)[-1] != 2:
            raise SystemExit("only two-dimensional landmarks are supported by this converter")
        landmarks, matrix = (self.get([i], AS_IN_TFLITE) for i in inputs)

        def part(begin, end):
            bounds = [self.constant(i64(b)) for b in (begin, end, [1, 2])]
            sliced = self.emit("Slice", [matrix] + bounds)
            return self.emit("Transpose", [sliced], perm=[0, 2, 1])

        turned = self.emit("MatMul", [landmarks, part([0, 0], [2, 2])])
        self.set([output], self.emit("Add", [turned, part([0, 3], [2, 4])]), AS_IN_TFLITE)


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
