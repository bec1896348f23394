# The verbs of this repository. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA_DIR ?= .data
export PYTHONDONTWRITEBYTECODE ?=

PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all:

.PHONY: help demo serve test test-system crash crash-full check lint types bench estimate docs catalog lock clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@# setuptools brings an executable .pth file; nothing here needs it.
	@$(BIN)/pip uninstall --quiet --yes setuptools 2>/dev/null || true
	@touch $@

$(VENV)/run: $(VENV)/made requirements/run.txt pyproject.toml
	@echo "installing the locked requirements into $(VENV) ..."
	@$(PIP_INSTALL) -r requirements/run.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements/dev.txt
	@echo "installing the locked test requirements into $(VENV) ..."
	@$(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

demo: $(VENV)/run ## set up, then watch real inference being routed, streamed, paid and proved
	@$(BIN)/ainfera-gateway demo --data-dir $(DATA_DIR)

serve: $(VENV)/run ## run the gateway with the local model on port 8000
	@$(BIN)/ainfera-gateway local pull --data-dir $(DATA_DIR)
	@AINFERA_LOCAL_MODEL=1 $(BIN)/ainfera-gateway serve --data-dir $(DATA_DIR)

lint: $(VENV)/dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(VENV)/dev
	@$(BIN)/mypy

check: lint types ## fast: lint, types, architecture, docs, unit tests
	@$(BIN)/pytest -q -n 2 --dist loadfile tests/unit tests/wire tests/properties tests/test_*.py

test: lint types ## all tests that need the Python registry alone
	@$(BIN)/pytest -q -n 2 --dist loadfile tests --ignore=tests/system

test-system: $(VENV)/dev ## tests with the real model and the real command; the model is fetched once
	@$(BIN)/pytest -q tests/system

crash: $(VENV)/dev ## kill, cut and starve the gateway, as far as `make test` does; CRASH_SEED chooses other moments
	@$(BIN)/pytest -q tests/crash

crash-full: export CRASH_REPORT := $(CURDIR)/.cache/crash.jsonl
crash-full: export CRASH_ROUNDS ?= 500
crash-full: export CRASH_FAULTS ?= 0
crash-full: export CRASH_OUTAGES ?= 100
crash-full: export CRASH_CUTS ?= 500
crash-full: export CRASH_LEAVES ?= 2500
crash-full: export CRASH_HALF_FAILURES ?= 750
crash-full: export CRASH_WORKER_KILLS ?= 200
crash-full: export CRASH_DRAINS ?= 100
crash-full: export CRASH_HARDSHIPS ?= 10
crash-full: export CRASH_HOLDS ?= 10000
crash-full: export CRASH_WALLETS ?= 100
crash-full: export CRASH_KEYS ?= 250
crash-full: export CRASH_STEPS ?= 50000
crash-full: export CRASH_APPENDS ?= 2000
crash-full: export CRASH_LOGS ?= 100
crash-full: export CRASH_OVERSHOOTS ?= 10
crash-full: $(VENV)/dev ## the same many times over, for an hour or more; writes the figures into docs/reliability.md
	@mkdir -p .cache && rm -f $$CRASH_REPORT
	@$(BIN)/pytest -q tests/crash tests/storage/test_ledger_model.py tests/storage/test_log_at_scale.py --ignore=tests/crash/test_seeded.py
	@$(BIN)/python -m tests.crash.report $$CRASH_REPORT

bench: $(VENV)/dev ## measure, as ratios in one run
	@$(BIN)/python -m bench

estimate: $(VENV)/dev ## hold the token estimates against real tokenizers; writes docs/estimates.md
	@$(BIN)/python -m bench.estimate

docs: $(VENV)/dev ## regenerate the generated parts of the docs
	@$(BIN)/python -m tests.docs_generate

catalog: $(VENV)/dev ## write the catalog's prices anew from the locked genai-prices package
	@$(BIN)/python -m tools.catalog_import

lock: $(VENV)/dev ## resolve requirements/*.in anew
	@for name in run dev; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate requirements/$$name.in -o requirements/$$name.txt; done

clean: ## remove the environment and the local data
	rm -rf $(VENV) .cache $(DATA_DIR)
