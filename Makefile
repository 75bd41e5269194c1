# Everything runs from the checkout; the first target that needs it makes .venv. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.tamis-installed

.PHONY: help demo test test-long lint bench bench-data bench-model bench-peers clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The environment is made when missing and remade when pyproject.toml changes. Debian's python3 may lack
# ensurepip; then the machine's own pip fills the environment from outside.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) 2>/dev/null || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
	  && $(BIN)/python -m pip install -q uv \
	  || $(PYTHON) -m pip --python $(BIN)/python install -q uv
	@$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode $${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"} -e ".[dev]"
	@touch $@

demo: $(STAMP)  ## the main job on real text that ships with the repository
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash configs/demo/run.sh

test: $(STAMP)  ## the tests (under ten minutes on two cores)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow"

test-long: $(STAMP)  ## the longer proofs too (kills, clusters, bigger corpora)
	$(BIN)/python -m pytest -m "slow" --timeout 1800

lint: $(STAMP)  ## format and check
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy

bench: $(STAMP)  ## Tamis beside its peers on the same documents; see benchmarks/README.md
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.report

bench-data: $(STAMP)  ## the documents of the benchmark: Debian's manuals, downloaded
	$(BIN)/python -m benchmarks.corpus

bench-model: bench-data  ## the classifier of the benchmark, trained on them (a few minutes, 1.2 GB)
	$(BIN)/python -m benchmarks.model

bench-peers: $(STAMP)  ## environments of the systems that Tamis is compared with
	$(BIN)/python -m benchmarks.peers

clean:  ## remove the environment and what the demo made
	rm -rf $(VENV) demo-workspace
