#!/usr/bin/env bash
# On a machine with a GPU: build the native libraries in place with that machine's torch and
# nvcc (GRAPHLAB_BUILT=1: they are built already), run the tests marked cuda, then the GPU
# benchmarks. Records go to $OUT where it is set, else to benchmarks/results; in a copy of the
# tree without git, GRAPHLAB_COMMIT names its commit.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || command -v "$python" >/dev/null || python=python3
"$python" - <<'EOF'
import torch
if not torch.cuda.is_available():
    raise SystemExit("gpu-check: no CUDA device, or a torch without CUDA")
print("gpu-check:", torch.cuda.get_device_name(), "torch", torch.__version__)
EOF
if [ -z "${GRAPHLAB_BUILT:-}" ]; then
  arch=$("$python" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
  TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$arch} GRAPHLAB_CUDA=1 GRAPHLAB_NATIVE=require \
    "$python" setup.py --quiet build_ext --inplace
fi
export GRAPHLAB_NATIVE=require
# Files are named: collecting all others imports libraries that such a machine may lack.
grep -rl --include='test_*.py' 'mark\.cuda' tests |
  xargs "$python" -m pytest -m cuda -p no:benchmark --numprocesses 8 --dist worksteal
"$python" -m benchmarks.ops.cuda
