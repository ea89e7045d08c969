#!/usr/bin/env bash
# Compile every .cu for sm_80 and sm_90; needs nvcc, no GPU. PYTHON names an interpreter
# with torch, whose headers are used.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
if ! command -v nvcc >/dev/null; then
  echo "cuda-check: no nvcc here, nothing was compiled"
  [ "${CI:-}" != true ] || { echo "cuda-check: under CI=true that is a failure"; exit 1; }
  exit 0
fi
torch=$("$python" - <<'EOF'
import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("torch").origin).parent)
EOF
)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() {
  # The flags of setup.py; warnings of ours are errors, torch's headers are not ours.
  nvcc -std=c++20 -O3 -Xcompiler -fPIC,-fvisibility=hidden -Werror all-warnings \
    -DTORCH_TARGET_VERSION=0x020a000000000000 -DUSE_CUDA -Icpp_ext/include \
    -isystem="$torch/include" -gencode=arch=compute_80,code=sm_80 \
    -gencode=arch=compute_90,code=sm_90 \
    -c "$1" -o "$work/$(basename "$1").o"
  echo "cuda-check: $1"
}
export -f compile
export torch work
# xargs fails where one of them fails.
printf '%s\0' cpp_ext/cuda/*.cu |
  xargs -0 -P "$(nproc)" -I{} bash -euo pipefail -c 'compile "$1"' _ {}
echo "cuda-check: all compile for sm_80 and sm_90"
