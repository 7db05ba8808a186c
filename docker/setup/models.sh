#!/usr/bin/env bash
# Fetches ONNX Runtime and the two face models, and verifies them by hash.
#
#   models.sh            make the files if any is missing or differs from models.lock.json
#   models.sh --renew    make them and write models.lock.json anew (after changing a pin or the converter)
#   models.sh --path     print the folder
#
# Files land in ${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}/models/v1. Prints nothing when all is well.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lock=$here/models.lock.json
cache=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}
target=$cache/models/v1
work=$cache/models/v1.work
python=${PYTHON:-python3}

say() { printf 'models: %s\n' "$*"; }
die() {
  printf 'models: %s\n' "$1" >&2
  printf '  mend: %s\n' "$2" >&2
  exit 1
}

# Succeeds when every file of the lock lies in $1 with the right bytes.
verified() {
  "$python" - "$lock" "$1" <<'PY'
import hashlib, json, pathlib, sys
lock, folder = json.load(open(sys.argv[1])), pathlib.Path(sys.argv[2])
for name, entry in lock["files"].items():
    path = folder / name
    if not path.is_file() or path.stat().st_size != entry["bytes"]:
        sys.exit(f"{name}: missing or of another size")
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        sys.exit(f"{name}: another SHA-256 than in models.lock.json")
PY
}

# Copies member $2 of the wheel $1 to the file $3.
take() {
  "$python" - "$1" "$2" "$3" <<'PY'
import shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel).open(member) as source, open(target, "wb") as out:
    shutil.copyfileobj(source, out)
PY
}

fetch_wheels() {
  say "downloading ONNX Runtime 1.24.4 and the MediaPipe 0.10.9 face models (52 MB, pinned by hash)"
  "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --dest "$work/wheels" --requirement "$here/wheels.lock" ||
    die "the download failed" "check the network to the Python package index (pip's own settings apply), then run this again"
}

make_converter_venv() {
  [[ -x $work/venv/bin/pip ]] || {
    rm -rf "$work/venv"
    "$python" -m venv "$work/venv" || die "python's venv module does not work" \
      "run docker/setup/packages.sh build (it installs python3-venv)"
  }
}

install_converter_packages() {
  say "installing the converter's Python packages into a private environment (pinned by hash)"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
    --only-binary=:all: --requirement "$here/convert-requirements.lock" ||
    die "installing the converter's packages failed" "check the network to the Python package index; Python 3.10 to 3.13 is needed"
}

make_files() {
  local ort mediapipe model
  rm -rf "$work/out"
  mkdir -p "$work/wheels" "$work/tflite" "$work/out/licences"
  make_converter_venv
  fetch_wheels
  install_converter_packages
  ort=$(echo "$work"/wheels/onnxruntime-1.24.4-*.whl)
  mediapipe=$(echo "$work"/wheels/mediapipe-0.10.9-*.whl)
  take "$ort" onnxruntime/capi/libonnxruntime.so.1.24.4 "$work/out/libonnxruntime.so"
  take "$ort" onnxruntime/LICENSE "$work/out/licences/onnxruntime-LICENSE"
  take "$ort" onnxruntime/ThirdPartyNotices.txt "$work/out/licences/onnxruntime-ThirdPartyNotices.txt"
  take "$mediapipe" mediapipe-0.10.9.dist-info/LICENSE "$work/out/licences/mediapipe-LICENSE"
  take "$mediapipe" mediapipe/modules/face_detection/face_detection_short_range.tflite "$work/tflite/face_detection_short_range.tflite"
  take "$mediapipe" mediapipe/modules/face_landmark/face_landmark_with_attention.tflite "$work/tflite/face_landmark_with_attention.tflite"
  say "converting the face models to ONNX"
  for model in face_detection_short_range face_landmark_with_attention; do
    "$work/venv/bin/python" "$here/convert_face.py" "$work/tflite/$model.tflite" "$work/out/$model.onnx"
  done
}

# Writes models.lock.json from the files just made.
renew_lock() {
  "$work/venv/bin/python" - "$work/out" "$lock" <<'PY'
import hashlib, json, pathlib, sys, onnx
folder, lock = pathlib.Path(sys.argv[1]), sys.argv[2]
def values(infos):
    return [{"name": v.name, "dtype": "float32", "shape": [d.dim_value for d in v.type.tensor_type.shape.dim]} for v in infos]
files = {}
for path in sorted(p for p in folder.rglob("*") if p.is_file()):
    data = path.read_bytes()
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if path.suffix == ".onnx":
        graph = onnx.load(path).graph
        entry |= {"inputs": values(graph.input), "outputs": values(graph.output)}
    files[str(path.relative_to(folder))] = entry
sources = {"libonnxruntime.so": "onnxruntime==1.24.4", "*.onnx": "mediapipe==0.10.9"}
json.dump({"schema_version": 1, "sources": sources, "files": files}, open(lock, "w"), indent=2)
open(lock, "a").write("\n")
PY
}

# Moves each file into place by rename; the manifest, which vouches for the others, comes last.
publish() {
  local name
  mkdir -p "$target/licences"
  (cd "$work/out" && find . -type f) | while read -r name; do
    mv -f "$work/out/$name" "$target/$name"
  done
  cp "$lock" "$work/manifest.json"
  mv -f "$work/manifest.json" "$target/manifest.json"
}

renew=false
case ${1:-} in
  "") ;;
  --renew) renew=true ;;
  --path) echo "$target"; exit 0 ;;
  *) die "unknown argument $1" "use models.sh, models.sh --renew or models.sh --path" ;;
esac

[[ $(uname -sm) == "Linux x86_64" ]] || die "only Linux on x86_64 is supported, this is $(uname -sm)" \
  "set ORT_DYLIB_PATH to an ONNX Runtime 1.24 or newer and copy the .onnx files from another machine"
command -v "$python" >/dev/null || die "python3 is missing" "run docker/setup/packages.sh build"

mkdir -p "$cache/models"
exec 9>"$cache/models/v1.lock"
flock 9 # one run at a time; a second one then finds the work done

if ! $renew && cmp -s "$lock" "$target/manifest.json" && verified "$target" 2>/dev/null; then
  exit 0
fi
make_files
if $renew; then renew_lock; fi
verified "$work/out" || die "a file differs from docker/setup/models.lock.json" \
  "the pinned sources or the converter changed; if that is intended, run models.sh --renew and commit the lock file"
publish
rm -rf "$work"
say "ready in $target"
