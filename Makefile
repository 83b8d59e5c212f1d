# Every target sets up .venv by itself where needed. PYTHON: the interpreter to make it with (3.11+).
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-fast check proof faults faults-short bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): downloads about 3 GB (torch with CUDA libraries), 7 GB on disk, 2-10 minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[demo,dev]"
	@touch $(STAMP)

demo: setup
	$(BIN)/ram-ray demo

# The whole proof, in three processes: two of them with a Ray that their tests share.
test: setup
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(PYTEST_ARGS)

# For developing: no Ray, no browser, nothing slow.
test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not faults and not proof and not heavy and not slow" $(PYTEST_ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PYTHONPATH=.:model $(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/pyright --pythonpath $(BIN)/python

# What takes minutes to hours: full counts of kills, compiled models. CI runs the short form.
proof: faults
	$(BIN)/python -m pytest -m proof $(PYTEST_ARGS)

faults: setup
	$(BIN)/python -m pytest -m faults tests/faults $(PYTEST_ARGS)

faults-short: setup
	$(BIN)/python -m pytest -m faults --faults-short tests/faults $(PYTEST_ARGS)

bench: setup
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/pipeline.py

clean:
	rm -rf $(VENV) demo-out dist .pytest_cache .ruff_cache
