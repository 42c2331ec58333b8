# Set-up happens by itself; ARGS go to run_all.py: make run ARGS="--dataset shaft --preset standard"
PYTHON ?= python3
VENV := .venv
export GOMP_SPINCOUNT ?= 30000
PY := $(VENV)/bin/python
READY := $(VENV)/.installed
TOOLS := .tools

.PHONY: run test lab bench backbone backbone-table reference faults lock audit test-slow test-gpu check clean

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

bench: $(READY)
	$(PY) -m pytest -m 'benchmark and not gpu' -s

# Trains the embedded backbone anew (hours on a CPU; resumes where it was killed) into lib/features/weights.
backbone: $(READY)
	$(PY) -m lib.pretraining.training $(ARGS)

# The backbones compared: make backbone-table ARGS="--magnetic DIR --weights embedded random-init FILE"
backbone-table: $(READY)
	$(PY) -m tests.benchmarks.backbone_quality $(ARGS)

# What readers see without running anything: the default study anew, and a small copy of it in outputs/reference.
reference: $(READY)
	$(PY) run_all.py --study reference-run --weights embedded
	$(PY) -m lib.reporting.reference_copy outputs/reference-run standins

test-slow: $(READY)
	$(PY) -m pytest -m slow

# Kills, lost workers, a full disk, damaged files: a quarter of an hour, and a table.
faults: $(READY)
	$(PY) -m tests.faults $(ARGS)

test-gpu: $(READY)
	$(PY) -m pytest -m gpu -s

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

$(READY): requirements.txt requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)
