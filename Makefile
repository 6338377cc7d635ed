# Everything runs in .venv, which the first target that needs it makes. Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
READY := $(VENV)/.ready
STORAGE ?= sqlite:///harken.db
PORT ?= 8000

# What pytest compiles is kept: compiling all tests again takes longer than many of them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run demo test check lint format bench bench-large docs lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt \
		--build-constraints constraints.txt --editable '.[all]' --group dev
	touch $(READY)

run: $(READY) ## Serve the HTTP API on SQLite; the first start creates and prints an API key
	$(BIN)/harken --storage $(STORAGE) serve --port $(PORT)

demo: $(READY) ## Put made-up feedback into the same storage, and show what Harken makes of it
	$(BIN)/harken --storage $(STORAGE) demo
	@echo && echo "In this folder, harken is $(BIN)/harken."

test: $(READY) ## All tests, thoroughly, with the coverage bounds: about 15 minutes
	$(BIN)/coverage erase
	# In a zone that is not UTC, by a part of an hour: what takes local time for UTC is seen. make check runs in the machine's.
	TZ=Asia/Kathmandu HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n 2 --dist worksteal -m 'not slow' --cov --cov-report=
	$(BIN)/coverage report --include='src/harken/*' --fail-under=98
	$(BIN)/coverage report --include='src/harken/domain/*' --fail-under=100
	# Three on two cores, as most of these wait for processes and servers.
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n 3 --dist worksteal -m slow

check: $(READY) ## The fast tests, in under a minute
	HYPOTHESIS_PROFILE=quick $(BIN)/pytest -q -n 2 --dist worksteal -m 'not slow'

lint: $(READY) ## ruff, mypy --strict and the import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src/harken adapters/harken_adapters tests/typing
	$(BIN)/lint-imports

format: $(READY) ## Let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Speed, as ratios against the bare driver in the same run
	$(BIN)/python -m tests.benchmarks

bench-large: $(READY) ## Figures over ten million on MongoDB: half an hour and 20 GB of disk
	$(BIN)/python -m tests.benchmarks.ten_million

docs: $(READY) ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

lock: $(READY) ## Pin every dependency again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --upgrade \
		--no-emit-index-url --no-header --no-annotate --output-file constraints.txt pyproject.toml

clean: ## Remove what the targets made, but for the storage and its key
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov dist build docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
