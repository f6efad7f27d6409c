# Each target sets up .venv by itself: once, and again when pyproject.toml or requirements.lock changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is installed: all of it, or what `make train` needs.
ALL := $(VENV)/.all
TRAIN := $(firstword $(wildcard $(ALL)) $(VENV)/.train)

# Which PyTorch to install on Linux: cpu, cuda, or auto (cpu without an NVIDIA card).
TORCH ?= auto
TORCH_CPU := https://download.pytorch.org/whl/cpu

# make train: what to train. An empty variable leaves the default of `ktnet-lite train`.
DATASET ?= synthetic
VARIANTS ?= ours,language_vision,full
DATA_FROM ?=
SEEDS ?=
EPOCHS ?=
# Few clips with labels, many without: where the transfer pays. Beside ours, its control with the voices of other clips.
ifeq ($(DATASET),synthetic)
OPTIONS ?= --aligned --clips 2200 --labelled 200 --unlabelled 2000 --pretrain 12 --voice own,other
endif
OPTIONS ?=

# make fuzz: how many mutants.
COUNT ?= 20000

NOTEBOOKS := $(wildcard notebooks/[0-9]*.ipynb)

.DEFAULT_GOAL := help
.PHONY: help train check lint types test fuzz kill notebooks questions book pdf slides links explorer site-address lab lock clean

help: ## show this help
	@echo "make TARGET; the first call sets up $(VENV) (a few minutes: it downloads PyTorch)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "For example: make train DATASET=mosi-utterance VARIANTS=ours,language SEEDS=0,1 EPOCHS=10"
	@echo "DATA_FROM=FOLDER uses raw files that you have; OPTIONS='--batch-size 16' passes any other option on"
	@echo "(see .venv/bin/ktnet-lite train --help). PYTHON=python3.12 sets up with that Python; TORCH=cuda or"
	@echo "TORCH=cpu installs that build of PyTorch on Linux (after make clean)."

train: $(TRAIN) ## train and compare: a results table, pictures and executed notebooks in runs/
	$(BIN)/ktnet-lite train --dataset $(DATASET) --variant $(VARIANTS) $(if $(DATA_FROM),--data-from $(DATA_FROM)) \
		$(if $(SEEDS),--seed $(SEEDS)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(OPTIONS)

check: lint ## the quick tests, after lint: no other process, no notebook, no browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not (process or kernel or browser or slow)" tests

lint: $(ALL) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

test: lint ## all tests and the notebooks, after lint; fails below the coverage floor
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov=ktnet_lite --cov-fail-under=94 --nbval-lax --nbval-current-env $(NOTEBOOKS) tests

kill: $(ALL) ## kill 200 commands and 2,000 writes, and start two at once in every shared folder (some 20 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python tests/kill_harness.py $(OPTIONS)

notebooks: $(ALL) ## execute the notebooks of the course that are older than their code
	$(BIN)/python notebooks/execute.py

fuzz: $(ALL) ## give COUNT mutants of files of every format to the package; no one may crash it
	OMP_NUM_THREADS=1 KTNET_FUZZ=$(COUNT) $(BIN)/python -m pytest -n 2 -rP tests/test_fuzz*.py

book: $(ALL) ## build the book: _build/html/index.html
	$(BIN)/jupyter-book build . -W -n --keep-going --all

pdf: book ## print the book as one PDF: _build/pdf/ktnet-lite.pdf (needs Chromium or Chrome)
	$(BIN)/python book/make_pdf.py

slides: $(ALL) ## make slides from the executed chapters: _build/slides/index.html
	$(BIN)/python book/make_slides.py

links: $(ALL) ## check the book's links to other sites (needs the network)
	$(BIN)/jupyter-book build . --builder linkcheck --path-output _build/links

questions: $(ALL) ## write the questions of book/questions.yml into the notebooks
	$(BIN)/python book/questions.py

explorer: $(ALL) ## train and export the models of the book's explorer again (some minutes)
	$(BIN)/python book/explorer/make.py

site-address: $(ALL) ## write the repository's address, URL=https://github.com/OWNER/NAME, everywhere
	$(BIN)/python book/site_address.py $(URL)

lab: $(ALL) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

lock: ## write requirements.lock again, with the newest versions that work together
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 --no-python-downloads \
		--no-annotate --no-header --quiet > $(VENV)/lock
	@# Without CUDA packages: each build of torch requires its own.
	{ echo "# Exact versions of everything, for Python 3.10 and up. Made by: make lock"; \
		grep -vE '^(cuda-|nvidia-|triton=)' $(VENV)/lock; } > requirements.lock

clean: ## remove .venv, the built book and caches; keep runs/
	rm -rf $(VENV) _build .pytest_cache .ruff_cache .coverage

# A set-up with everything also has what training needs.
$(ALL): EXTRA := all
$(VENV)/.train: EXTRA := experiments
$(ALL) $(VENV)/.train: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "ktnet-lite needs Python 3.10 or newer, \
	and '$(PYTHON)' is older or missing. Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: sudo apt install python3-venv"; \
	exit 1; }
	@index=$$($(CHOOSE_TORCH)); set -x; \
	$(BIN)/python -m pip install --disable-pip-version-check $$index -c requirements.lock -e ".[$(EXTRA)]"
	@touch $@

# Print pip's option for PyTorch's CPU build where that build is wanted, and on stderr which build it will be. A user's own
# package index comes first. The alarm also ends a name look-up that hangs.
define CHOOSE_TORCH
say() { echo "$$*" >&2; }; \
reachable() { $(BIN)/python -c 'import signal, urllib.request; signal.alarm(5); \
	urllib.request.urlopen("$(TORCH_CPU)/torch/", timeout=5)'; }; \
nvidia() { [ -e /proc/driver/nvidia ] || [ -e /dev/dxg ] || command -v nvidia-smi; } > /dev/null; \
if [ "$$(uname)" != Linux ]; then :; \
elif [ -n "$$PIP_INDEX_URL$$PIP_EXTRA_INDEX_URL" ]; then say "PyTorch: the build that your PIP_INDEX_URL or PIP_EXTRA_INDEX_URL has."; \
elif [ $(TORCH) = cuda ]; then say "PyTorch: the build with CUDA."; \
elif [ $(TORCH) = auto ] && nvidia; then say "PyTorch: the build with CUDA, for your NVIDIA card. For the CPU build: make clean $(MAKECMDGOALS) TORCH=cpu"; \
elif { reachable; } 2> /dev/null; then say "PyTorch: the CPU build. For the build with CUDA: make clean $(MAKECMDGOALS) TORCH=cuda"; echo "--extra-index-url $(TORCH_CPU)"; \
else say "PyTorch: the build of your package index, since $(TORCH_CPU) does not answer. PyPI has the one with CUDA (gigabytes)."; fi
endef
