# Two commands for a fresh machine that has python3, make and a package index:
#   make demo    install, simulate walkers, train both stages, evaluate
#   make test    install, check the format, lint, run the tests (minutes; make test-all runs all of them)
# Both install into .venv, once, and again after the requirements have changed.

PYTHON ?= python3
# Further options for pip, e.g. PIP_FLAGS='-c requirements-tested.txt' for exactly the tested versions.
PIP_FLAGS ?=
DEMO_DIR ?= demo

VENV := .venv
BIN := $(VENV)/bin
# Twice quiet: errors only.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check install $(PIP_FLAGS)
DEMO_FLAGS := --dataset DEMO --data_dir '$(DEMO_DIR)/Datasets' --models_dir '$(DEMO_DIR)/Models'

# Two processes, a module's tests in one of them.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
ON_JAX := KERAS_BACKEND=jax JAX_PLATFORMS=cpu JAX_DEFAULT_MATMUL_PRECISION=highest

.PHONY: help install demo quick test test-rest test-all lint docs check-python clean

help:
	@echo 'make demo      simulate walkers, train, evaluate; writes $(DEMO_DIR)/'
	@echo 'make quick     what tells at once that something is broken (a minute)'
	@echo 'make test      check the format, lint, run the tests but the slow ones (minutes)'
	@echo 'make test-all  run all tests; make test-rest runs those that make test leaves out'
	@echo 'make docs      make the site of the documentation in site/, to be read without a network'
	@echo 'make install   only install into $(VENV)'
	@echo 'make clean     remove $(VENV), $(DEMO_DIR) and caches; Datasets and Models stay'
	@echo 'PYTHON=python3.12 in front or behind chooses another Python.'

demo: $(VENV)/.installed
	$(BIN)/python -m sge_la.data.prepare DEMO --data_dir '$(DEMO_DIR)/Datasets'
	$(BIN)/python train.py $(DEMO_FLAGS) --overwrite
	$(BIN)/python evaluate.py $(DEMO_FLAGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

quick: lint
	$(PYTEST) -m quick

test: lint
	$(PYTEST) -m 'not slow' --fuzz-cases 200
	$(ON_JAX) $(PYTEST) -m 'not slow and not slow_on_jax' tests/model

test-rest: $(VENV)/.installed-dev
	$(PYTEST) -m 'slow or fuzz' --fuzz-cases 200-2000
	$(ON_JAX) $(PYTEST) -m 'slow or slow_on_jax' tests/model

test-all: test test-rest

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict --quiet
	@echo 'Open site/index.html; for its search: $(BIN)/python -m http.server --directory site'

install: $(VENV)/.installed

$(VENV)/bin/python: | check-python
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt $(VENV)/bin/python
	@echo 'Installing into $(VENV) (several hundred megabytes, this takes minutes) ...'
	@$(PIP) -r requirements.txt || { echo 'error: installing failed, for the reason that pip gives above; put it right and run make again' >&2; exit 1; }
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	@echo 'Installing the development tools ...'
	@$(PIP) --editable '.[dev]' || { echo 'error: installing failed, for the reason that pip gives above; put it right and run make again' >&2; exit 1; }
	@touch $@

check-python:
	@command -v '$(PYTHON)' >/dev/null || { echo "error: Python 3.10 to 3.13 is needed, and there is no command '$(PYTHON)'; install it, or name another with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || { echo "error: Python 3.10 to 3.13 is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1); name another with make PYTHON=python3.12, say" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: '$(PYTHON)' cannot make virtual environments, because its venv or ensurepip module is missing; install it (on Debian and Ubuntu the package python3-venv) and run make again" >&2; exit 1; }

clean:
	rm -rf $(VENV) '$(DEMO_DIR)' site .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find sge_la tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
