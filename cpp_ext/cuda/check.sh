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
for source in cpp_ext/cuda/*.cu; do
  echo "cuda-check: $source"
  # The flags of setup.py; warnings of ours are errors, torch's headers are not ours.
  nvcc -std=c++20 -O3 -Xcompiler -fPIC,-fvisibility=hidden -Werror all-warnings \
    -DTORCH_TARGET_VERSION=0x020a000000000000 -DUSE_CUDA -Icpp_ext/include \
    -isystem="$torch/include" -gencode=arch=compute_80,code=sm_80 \
    -gencode=arch=compute_90,code=sm_90 --threads 2 \
    -c "$source" -o "$work/$(basename "$source").o"
done
echo "cuda-check: all compile for sm_80 and sm_90"
