# All set-up is in here: `make demo` and `make test` work on a fresh clone with Python 3.11+ alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for servers: two at a time halve the time. A file's tests stay together.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
STAMP := $(VENV)/.installed
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock" pyproject.toml

.PHONY: demo test faults check install format lint types contracts lock bench audit clean
.DEFAULT_GOAL := help

help:  ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: install  ## Classify the sample digits, offline, with everything real.
	$(BIN)/classyard demo

test: install  ## Run all tests.
	$(PYTEST)

faults: install  ## Run the whole fault matrix with repeats (long); rewrite its table.
	rm -f .faults.jsonl
	@status=0; export CLASSYARD_TEST_FAULTS_BOOK=.faults.jsonl; \
	$(BIN)/pytest tests/faults --faults=full -m faults_alone || status=1; \
	$(BIN)/pytest tests/faults --faults=full -m "not faults_alone" -n 4 --dist worksteal || status=1; \
	$(BIN)/python -m tests.faults.table .faults.jsonl docs/reliability.md && exit $$status

check: install lint types contracts  ## What CI runs: format, lint, types, import contracts, tests.
	$(PYTEST)

install: $(STAMP)  ## Create .venv and install everything, pinned by hash.

$(STAMP): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "Installing into $(VENV): a few minutes, and 4 GB on the disk."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

format: install  ## Format and sort.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

lock: install  ## Pin all dependencies anew.
	$(BIN)/pip install --quiet uv
	$(LOCK) --all-extras --group dev -o locks/dev.txt
	$(LOCK) --all-extras --group dev --group bench -o locks/bench.txt
	$(LOCK) -o locks/producer.txt
	$(LOCK) --extra worker -o locks/worker.txt
	$(LOCK) --extra worker --extra tensorflow -o locks/tensorflow.txt
	$(LOCK) --extra worker --extra tensorflow --group gpu -o locks/gpu.txt
	$(LOCK) --extra worker --extra openvino -o locks/openvino.txt
	$(LOCK) --extra flower -o locks/flower.txt
	$(LOCK) --extra web --extra worker -o locks/web.txt
	$(LOCK:pyproject.toml=) --group build -o locks/build.txt

bench: install  ## Run all benchmarks and write docs/benchmarks.md: up to 90 minutes, on a quiet machine.
	$(BIN)/pip install --quiet --require-hashes -r locks/bench.txt
	$(BIN)/python -m benchmarks.all

audit: install  ## Look for known vulnerabilities in the pinned dependencies (needs the network).
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r locks/dev.txt

clean:  ## Remove the virtual environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
