#!/usr/bin/env bash
# Fetches ONNX Runtime for NVIDIA GPUs, and what it loads of CUDA and cuDNN, into one folder (3 GB), verified by hash.
#
#   cuda.sh DIR
#
# Then: LD_LIBRARY_PATH=DIR, models.provider = "cuda", models.cuda_library = "DIR/libonnxruntime.so". The driver is the machine's.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
die() {
  printf 'cuda: %s\n  mend: %s\n' "$1" "$2" >&2
  exit 1
}

[[ $# -eq 1 ]] || die "where to?" "cuda.sh DIR"
dir=$1
[[ -e $dir/ready && $(<"$dir/ready") == "$(sha256sum <"$here/cuda.lock")" ]] && exit 0
mkdir -p "$dir"
work=$(mktemp -d "$dir/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv" || die "python's venv module does not work" "docker/setup/packages.sh build"
"$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
  --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64 \
  --dest "$work" --requirement "$here/cuda.lock" ||
  die "the download failed" "check the network to the Python package index, then run this again"
"$python" - "$work" "$dir" <<'PY'
import pathlib, shutil, sys, zipfile
work, target = map(pathlib.Path, sys.argv[1:])
for wheel in sorted(work.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = pathlib.PurePosixPath(member).name
            if ".so" not in name or name.endswith(".py") or "pybind11_state" in name or "tensorrt" in name:
                continue
            with archive.open(member) as source, open(target / name, "wb") as out:
                shutil.copyfileobj(source, out)
PY
library=$(cd "$dir" && echo libonnxruntime.so.*)
[[ -f $dir/$library ]] || die "the package has no libonnxruntime.so" "did it change its layout? look into cuda.lock"
ln -sf "$library" "$dir/libonnxruntime.so"
missing=$(LD_LIBRARY_PATH=$dir ldd "$dir/libonnxruntime_providers_cuda.so" | grep 'not found' || true)
[[ -z $missing ]] || die "the provider lacks $missing" "add the package that has it to cuda.lock"
sha256sum <"$here/cuda.lock" >"$dir/ready"
