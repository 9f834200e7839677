# What a person or a machine does with a checkout.  `make help` lists it.

# The first that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --quiet --disable-pip-version-check
EDITABLE := --config-settings editable_mode=compat --editable
# Two runs of make in one checkout build nothing twice at once; who comes second finds it done.
ONCE := $(shell command -v flock >/dev/null && echo flock Makefile) sh -ec
newer = stale=; for each in $(2); do test $(1) -nt $$each || stale=yes; done; test -z "$$stale" ||
NODE_CLIENTS := tests/live/node/node_modules/.package-lock.json
NODE_PEERS := benchmarks/peers/node_modules/.package-lock.json
PYTHON_PEERS := .venv-peers/.ready
AREAS := http fanout ingest graphql idle growth workers
LEDGER = $(BIN)/python -m tests.ledger --seconds 20 --kills 5 --must-recover
# All but those that need ports and servers.
FAST_TESTS := $(filter-out tests.live tests.postgresql tests.redis tests.system,$(subst /,.,$(patsubst %/,%,$(dir $(wildcard tests/*/__init__.py))))) \
	$(subst /,.,$(basename $(wildcard tests/test_*.py)))  tests.system.revocation

.PHONY: help run venv check test prove servers strace libfaketime ledger ledger-mutants revocations bench bench-durable bench-versions bench-peers bench-instances bench-choices $(addprefix bench-,$(AREAS)) format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.runs  ## the server in development mode on loopback; Ctrl-C stops it
	@$(BIN)/twistd --nodaemon --pidfile= multiproto

venv: $(VENV)/.ready  ## .venv with the package and what its tests need

# What running needs: the package, and what the commands that the server prints at its start use.
$(VENV)/.runs: setup.cfg pyproject.toml
	@$(ONCE) '$(call newer,$@,$^) { \
		echo "building $(VENV) for running: half a minute or so on a first run"; \
		test -n "$(PYTHON)" || { echo "multiproto needs Python 3.11 or newer: make run PYTHON=/path/to/python3.12"; exit 1; }; \
		$(PYTHON) -m venv $(VENV) && $(PIP) install $(EDITABLE) ".[examples]" && touch $@; }'

# The linters and the test tools beside it.
$(VENV)/.ready: $(VENV)/.runs
	@$(ONCE) '$(call newer,$@,$^) { \
		echo "adding the test tools to $(VENV): half a minute or so on a first run"; \
		$(PIP) install $(EDITABLE) ".[test]" && touch $@; }'

check: venv  ## format, lint, types and all tests that need no ports, with a fifth of the random examples: half a minute or so
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	MULTIPROTO_FEWER_EXAMPLES=1 $(BIN)/python -m tests.run --jobs 3 $(FAST_TESTS)

test: venv servers strace libfaketime $(NODE_CLIENTS)  ## everything, as CI runs it: all of check, live tests, branch coverage of 90 %; half an hour at most
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/python -m tests.run --coverage --jobs 2 tests

prove: venv servers  ## what takes longer or a stop-watch, on an idle machine: one line a proof; PROOFS="overload seconds" for some
	$(BIN)/python -m tests.prove $(PROOFS)

ledger: venv  ## a mixed load with kill -9 on four protocols, and the checker's verdict: half a minute
	$(LEDGER)

ledger-mutants: venv  ## servers that break a promise on purpose: each must be found out
	$(BIN)/python -m tests.ledger.mutants

revocations: venv servers  ## rights that end on one of two instances, and how soon the other knows: a minute
	$(BIN)/python -m tests.system.revocation
	$(BIN)/python -m tests.system.revocation --without redis
	$(BIN)/python -m tests.system.revocation --rounds 1 --blind

bench: $(addprefix bench-,$(AREAS)) bench-durable  ## us and what you would pick instead, on an idle machine: under half an hour
	$(BIN)/python -m benchmarks.report

# One area of the benchmarks.  What is fast has to keep its promises, too: the ledger looks at that.
$(addprefix bench-,$(AREAS)): bench-%: venv bench-peers
	$(BIN)/python -m benchmarks.$*
	$(if $(filter fanout ingest,$*),$(LEDGER))

bench-versions: venv servers  ## this checkout beside another one, e.g. of the last release: make bench-versions OTHER=../other
	$(BIN)/python -m benchmarks.versions $(OTHER)

bench-durable: venv  ## what the promises cost: durable publishes and catching up
	$(BIN)/python -m benchmarks.durable

bench-instances: venv servers  ## durable publishes of one and two instances on PostgreSQL, beside SQLite: two minutes
	$(BIN)/python -m benchmarks.instances

bench-choices: venv servers  ## what docs/decisions 009 and 010 rest on: drivers, hints and channels
	$(BIN)/python -m benchmarks.drivers
	$(BIN)/python -m benchmarks.hints
	$(BIN)/python -m benchmarks.lane

# What can't be had is named in the tables as not installed.
bench-peers: servers $(NODE_PEERS) $(PYTHON_PEERS)
	@{ command -v mosquitto && PATH=$$PATH:/usr/sbin command -v nats-server; } >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null \
		|| { timeout 120 apt-get update -qq && timeout 120 apt-get install -qq -y mosquitto nats-server; } >/dev/null 2>&1 || true

$(NODE_PEERS): benchmarks/peers/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix benchmarks/peers --silent --no-audit --no-fund || true; fi

$(PYTHON_PEERS): benchmarks/peers/requirements.txt
	@echo "building .venv-peers: a minute or more on a first run"
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< && touch $@ || rm -rf .venv-peers

# The tests talk to real ones; see tests/servers.py.
servers: venv
	@$(BIN)/python -m tests.servers

# Lets a test fail the syncs of the disk; where it can't be had, that test is skipped and says so.
strace:
	@command -v strace >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null \
		|| { timeout 120 apt-get update -qq && timeout 120 apt-get install -qq -y strace; } >/dev/null 2>&1 || true

# Lets a test set the clock of a server; where it can't be had, that test is skipped and says so.
libfaketime:
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null \
		|| { timeout 120 apt-get update -qq && timeout 120 apt-get install -qq -y libfaketime; } >/dev/null 2>&1 || true

# The npm clients that prove our protocols; without node, their tests are skipped and say so.
$(NODE_CLIENTS): tests/live/node/package-lock.json
	@if command -v npm >/dev/null; then $(ONCE) '$(call newer,$@,$^) npm ci --prefix tests/live/node --silent --no-audit --no-fund'; fi

format: venv  ## put the code into its form
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

clean:  ## remove what is built here; the data directory stays
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .coverage* .hypothesis .mypy_cache .ruff_cache tests/live/node/node_modules benchmarks/peers/node_modules .venv-peers
