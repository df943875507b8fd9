# Two commands do everything on a machine that has only python3, make and git:
#   make run    its own environment, then the proxy on the embedded sandbox
#   make test   its own environment, then every check and the whole suite
# Everything made here lies in the checkout and is ignored by git: .venv, var (recordings), certs (the CA), build, dist.

PYTHON ?= python3
LISTEN ?= smtp://127.0.0.1:1025
ARGS   ?=
BIN    := .venv/bin
WHEEL_BIN := build/wheel-venv/bin
SOURCES := smtpproxy tests benchmarks tools

.PHONY: help run test lint format typecheck suite wheel docs library bench clean

help:
	@echo "make run      start the proxy on the embedded sandbox   (LISTEN=$(LISTEN) ARGS='--upstream smtp+starttls://…')"
	@echo "make test     ruff, mypy, import-linter, the suite with branch coverage, the wheel in a clean place"
	@echo "make lint     only ruff, mypy and import-linter"
	@echo "make suite    only pytest                               (TESTS=tests/wire)"
	@echo "make docs     render the pages that come from tables in the code"
	@echo "make library  record the library in replay/ anew        (ARGS='--only NAME', as root)"
	@echo "make bench    what the proxy costs beside a bare byte pump"
	@echo "make clean    remove what was built; recordings and the CA stay"

run: .venv/run.stamp
	@mkdir -p var && chmod 700 var
	@echo "Try it from another terminal; nothing that the sandbox takes is ever delivered:"
	@echo "  $(BIN)/python tools/send_one.py $(LISTEN)"
	@echo "  $(BIN)/smtpproxy show latest --store var/recordings.db"
	@exec $(BIN)/smtpproxy run --listen $(LISTEN) --store var/recordings.db --certs certs $(ARGS)

test: lint suite wheel

lint: .venv/test.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/mypy benchmarks tools
	$(BIN)/lint-imports

format: .venv/test.stamp
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

TESTS ?= tests
suite: .venv/test.stamp
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# What is shipped is what is tested: the wheel alone, in an environment of its own, with the checkout's package out of reach.
wheel: .venv/test.stamp
	rm -rf build/wheel build/wheel-venv build/wheel-tests
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/wheel-venv
	$(WHEEL_BIN)/python -m pip install --quiet 'pip>=25.1'
	$(WHEEL_BIN)/pip install --quiet build/wheel/*.whl --group test
	mkdir -p build/wheel-tests/certs
	cp -R tests docs tools benchmarks replay *.md LICENSE Dockerfile pyproject.toml build/wheel-tests/
	cp certs/README.md build/wheel-tests/certs/
	cd build/wheel-tests && ../../$(WHEEL_BIN)/smtpproxy --version
	cd build/wheel-tests && ../../$(WHEEL_BIN)/python -m pytest -q -p no:cacheprovider $(WHEEL_TESTS)

WHEEL_TESTS ?= tests/cli tests/recording tests/store tests/test_docs.py

docs: .venv/test.stamp
	$(BIN)/python tools/render_docs.py

library: .venv/test.stamp
	$(BIN)/python tools/record_library.py $(ARGS)

bench: .venv/test.stamp
	$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# pip learned --group (PEP 735) in 25.1; what ensurepip brings is older.
.venv/run.stamp: pyproject.toml
	@sh tools/make_venv $(PYTHON) .venv
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/test.stamp: .venv/run.stamp
	$(BIN)/pip install --quiet --group test --group lint
	@touch $@
