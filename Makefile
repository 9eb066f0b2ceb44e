# book_search: `make demo` shows the whole road on a drawn library, `make test` checks everything.
# Another Python: make demo PYTHON=python3.12. Another place for the environment: make test VENV=/tmp/venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
SIZE ?= 3G
COVERS ?= 2000 10000
PICTURES ?= 1000
KILLS ?= 500
ROWS ?= 10000 70000
ROAD_KILLS ?= 60
BOOKS ?= 2000
.PHONY: help demo ui serve test lint types format kill-covers kill-road bench-catalogue bench-covers bench-embed bench-index bench-month bench-query clean

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

kill-covers: $(VENV)/.installed-dev  ## kill runs that fetch covers at random moments, KILLS=500 times or more
	BOOK_SEARCH_TEST_KILLS=$(KILLS) $(BIN)/python -m pytest -s --timeout=3600 book_search_tests/openlibrary/test_kill_loop.py

kill-road: $(VENV)/.installed-dev  ## kill the whole road, Postgres and the daemon at random moments, ROAD_KILLS=60 times
	BOOK_SEARCH_TEST_DAEMON=1 BOOK_SEARCH_TEST_ROAD_KILLS=$(ROAD_KILLS) $(BIN)/python -m pytest -s --timeout=3600 \
	  book_search_tests/road/test_kill_road.py book_search_tests/road/test_kill_daemon.py book_search_tests/road/test_two_runs.py

bench-catalogue: $(VENV)/.installed-dev  ## the first stage against igzip, DuckDB, Polars, Spark (SIZE=3G of editions)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m book_search_tests.benchmarks.bench_catalogue --size $(SIZE)

bench-embed: $(VENV)/.installed-dev  ## covers to vectors against the floor, transformers and other engines (PICTURES=1000)
	$(BIN)/python -m book_search_tests.benchmarks.bench_embed --count $(PICTURES) --memory 500 5000

bench-covers: $(VENV)/.installed-dev  ## covers by id and in bulk against img2dataset and floors (COVERS="2000 10000")
	$(BIN)/python -m book_search_tests.benchmarks.bench_covers --counts $(COVERS)

bench-index: $(VENV)/.installed-dev  ## loading and searching the index against floors and other databases (ROWS="10000 70000")
	$(BIN)/python -m book_search_tests.benchmarks.bench_index --rows $(ROWS)

bench-month: $(VENV)/.installed-dev  ## what a month's changes cost over the least possible, and a month without any (BOOKS=2000)
	$(BIN)/python -m book_search_tests.benchmarks.bench_month --books $(BOOKS)

bench-query: $(VENV)/.installed-dev  ## how long a question waits: from the shell to the answer, and a sentence warm
	$(BIN)/python -m book_search_tests.benchmarks.bench_query

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
