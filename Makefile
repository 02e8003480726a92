# make run    start the server here, with a demo account; the data is kept in var/
# make phones start the demo account's phones, simulated, against the running server
# make test   install what the tests need and run them
# make check  linters and types
# make bench  cost per request against a bare aiohttp handler of the same run
# make proof  attacks and faults against the real server; PROOF=--full for the whole of them
# make lock   write the lock files anew after a change of pyproject.toml

PYTHON ?= python3
BIN := .venv/bin

run: .venv/runtime
	$(BIN)/provisioning serve --demo

phones: .venv/runtime
	$(BIN)/provisioning simulate --demo

test: .venv/dev
	$(BIN)/python -W error -m pytest -n 3 --dist loadfile

check: .venv/dev
	$(BIN)/ruff check provisioning tests
	$(BIN)/mypy

bench: .venv/dev
	$(BIN)/python tests/bench/bench.py

proof: .venv/dev
	$(BIN)/python tests/proof/prove.py $(PROOF)

lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header -o requirements.lock pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --extra dev -o requirements-dev.lock pyproject.toml

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv

.venv/runtime: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements-dev.lock .venv/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

.PHONY: run phones test check bench proof lock
