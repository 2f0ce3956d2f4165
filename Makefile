# `make demo` and `make test` set everything up themselves: a virtual environment in .venv, made once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
METHOD ?= score
TASK ?= scores
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup demo annotate test test-fast lint docs wheel clean

help:
	@echo "make demo           train and evaluate on phantoms (METHOD=score)"
	@echo "make annotate       score phantoms in the browser (TASK=scores, drawings or points)"
	@echo "make test           all tests; those of the browser need a Chromium: apt-get install chromium"
	@echo "make test-fast      without those that run nnU-Net's commands or take more than five seconds"
	@echo "make lint           ruff and mypy"
	@echo "make docs           the documentation as a site, in site/"
	@echo "make wheel          wheel and source distribution in dist/, checked"
	@echo "make clean          remove environment and demo"

setup: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml setup.py constraints.txt tools/cpu_torchvision.py
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or later is needed, this is " + sys.version) if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python tools/cpu_torchvision.py
	touch $@

demo: setup
	$(BIN)/python examples/demo_$(METHOD).py --folder .demo/$(METHOD)

.demo/annotate: | setup
	$(BIN)/nnunet_weak_make_phantoms $@ --cases 6 --test-cases 0

annotate: setup .demo/annotate
	$(BIN)/nnunet_weak_annotate .demo/annotate --task $(TASK) --annotator me

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope

test-fast: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope -m 'not slow and not training'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

wheel: setup
	rm -rf dist
	$(BIN)/python -m pip install --quiet build twine check-wheel-contents
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

clean:
	rm -rf $(VENV) .demo site dist build
