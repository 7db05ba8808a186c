#!/usr/bin/env python3
"""Does another graph of a face model give the same bits, and in which time? For changes of docker/setup/convert_face.py.

    compare_faces.py OLD.onnx NEW.onnx

Compares every output on random pictures (seeded) and on squares of the frames of operators/tests/data/face_640.h264, most of them with
a face, and prints the time of both, run by turns. Channels may come last in one graph and first in the other. One thread, Python's
onnxruntime of the version that is pinned (1.24.4), deterministic compute. Needs ffmpeg and numpy. Fails if a bit differs.
"""

import pathlib
import subprocess
import sys
import time

import numpy as np
import onnxruntime

CLIP = pathlib.Path(__file__).parents[1] / "tests/data/face_640.h264"
RANDOM, RUNS = 200, 400


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options)


def pictures(size):
    rng = np.random.default_rng(1)
    for _ in range(RANDOM):
        yield rng.integers(0, 256, (size, size, 3))
    command = ["ffmpeg", "-v", "error", "-i", str(CLIP), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    for frame in np.frombuffer(raw, np.uint8).reshape(-1, 480, 640, 3):
        for top, left, step in [(0, 80, 2), (40, 120, 2), (20, 150, 1)]:
            yield frame[top : top + size * step : step, left : left + size * step : step]


def run(session, picture):
    (field,) = session.get_inputs()
    if field.shape[1] == 3:
        picture = np.ascontiguousarray(picture.transpose(0, 3, 1, 2))
    return session.run(None, {field.name: picture})


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    both = [session(path) for path in sys.argv[1:]]
    size = both[0].get_inputs()[0].shape[2]
    low, high = (0, 1) if size == 192 else (-1, 1)
    different, largest, count = 0, 0.0, 0
    for picture in pictures(size):
        picture = (picture[None] / 255 * (high - low) + low).astype(np.float32)
        old, new = (run(one, picture) for one in both)
        # Zero may have either sign.
        different += not all(np.array_equal(a, b) for a, b in zip(old, new))
        largest = max(largest, *(float(np.abs(a - b).max()) for a, b in zip(old, new)))
        count += 1
    print(f"{count} pictures, {different} of them different; largest difference {largest}")
    times = [[], []]
    for _ in range(RUNS):
        for one, spent in zip(both, times):
            begun = time.thread_time()
            run(one, picture)
            spent.append(time.thread_time() - begun)
    for path, spent in zip(sys.argv[1:], times):
        print(f"{min(spent) * 1e3:7.3f} ms at best, {np.median(spent) * 1e3:.3f} median  {path}")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
