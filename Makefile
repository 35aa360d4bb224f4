# Every target sets up .venv itself, and only when pyproject.toml or constraints.txt changed.
# PYTHON: the interpreter to build .venv with (3.11 or later). `make demo` installs what the demo uses; the others add tools.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
OUT ?= accel-results/demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.demo
	$(BIN)/accel bench demo --out $(OUT)

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m pytest benchmarks --benchmark-only --timeout=900 --benchmark-columns=median,iqr,rounds

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[all]"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[all,test,zoo]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) dist build
