# `make` alone lists the targets. A target that needs .venv makes it first, from requirements.lock and nothing else.

PYTHON ?= python3
UV_VERSION := 0.13.8

# The tests start hundreds of processes: where no bytecode is written, each compiles what it imports.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
LOCK_VENV := .venv-lock
FOREIGN_VENV := .venv-interop
FOREIGN = $(FOREIGN_VENV)/.installed-$(VERSION)
DOCS_VENV := .venv-docs
DIST_VENV := .venv-dist
DIST = $(DIST_VENV)/.installed-$(VERSION)
UV := $(LOCK_VENV)/bin/uv
DOCS = $(DOCS_VENV)/.installed-$(VERSION)
SITE := build/site
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input

# The stamps carry Python's version, so that PYTHON=python3.12 after python3.11 rebuilds .venv.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
INSTALLED := $(VENV)/.installed-$(VERSION)
READY := $(VENV)/.ready-$(VERSION)

# For an interpreter that is missing, too old, or without venv and pip, which Debian and its derivatives package separately.
NEEDS_PYTHON := affiant needs Python 3.11 or newer with venv and pip: install it (Debian, Ubuntu: python3-venv), or name one, as in PYTHON=python3.12 make test
CHECK_PYTHON = $(PYTHON) -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	|| { echo "$(NEEDS_PYTHON)" >&2; exit 1; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv test tests quick lint imports types public-types demo soak interop bench counts docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: $(READY) ## make .venv, or bring it up to date

$(INSTALLED): requirements.lock
	@$(CHECK_PYTHON)
	@echo "· $(VENV): Python $(VERSION) and what requirements.lock pins (about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

# No build isolation: the build backend is in the lock as well, and so held to its hash.
$(READY): $(INSTALLED) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

test: lint tests ## what every change must pass: lint, types, tests (ARGS="-k audience" for some)

# Two for each processor: with three, the tests take as long, and more of those that measure a time fail.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(4, 2 * (os.cpu_count() or 1)))')

# Without lint, which has its own verdict: .ci/run tries a failed test again, and must not take that for lint's.
tests: $(READY)
	@echo "· pytest"
	@$(BIN)/python -m pytest --quiet --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder $(ARGS)

quick: $(READY) ## the tests of what you changed, within a minute (ARGS="--base main" to compare with main)
	@$(BIN)/python -m tests.quick $(ARGS)

lint: $(READY) ## ruff, import-linter, mypy, basedpyright
	@echo "· ruff"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "Not formatted: run $(BIN)/ruff format" >&2; exit 1; }
	@$(MAKE) --no-print-directory --jobs=3 imports types public-types

# Next to each other, for each keeps one processor busy. Each says at its end what it found.
CHECK = @report=$$($(1) 2>&1) || { printf '· %s\n%s\n' "$(2)" "$$report" >&2; exit 1; }; echo "· $(2)"

imports: $(READY)
	$(call CHECK,$(BIN)/lint-imports --no-logo --no-cache,import-linter)

types: $(READY)
	$(call CHECK,$(BIN)/mypy --no-error-summary,mypy)

public-types: $(READY)
	$(call CHECK,$(BIN)/python -m tests.public_types,basedpyright: the types of the public API)

demo: $(READY) ## the full flow on this machine (ARGS="..." is passed to affiant demo)
	@$(BIN)/affiant demo $(ARGS)

soak: $(READY) ## the long races, which make test leaves out
	@$(BIN)/python -m pytest -m soak $(ARGS)

interop: $(READY) $(FOREIGN) ## the clients and verifiers of others, in an environment of their own
	@$(BIN)/python -m pytest --quiet -m interop tests/interop $(ARGS)

$(FOREIGN): tests/interop/requirements.lock
	@echo "· $(FOREIGN_VENV): what tests/interop/requirements.lock pins"
	@$(PYTHON) -m venv --clear $(FOREIGN_VENV)
	@$(FOREIGN_VENV)/bin/python -m pip -qq --disable-pip-version-check --no-input install \
		--require-hashes --requirement tests/interop/requirements.lock
	@touch $@

# The builder exits with 0 for a link that it cannot find, unless it is strict; anchors and other hosts only our own check sees.
docs: $(DOCS) ## the site of docs/, in build/site: fails for a broken link or anchor, and for a page that is not in the index
	@$(DOCS_VENV)/bin/python -m reference.website stage
	@$(DOCS_VENV)/bin/zensical build --strict
	@$(DOCS_VENV)/bin/python -m reference.website check $(SITE)
	@echo "· docs: $(SITE)/index.html"

$(DOCS): docs/requirements.lock
	@$(CHECK_PYTHON)
	@echo "· $(DOCS_VENV): what docs/requirements.lock pins"
	@$(PYTHON) -m venv --clear $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip -qq --disable-pip-version-check --no-input install \
		--require-hashes --requirement docs/requirements.lock
	@touch $@

bench: $(READY) ## benchmarks, each compared with a peer or a primitive (ARGS="--quick tokens" for a part)
	@$(BIN)/python -m bench $(ARGS)

counts: $(READY) ## the work of a token, compared with what it was (ARGS=--accept keeps the new counts)
	@$(BIN)/python -m bench.counts $(ARGS)

versions: $(READY) ## a fast part of the tests on every Python from 3.11 to 3.14 that is found
	@$(BIN)/python -m tests.versions $(ARGS)

dist: $(READY) $(DIST) $(UV) ## build and check what a release has (ARGS="client server" for some extras)
	@echo "· dist"
	@$(BIN)/python -m tests.releasing $(ARGS)

$(DIST): tests/releasing/requirements.lock
	@echo "· $(DIST_VENV): what tests/releasing/requirements.lock pins"
	@$(PYTHON) -m venv --clear $(DIST_VENV)
	@$(DIST_VENV)/bin/python -m pip -qq --disable-pip-version-check --no-input install \
		--require-hashes --requirement tests/releasing/requirements.lock
	@touch $@

$(UV):
	@$(PYTHON) -m venv --clear $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip -qq --disable-pip-version-check install uv==$(UV_VERSION)

release: $(READY) ## write a version and its part of the changelog (TO=0.2.0); CONTRIBUTING.md says what follows
	@$(BIN)/python -m reference.release $(TO)

# Without its extras, pip takes a requirement with extras for another one than the one that is pinned.
# uv takes its index from its own settings and the environment; no address of one may end up in the lock.
lock: $(UV) ## resolve requirements.lock again from pyproject.toml (ARGS="--upgrade" for newer releases)
	@$(CHECK_PYTHON)
	@$(LOCK_VENV)/bin/uv pip compile pyproject.toml --all-extras --group dev \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file requirements.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile tests/interop/requirements.in --no-strip-extras \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file tests/interop/requirements.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile bench/peers/requirements.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file bench/peers/requirements.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile bench/guards/requirements.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file bench/guards/requirements.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile bench/clients/requirements.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file bench/clients/requirements.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile docs/requirements.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file docs/requirements.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile pyproject.toml --extra server --extra postgres --extra metrics \
		--constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file deploy/container/requirements.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile deploy/container/build.in --constraint requirements.lock \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file deploy/container/build.lock $(ARGS)
	@$(LOCK_VENV)/bin/uv pip compile tests/releasing/requirements.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file tests/releasing/requirements.lock $(ARGS)
	@echo "· requirements.lock: $$(grep -c '==' requirements.lock) packages"

clean: ## remove environments, caches and builds
	@rm -rf $(VENV) $(LOCK_VENV) $(FOREIGN_VENV) $(DOCS_VENV) $(DIST_VENV) .venv-versions build dist .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
