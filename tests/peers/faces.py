#!/usr/bin/env python3
"""What MediaPipe's FaceMesh takes for the work of `operators/benches/media.rs`, in processor time: landmarks of a tracked face, decoding left out.

    faces.py

Needs ffmpeg and mediapipe==0.10.9 (Python 3.8 to 3.11). Video mode, one face, refined landmarks, both confidences 0.5, on the 40 frames
of operators/tests/data/face_640.h264 that the bench measures. MediaPipe has threads of its own, so the time of the whole process counts.
"""

import pathlib
import subprocess
import time

import mediapipe
import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
WIDTH, HEIGHT, FRAMES, RUNS = 640, 480, 40, 9


def frames():
    stream = ROOT / "operators/tests/data/face_640.h264"
    command = ["ffmpeg", "-v", "error", "-i", str(stream), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)[:FRAMES]


def main():
    pictures = frames()
    processor, clock = [], []
    for _ in range(RUNS):
        options = {"max_num_faces": 1, "refine_landmarks": True, "min_detection_confidence": 0.5}
        with mediapipe.solutions.face_mesh.FaceMesh(**options, min_tracking_confidence=0.5) as mesh:
            # The graph is made with its first picture.
            assert mesh.process(pictures[0]).multi_face_landmarks
            begun = time.process_time(), time.perf_counter()
            for picture in pictures:
                assert mesh.process(picture).multi_face_landmarks
            processor.append(time.process_time() - begun[0])
            clock.append(time.perf_counter() - begun[1])
    print(f"{min(processor) / FRAMES * 1e3:8.3f} ms  of processors a frame")
    print(f"{min(clock) / FRAMES * 1e3:8.3f} ms  by the clock a frame")


if __name__ == "__main__":
    main()
