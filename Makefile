# Every target sets up .venv itself, and only when pyproject.toml or constraints.txt changed.
# PYTHON: the interpreter to build .venv with (3.11 or later). `make demo` installs what the demo uses; the others add tools.
# OUT: the folder `make demo` writes to; by default a new one below accel-results/ each time.
# JOBS: how many test files run at once.

PYTHON ?= python3.11
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint bench compression hardware gpu gpu-wheels validate clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.demo
	$(BIN)/accel bench demo $(if $(OUT),--out $(OUT))

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --benchmark-disable

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Batch against online over the recipes (half an hour, once the artefacts are made; what is finished isn't measured again).
# MODELS=digits,minilm takes some of them. BENCH: further options of pytest-benchmark, such as --benchmark-compare.
bench: $(VENV)/.test
	$(if $(MODELS),ACCEL_BENCH_MODELS=$(MODELS)) $(BIN)/python -m pytest benchmarks --benchmark-only --timeout=1200 \
		--benchmark-columns=median,iqr,ops,rounds $(BENCH)
	$(BIN)/python -m benchmarks.page

# Technique x backend over the recipes, sizes, and accel beside other tools: reports/COMPRESSION.md. Preparing takes
# an hour or two the first time and may run on a busy machine; measuring takes MINUTES and wants a quiet one. Every part
# goes on where it was. MODELS=digits,minilm takes some of the recipes.
MINUTES ?= 25
# neural-compressor wants NumPy 1, so it gets an environment of its own; where that can't be made its row says so.
NEURAL := $(CURDIR)/.venv-neural-compressor
compression: $(VENV)/.test
	$(BIN)/python -m benchmarks.compression.table prepare $(if $(MODELS),--models $(MODELS))
	-$(MAKE) --no-print-directory $(NEURAL)/.made
	NEURAL_COMPRESSOR=$(NEURAL)/bin/python $(BIN)/python -m benchmarks.peers.compression prepare
	$(BIN)/python -m benchmarks.compression.size
	$(BIN)/python -m benchmarks.compression.table measure --minutes $(MINUTES) $(if $(MODELS),--models $(MODELS))
	NEURAL_COMPRESSOR=$(NEURAL)/bin/python $(BIN)/python -m benchmarks.peers.compression measure
	$(BIN)/python -m benchmarks.compression.page

# Backend x knobs, accel's winners beside other runtimes, its picks beside a full grid, and half of the
# processor taken away: reports/HARDWARE.md.
# Preparing takes an hour or two the first time and may run on a busy machine; measuring wants a quiet one and takes
# MINUTES for each of the four. Every part goes on where it was. MODELS=digits,minilm takes some of the recipes.
hardware: $(VENV)/.test
	$(BIN)/python -m benchmarks.search.regret prepare $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.peers.runtimes prepare $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.knobs.table prepare $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.hardware.quota prepare $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.search.regret measure --minutes $(MINUTES) $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.peers.runtimes measure --minutes $(MINUTES) $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.knobs.table measure --minutes $(MINUTES) $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.hardware.quota measure --minutes $(MINUTES) $(if $(MODELS),--models $(MODELS))
	$(BIN)/python -m benchmarks.search.second_study recipes/resnet50.toml recipes/bert_base.toml
	$(BIN)/python -m benchmarks.hardware.peaks measure --rounds 7
	$(BIN)/python -m benchmarks.knobs.page

# An NVIDIA GPU: backends x precisions x batch sizes on ResNet-50, BERT-base and a MiniLM, in nine minutes. GPU_PYTHON
# (3.12 or later) has to have torch and transformers; what else is needed is carried in .gpu, which `make gpu-wheels`
# fills where there is a network. At home: python -m benchmarks.gpu.page OUT/*.tar.gz makes reports/GPU.md of it.
# REHEARSE=1 goes the same way on a machine without a GPU.
GPU_PYTHON ?= python3
GPU_VERSION ?= 3.12
gpu:
	$(GPU_PYTHON) benchmarks/gpu/go.py $(if $(OUT),--out $(OUT)) $(if $(REHEARSE),--rehearse) $(if $(MODELS),--models $(MODELS))

gpu-wheels:
	$(PYTHON) benchmarks/gpu/fetch.py .gpu $(GPU_VERSION)

# The experiments that prove the harness right, at full size (up to two hours): reports/VALIDATION.md.
# Interrupt it when you like; it goes on where it was. ONLY=V3,V4 runs some of them.
validate: $(VENV)/.test
	$(BIN)/python -m tests.validation $(if $(ONLY),--only $(ONLY))

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(NEURAL)/.made: benchmarks/peers/neural_compressor.txt
	$(PYTHON) -m venv $(NEURAL)
	$(NEURAL)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[all]"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[all,test,zoo]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) $(NEURAL) dist build
