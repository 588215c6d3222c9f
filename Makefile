# One environment for everything below; the stamp makes it again when the lock changes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell sha256sum requirements.lock | cut -c1-16)
# One more than there are processors: a test that waits for a service or a line leaves its processor to another.
WORKERS ?= $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")
SOURCES := card_os applet personalization reader_bridge test_vectors permitcard

# Tests start many programs of ours; each would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test long check bench format lock clean

setup: $(STAMP)

$(STAMP): requirements.lock
	.ci/packages $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	touch $@

demo: setup
	$(BIN)/python -m permitcard demo

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not long"

long: setup
	PERMITCARD_DRAW_ANEW=1 $(BIN)/python -m pytest -m long

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pyright --pythonpath $(BIN)/python --project .ci/windows.json
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/python -m test_vectors

bench: setup
	$(BIN)/python benchmarks/run.py

format: setup
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lock:
	uv pip compile pyproject.toml --group dev --all-extras --generate-hashes --no-emit-index-url --universal --python-version 3.11 --output-file requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
