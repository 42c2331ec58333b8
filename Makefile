# Set-up happens by itself; ARGS go to run_all.py: make run ARGS="--dataset shaft --preset standard"
PYTHON ?= python3
VENV := .venv
export GOMP_SPINCOUNT ?= 30000
PY := $(VENV)/bin/python
TOOLS := .tools
# TORCH=cpu takes PyTorch without CUDA (over 4 GB less); WHEELS=DIR installs from a folder that `make wheels` filled.
TORCH ?= cuda
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
WHEELS ?=
$(if $(filter cpu cuda,$(TORCH)),,$(error TORCH=$(TORCH): choose cpu or cuda))
READY := $(VENV)/.installed$(TORCH:cuda=)
FROM := $(if $(WHEELS),--no-index --find-links $(WHEELS))
TORCH_LOCKED := $(shell grep -oE '^(torch|torchvision)==[^ ]+' requirements.lock)
CPU_LOCK := awk '/^[a-z0-9]/ { keep = !/^(torch|torchvision|triton|nvidia-[^=]*|cuda-[^=]*)==/ } keep' requirements.lock
LOCK := $(if $(filter cpu,$(TORCH)),$(CPU_LOCK),cat requirements.lock)

.PHONY: run test lab wheels bench draem-weights backbone-table reference faults lock audit test-slow test-gpu check clean

run: $(READY)
	$(PY) run_all.py $(ARGS)

test: check
	$(PY) -m pytest -n auto

lab: $(READY)
	$(PY) -m jupyter lab --ip=127.0.0.1 --notebook-dir=notebooks

check: $(READY)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m nbstripout --verify notebooks/*.ipynb

# What DRAEM's training starts from, made anew; on a CPU an hour or two per width: make draem-weights ARGS="--widths 16/8"
draem-weights: $(READY)
	$(PY) -m lib.pretraining $(ARGS)

bench: $(READY)
	$(PY) -m pytest -m 'benchmark and not gpu' -s

# Backbones compared: make backbone-table ARGS="--data DIR --backbone efficientnet_lite0 resnet18=FILE"
backbone-table: $(READY)
	$(PY) -m tests.benchmarks.backbone_quality $(ARGS)

# What readers see without running anything: the default study anew, and a small copy of it in outputs/reference.
reference: $(READY)
	$(PY) run_all.py --study reference-run
	$(PY) -m tests.reference_copy outputs/reference-run demo

test-slow: $(READY)
	$(PY) -m pytest -m slow

# Kills, damages, a full disk, lost folders and workers, two users: an hour and more, and a table; ARGS="kills --kills 20".
faults: $(READY)
	$(PY) -m tests.faults $(ARGS)

# Tests first, then what a training step costs on the card, part by part: under six minutes.
test-gpu: $(READY)
	$(PY) -m pytest -m gpu -s; tests=$$?; $(PY) -m tests.benchmarks.draem_gpu $(ARGS) && exit $$tests

# The exact packages with their hashes, anew from requirements.txt; what is locked stays unless UPGRADE=--upgrade.
lock:
	$(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/pip install --quiet uv
	grep -v '^-e' requirements.txt | $(TOOLS)/bin/uv pip compile --universal --generate-hashes --python-version 3.11 \
	  --no-annotate --custom-compile-command 'make lock' $(UPGRADE) --output-file requirements.lock -

# Known advisories for what is locked; needs the network.
audit:
	$(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/pip install --quiet pip-audit
	$(TOOLS)/bin/pip-audit --disable-pip --require-hashes -r requirements.lock

clean:
	rm -rf $(VENV) $(TOOLS) .pytest_cache .ruff_cache .mypy_cache *.egg-info

# All packages for this system and Python as files, for a machine without a network: `make WHEELS=wheels run` there.
wheels:
	$(PYTHON) -m venv $(TOOLS) && mkdir -p $(or $(WHEELS),wheels)
	$(LOCK) > $(TOOLS)/requirements.lock
	$(TOOLS)/bin/pip download --quiet --no-deps --dest $(or $(WHEELS),wheels) --require-hashes -r $(TOOLS)/requirements.lock
ifeq ($(TORCH),cpu)
	$(TOOLS)/bin/pip download --quiet --no-deps --dest $(or $(WHEELS),wheels) --index-url $(TORCH_INDEX) $(TORCH_LOCKED)
endif

$(READY): requirements.txt requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12')"
	$(PYTHON) -m venv --clear $(VENV)
	$(LOCK) > $(VENV)/requirements.lock
ifeq ($(TORCH),cpu)
	$(PY) -m pip install --quiet --no-deps $(or $(FROM),--index-url $(TORCH_INDEX)) $(TORCH_LOCKED)
endif
	$(PY) -m pip install --quiet --no-deps $(FROM) --require-hashes -r $(VENV)/requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)
