# What a new user needs: make demo, make test. Everything goes through .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test lint types audit check bench docs lock clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) .env ## Install into .venv and write .env

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "the venv module is missing: install your system's python3-venv package"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

.env:
	@$(PYTHON) -c 'import datetime as d; print("AUTONAMA_START_DATE=%s" % (d.datetime.now(d.timezone.utc).date() - d.timedelta(days=365)))' > .env
	@echo "wrote .env: $$(cat .env)"

demo: $(STAMP) ## Scan a synthetic market, offline
	@$(BIN)/autonama demo

test: $(STAMP) ## Run the tests, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP) ## Check style and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## Check types
	$(BIN)/mypy

audit: $(STAMP) ## Compare the locks with known vulnerabilities
	$(BIN)/python .ci/audit.py || [ $$? -eq 3 ] # 3: the service could not be asked, and it says so

check: lint types audit test ## All of the above, as CI does

bench: $(STAMP) ## Measure; one JSON line each
	$(BIN)/python -m bench

docs: $(STAMP) ## Write the generated pages of docs/
	$(BIN)/python -m autonama_dagster.docs

lock: ## Resolve requirements.lock anew (needs uv)
	uv pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --fork-strategy fewest --no-strip-extras --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade -o requirements.lock
	uv pip compile -q deploy/requirements.in -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url $$(sed -nE 's/^([a-z0-9._-]+).*==.*/--no-emit-package \1/p' requirements.lock) -o deploy/requirements.lock

clean: ## Remove .venv; data in .autonama stays
	rm -rf $(VENV)
