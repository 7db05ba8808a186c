#!/usr/bin/env python3
"""Would the face models gain from batches of several sessions? Prints, for each, the largest difference and the processor time a picture.

    batch_faces.py MODELS     the folder of the models

The graphs have a fixed batch of 1; here they are rewritten for 2, 7 and 16. Every picture (random, seeded) is run alone and among others.
One thread, Python's onnxruntime of the version that is pinned (1.24.4), deterministic compute. Needs numpy and onnx.
"""

import pathlib
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

BATCHES = [1, 2, 7, 16]
RUNS = 9
MODELS = [
    ("face_landmark_with_attention.onnx", "input_1", 192, (0.0, 1.0)),
    ("face_detection_short_range.onnx", "input", 128, (-1.0, 1.0)),
]


def batched(path, batch):
    """The graph for another batch: shapes, ends of slices and constants that carry the 1 of the batch."""
    model = onnx.load(path)
    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    seen = set()

    def change(name, with_batch):
        if name in constants and name not in seen:
            seen.add(name)
            array = with_batch(numpy_helper.to_array(constants[name]).copy())
            constants[name].CopyFrom(numpy_helper.from_array(array, name))

    def first(array):
        array[0] = batch
        return array

    for node in graph.node:
        match node.op_type:
            case "Reshape":
                change(node.input[1], first)
            case "Slice":
                change(node.input[2], lambda ends: first(ends) if len(ends) == 4 else ends)
            case "Concat":
                for name in node.input:
                    change(name, lambda array: np.repeat(array, batch, 0))
    for value in [*graph.input, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]
    return model.SerializeToString()


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options)


def best(work):
    times = []
    for _ in range(RUNS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    print(f"onnxruntime {onnxruntime.__version__}")
    print("| model | batch | largest difference | same bits | ms a picture |\n|---|---|---|---|---|")
    for name, field, size, (low, high) in MODELS:
        rng = np.random.default_rng(1)
        pictures = rng.uniform(low, high, (max(BATCHES), size, size, 3)).astype(np.float32)
        one = session((folder / name).read_bytes())
        alone = [one.run(None, {field: pictures[i : i + 1]}) for i in range(len(pictures))]
        for batch in BATCHES:
            many = session(batched(folder / name, batch))
            together = many.run(None, {field: pictures[:batch]})
            rows = [(a, b[i : i + 1]) for i in range(batch) for a, b in zip(alone[i], together)]
            largest = max(float(np.abs(a - b).max()) for a, b in rows)
            same = all(a.tobytes() == np.ascontiguousarray(b).tobytes() for a, b in rows)
            rounds = max(BATCHES) // batch

            def work():
                for _ in range(rounds):
                    many.run(None, {field: pictures[:batch]})

            ms = best(work) * 1e3 / (rounds * batch)
            print(f"| `{name}` | {batch} | {largest:.1e} | {'yes' if same else 'no'} | {ms:.2f} |")


if __name__ == "__main__":
    main()
