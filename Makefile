# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= 2.13.0
BIN := $(VENV)/bin
STAMP := $(VENV)/.graphlab-installed
SOURCES := $(wildcard cpp_ext/*/*)
# Real graphs, where they are; tests and benchmarks that need them say so otherwise.
SHARED := $(wildcard ../shared/data)
export GRAPHLAB_DATA ?= $(if $(SHARED),$(abspath $(SHARED)))

# One test process a core; the tests themselves say how many threads they mean.
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: help env build test test-fallback demo lint types format package cuda-check gpu-check clean
help:            ## show this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

env: $(STAMP)    ## create the environment in .venv (torch $(TORCH)) and install graphlab into it
$(STAMP): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "setuptools>=77" wheel "torch==$(TORCH)"
	GRAPHLAB_NATIVE=skip $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable ".[all]" "torch==$(TORCH)"
	touch $@

build: $(STAMP) $(SOURCES)    ## compile the native library in place (only what changed)
	GRAPHLAB_NATIVE=require $(BIN)/python setup.py --quiet build_ext --inplace

test: build      ## run the whole test-suite
	GRAPHLAB_NATIVE=require $(PYTEST) -m "not cuda and not packaging"

# What kernels do not touch is not run twice: benchmarks measure them, nag calls none (its
# searches train models that tests/models runs), and the published accuracy is that of one
# implementation.
test-fallback: build    ## run the tests again on the readable twins
	GRAPHLAB_NATIVE=skip $(PYTEST) -m "not cuda and not packaging" --ignore=tests/benchmarks \
		--ignore=tests/nag --ignore=tests/tasks/test_nas.py \
		--ignore=tests/cli/test_nas_command.py --deselect=tests/tasks/test_recipe.py::test_cora_reaches_the_published_accuracy

demo: build      ## train from disk inside a memory budget; ends with a report
	$(BIN)/graphlab demo

lint: $(STAMP)   ## ruff, import layers, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(wildcard cpp_ext/*/*.h cpp_ext/*/*.cpp cpp_ext/*/*.cu cpp_ext/*/*.cuh)

format: $(STAMP) ## reformat everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(wildcard cpp_ext/*/*.h cpp_ext/*/*.cpp cpp_ext/*/*.cu cpp_ext/*/*.cuh)

types: $(STAMP)  ## mypy, strict, nothing excluded
	$(BIN)/mypy

package: $(STAMP)    ## build sdist and wheel; install them where torch or a compiler is missing
	$(BIN)/python -m pytest -m packaging tests/packaging

cuda-check:      ## compile every .cu for sm_80 and sm_90; no GPU needed
	PYTHON=$(BIN)/python bash cpp_ext/cuda/check.sh

gpu-check:       ## on a machine with a GPU: build _C_cuda, run tests marked cuda, benchmarks
	PYTHON=$(BIN)/python bash benchmarks/gpu_check.sh

clean:           ## remove what was built, keep the environment
	rm -rf build dist graphlab/*.so *.egg-info
