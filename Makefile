# book_search: `make demo` shows the whole road on a drawn library, `make test` checks everything.
# Another Python: make demo PYTHON=python3.12. Another place for the environment: make test VENV=/tmp/venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
SIZE ?= 3G
.PHONY: help demo ui serve test lint types format bench-catalogue clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.installed  ## draw a small library, run the whole road on it, ask it three questions
	$(BIN)/book-search demo

ui: $(VENV)/.installed  ## the Dagster UI on the demo's library
	$(BIN)/book-search demo --ui

serve: $(VENV)/.installed  ## the search page on the demo's library
	$(BIN)/book-search demo --serve

test: $(VENV)/.installed-dev lint types  ## lint, types and all tests, in an environment of its own making
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-catalogue: $(VENV)/.installed-dev  ## the first stage against igzip, DuckDB, Polars, Spark (SIZE=3G of editions)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m book_search_tests.benchmarks.bench_catalogue --size $(SIZE)

clean:  ## remove the demo's library and the environment; a real library in .book_search stays
	rm -rf .book_search/demo $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "book_search needs Python 3.11 or newer; name one: make demo PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing book_search into $(VENV) (some minutes the first time) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ui,web]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
