# Everything runs in .venv, which the first target that needs it makes. Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
READY := $(VENV)/.ready
SERVERS := $(VENV)/servers/.ready
JAVASCRIPT := clients/javascript
# Node and npm come with the development dependencies.
NPM := PATH="$(abspath $(BIN)):$$PATH" npm --prefix $(JAVASCRIPT)
JAVASCRIPT_READY := $(JAVASCRIPT)/node_modules/.ready
STORAGE ?= sqlite:///feedback.db
# Empty for that of the settings, which is 8000 by default.
PORT ?=

# What pytest compiles is kept: compiling all tests again takes longer than many of them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run demo test check lint format javascript bench bench-pages bench-large measure docs pictures lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt \
		--build-constraints constraints.txt --editable '.[all]' --group dev
	touch $(READY)

# Servers of other products, which tests start. Each has its own environment, as their packages conflict with Harken's.
$(SERVERS): tests/servers/mlflow.txt tests/servers/phoenix.txt | $(READY)
	for name in mlflow phoenix; do \
		$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/servers/$$name && \
		$(BIN)/uv pip install --quiet --python $(VENV)/servers/$$name/bin/python \
			--requirements tests/servers/$$name.txt || exit 1; \
	done
	touch $(SERVERS)

$(JAVASCRIPT_READY): $(READY) $(JAVASCRIPT)/package.json
	$(NPM) install --silent --no-audit --no-fund
	touch $@

run: $(READY) ## Serve the HTTP API on SQLite; the first start prints an API key
	$(BIN)/harken --storage $(STORAGE) serve $(if $(PORT),--port $(PORT))

demo: $(READY) ## Serve two months of sample feedback from a temporary storage
	$(BIN)/harken serve --demo $(if $(PORT),--port $(PORT))

test: $(READY) $(SERVERS) $(JAVASCRIPT_READY) ## Run all tests and check the coverage; about 55 minutes
	$(BIN)/coverage erase
	# In a zone that differs from UTC by a part of an hour, so that code that takes local time for UTC fails. make check
	# uses the zone of the machine.
	TZ=Asia/Kathmandu HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n 2 --dist worksteal -m 'not slow' --cov --cov-report=
	$(BIN)/coverage report --include='src/harken/*' --fail-under=98
	$(BIN)/coverage report --include='src/harken/domain/*' --fail-under=100
	# Three processes on two cores, as most of these tests wait for processes and servers.
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n 3 --dist worksteal -m slow

check: $(READY) ## Run the fast tests of the core, without MongoDB; about a minute on two idle cores
	HYPOTHESIS_PROFILE=quick $(BIN)/pytest -q -n 2 --dist worksteal -m 'not slow' -k 'not mongo' \
	    tests/domain tests/contracts tests/services

lint: $(READY) ## Run ruff, mypy --strict, import-linter, the vocabulary check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src/harken adapters/harken_adapters tests/typing
	$(BIN)/lint-imports
	$(BIN)/python tools/check_vocabulary.py

format: $(READY) ## Apply ruff's fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

javascript: $(JAVASCRIPT_READY) ## Build the modules for web pages that the hosts serve
	$(NPM) run --silent build

bench: $(READY) ## Measure speed, relative to the bare driver in the same run
	$(BIN)/python -m tests.benchmarks

bench-pages: $(READY) ## Measure the dashboard over a million entries on SQLite and MongoDB; 15 minutes, 3 GB
	$(BIN)/python -m tests.benchmarks.dashboard

bench-large: $(READY) ## Measure ten million entries on MongoDB; 30 minutes, 20 GB
	$(BIN)/python -m tests.benchmarks.ten_million

measure: $(READY) ## How good sentiment, themes and verdicts are; DATA=folder has airline-feedback.csv and reviews.jsonl
	$(BIN)/python -m tests.measurements $(DATA)

docs: $(READY) ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

pictures: $(READY) ## Take the pictures of the README and the documentation from the demo, with Chromium
	$(BIN)/python docs/images/make_pictures.py

lock: $(READY) ## Update the pinned versions in constraints.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --upgrade \
		--no-emit-index-url --no-header --no-annotate --output-file constraints.txt pyproject.toml
	for name in mlflow phoenix; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-emit-index-url --no-header \
			--no-annotate --output-file tests/servers/$$name.txt tests/servers/$$name.in || exit 1; \
	done

clean: ## Remove what make created, except the storage and its key
	rm -rf $(VENV) $(JAVASCRIPT)/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov dist build docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
