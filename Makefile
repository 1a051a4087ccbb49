# What a new user needs: make demo, make test. Everything goes through .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Errors only: pip's warnings (its own version, a cache, an index) are not about this project.
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input

.PHONY: help setup demo test lint types audit check bench docs lock clean purge

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) .env ## Install into .venv and write .env

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is required: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "the venv module is missing: install your system's python3-venv package"; exit 1; }
	@echo "installing into $(VENV): about 160 packages, a few minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

.env:
	@umask 077; $(PYTHON) -c 'import datetime as d; print("AUTONAMA_START_DATE=%s" % (d.datetime.now(d.timezone.utc).date() - d.timedelta(days=365)))' > .env
	@echo "wrote .env: $$(cat .env)"

demo: $(STAMP) ## Scan a synthetic market, offline
	@$(BIN)/autonama demo

test: $(STAMP) ## Run the tests, three files at a time: many of them wait
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(STAMP) ## Check style and import direction
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## Check types
	$(BIN)/mypy

audit: $(STAMP) ## Check the lock files for known vulnerabilities
	$(BIN)/python .ci/audit.py || [ $$? -eq 3 ] # 3: the service could not be reached, and it says so

check: lint types audit test ## All of the above, as CI does

bench: $(STAMP) ## Run the benchmarks; one JSON line each
	$(BIN)/python -m bench

docs: $(STAMP) ## Write the generated pages of docs/
	$(BIN)/python -m docs.generate
	$(BIN)/python .ci/licences.py

lock: ## Resolve the lock files again (needs uv)
	uv pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --fork-strategy fewest --no-strip-extras --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade -o requirements.lock
	uv pip compile -q deploy/requirements.in -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url $$(sed -nE 's/^([a-z0-9._-]+).*==.*/--no-emit-package \1/p' requirements.lock) -o deploy/requirements.lock

clean: ## Remove .venv and caches; keep data, results and .env
	rm -rf $(VENV) build dist *.egg-info .*_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

purge: $(STAMP) ## Delete the databases too, including the demo's; needs YES=1
	@test "$(YES)" = 1 || { echo "this deletes all candles and tables in .autonama, including the demo's; to confirm: make purge YES=1"; exit 1; }
	@for home in "$(CURDIR)" "$(CURDIR)"/.autonama/demo*; do \
		test ! -d "$$home" || $(BIN)/autonama --home "$$home" db drop --embedded --yes || exit 1; done
	rm -rf .autonama
	@$(MAKE) --no-print-directory clean
