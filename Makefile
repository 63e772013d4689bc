# Two commands for a stranger: `make demo` and `make test`. Each sets up everything it needs by itself.

# The first interpreter that plyvel has wheels for.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
# Another supported interpreter, if the machine has one: a chain must come out the same on both.
OTHER_PYTHON ?= $(shell for p in python3.11 python3.12; do \
	test "$$($$p -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)" = "$$($(PYTHON) -c 'import sys; print(sys.version_info[:2])')" \
	|| { $$p -c '' 2>/dev/null && echo $$p && break; }; done)
VENV := .venv
OTHER_VENV := .venv-other
FUZZ_VENV := .venv-fuzz
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PROTOS := $(wildcard protos/*.proto)
SOAK_MINUTES ?= 15
SIM_SEEDS ?= 10000
FUZZ_SECONDS ?= 60
SIM_DRAWN ?= 20000
RANDOM_TIMES ?= 20

.PHONY: compiled types style soak help demo company experiment simbench test check unit sim random mutants fuzz proto proto-check lock bench security clean

help:
	@echo "make demo    a day of trade between 17 real homes on four nodes (about 4 minutes)"
	@echo "make company a month of 12 shops with budgets for 384 devices on four nodes (about 8 minutes)"
	@echo "make experiment  a year of brokers for 17 homes and 5 shops, with a report to look at (about half an hour)"
	@echo "make test    check, then every test (the same as CI)"
	@echo "make check   formatting, lint, types, import contract, generated code, known weaknesses"
	@echo "make sim     the simulator at length: SIM_SEEDS=$(SIM_SEEDS) (about an hour), and every small history"
	@echo "make random  auctions, books, whole days of the market and lives of budgets, RANDOM_TIMES=$(RANDOM_TIMES) as many as in make test"
	@echo "make fuzz    every decoder under a coverage-guided fuzzer, FUZZ_SECONDS=$(FUZZ_SECONDS) each"
	@echo "make mutants break the code on purpose, one way after another; something must notice each"
	@echo "make bench   throughput, latency, auction, budgets, plans, ledger, recovery, members, a community (about 40 minutes); results in bench/results"
	@echo "make security  the attackers' tests, and what others wait while one member floods: at most twice as long (about 10 minutes, on an idle machine)"
	@echo "make soak    SOAK_MINUTES=$(SOAK_MINUTES) of a member that floods the others: memory and latency"
	@echo "make simbench  install the data of a real low-voltage grid (400 MB), for \`watt testnet up --grid simbench\`"
	@echo "make proto   regenerate protos/*_pb2*"
	@echo "make lock    pin the dependencies anew"

# One environment; rebuilt when a lock file or the packaging changes.
$(VENV)/.ready: requirements/dev.txt setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "wattledger needs Python 3.11 or 3.12 (plyvel has no wheels for others)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The demo's homes and the company's shops are data files inside wheels: no dependencies of these are needed.
$(VENV)/.demo: $(VENV)/.ready requirements/demo.txt
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/demo.txt
	@touch $@

# So is a real grid, for tests, `watt testnet up --grid simbench` and `watt bench community`: about 400 MB on the disk.
$(VENV)/.simbench: $(VENV)/.ready requirements/simbench.txt
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/simbench.txt
	@touch $@

simbench: $(VENV)/.simbench

$(FUZZ_VENV)/.ready: requirements/fuzz.txt
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/fuzz.txt
	@touch $@

$(OTHER_VENV)/.ready: requirements/runtime.txt
	$(OTHER_PYTHON) -m venv $(OTHER_VENV)
	$(OTHER_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/runtime.txt
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/watt testnet demo

company: $(VENV)/.demo
	$(BIN)/watt testnet company

experiment: $(VENV)/.demo $(VENV)/.simbench
	$(BIN)/watt testnet experiment
	cp .experiment/figures.json bench/results/experiment.json
	$(BIN)/python -m testnet.experiment_table bench/results/experiment.json docs/experiment.md

test: check unit

# Tests start hundreds of processes: where Python is told to keep no bytecode, each would compile every
# module again, and each node check the contracts.
compiled: $(VENV)/.ready
	$(BIN)/python -m compileall -q protos chaincode node cli broker testnet bench tests
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c \
		"import pathlib; from node.upgrades.library import node_registry; node_registry(pathlib.Path())"

# Whatever runs in one process fills every core; networks of real nodes wait a third of the time, and run two at a time,
# those that take long first (tests/conftest.py): more of them, and the nodes of one keep the others from being in time.
TEST = $(if $(OTHER_PYTHON),WATT_OTHER_PYTHON=$(CURDIR)/$(OTHER_VENV)/bin/python) $(BIN)/pytest

unit: compiled $(VENV)/.demo $(VENV)/.simbench $(if $(OTHER_PYTHON),$(OTHER_VENV)/.ready)
	$(TEST) -n auto --maxprocesses 8 --dist loadfile --ignore tests/functional --ignore tests/security
	$(TEST) -n 2 --dist loadfile --no-loadscope-reorder tests/functional tests/security

# The types take one core as long as all the rest takes another.
check: $(VENV)/.ready proto-check
	@$(MAKE) --no-print-directory -j 2 -O types style

types: $(VENV)/.ready
	$(BIN)/mypy

style: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r -c pyproject.toml protos chaincode node cli
	$(BIN)/bandit -q -r -s B101,B105,B311,B404,B603,B607 broker testnet bench
	$(BIN)/python tests/advisories.py requirements/runtime.txt

sim: $(VENV)/.ready
	$(BIN)/watt sim small-scope --all
	$(BIN)/watt sim small-scope --drawn $(SIM_DRAWN)
	$(BIN)/watt sim run --seeds $(SIM_SEEDS) --faults all

random: $(VENV)/.ready
	WATT_EXAMPLES=$(RANDOM_TIMES) $(BIN)/pytest -p no:cacheprovider --timeout 7200 -n auto \
		$(wildcard tests/chaincode/test_auction_*.py) $(wildcard tests/chaincode/test_market_*.py) \
		$(wildcard tests/chaincode/test_budget_*.py)

mutants: $(VENV)/.ready
	$(BIN)/python -m tests.mutants.run

fuzz: $(FUZZ_VENV)/.ready
	$(FUZZ_VENV)/bin/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --jobs 2

bench: $(VENV)/.ready $(VENV)/.simbench
	mkdir -p bench/results
	$(BIN)/watt bench throughput --nodes 4 --seconds 20 --json > bench/results/throughput.json
	$(BIN)/watt bench latency --nodes 4 --seconds 20 --json > bench/results/latency.json
	$(BIN)/watt bench auction --json > bench/results/auction.json
	$(BIN)/watt bench budgets --json > bench/results/budgets.json
	$(BIN)/watt bench ledger --json > bench/results/ledger.json
	$(BIN)/watt bench recovery --json > bench/results/recovery.json
	$(BIN)/watt bench retention --json > bench/results/retention.json
	$(BIN)/watt bench scale --json > bench/results/scale.json
	$(BIN)/watt bench plan --json > bench/results/plan.json
	$(BIN)/watt bench proofs --json > bench/results/proofs.json
	$(BIN)/watt bench tls --json > bench/results/tls.json
	$(BIN)/watt bench statement --json > bench/results/statement.json
	$(BIN)/watt bench verify --json > bench/results/verify.json
	$(BIN)/watt bench community --json > bench/results/community.json
	$(BIN)/watt bench flood --json > bench/results/flood.json

# The latency of others under a flood is a question to an idle machine: it fails if it more than doubles.
security: compiled
	mkdir -p bench/results
	$(TEST) -n 2 --dist loadfile tests/security
	$(BIN)/watt bench flood --json > bench/results/flood.json

soak: $(VENV)/.ready
	mkdir -p bench/results
	$(BIN)/watt bench soak --minutes $(SOAK_MINUTES) --json > bench/results/soak.json

PROTOC = $(BIN)/python -m grpc_tools.protoc -I.
# $(1): the directory that receives the generated code
generate = PATH=$(CURDIR)/$(BIN):$$PATH $(PROTOC) --python_out=$(1) --mypy_out=$(1) --grpc_python_out=$(1) --mypy_grpc_out=$(1) $(PROTOS)

proto: $(VENV)/.ready
	$(call generate,.)

# The committed code is what the committed .proto files give.
proto-check: $(VENV)/.ready
	@scratch=$$(mktemp -d) && $(call generate,$$scratch) && \
	for file in $$scratch/protos/*; do cmp $$file protos/$$(basename $$file) || { rm -r $$scratch; exit 1; }; done; rm -r $$scratch

LOCK = $(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --allow-unsafe --strip-extras --no-header
lock: $(VENV)/.ready
	$(PIP) install --quiet pip-tools
	$(LOCK) -o requirements/runtime.txt requirements/runtime.in
	$(LOCK) -o requirements/dev.txt requirements/dev.in
	$(LOCK) -o requirements/fuzz.txt requirements/fuzz.in

clean:
	rm -rf $(VENV) $(OTHER_VENV) $(FUZZ_VENV) .demo .company .experiment .testnet *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
