# Each target does its own set-up in .venv, once, and again when pyproject.toml or requirements.lock changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# make train: what to train. An empty variable leaves the default of `ktnet-lite train`.
DATASET ?= synthetic
VARIANTS ?= ours,language_vision,full
DATA_FROM ?=
SEEDS ?=
ifeq ($(DATASET),synthetic)
EPOCHS ?= 12
endif
OPTIONS ?=

NOTEBOOKS := $(wildcard notebooks/[0-9]*.ipynb)

.DEFAULT_GOAL := help
.PHONY: help train test lint notebooks book pdf links explorer site-address lab lock clean

help: ## show this help
	@echo "make TARGET; the first call sets up $(VENV) (some minutes: it downloads PyTorch)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "For example: make train DATASET=mosi-utterance VARIANTS=ours,language SEEDS=0,1 EPOCHS=10"
	@echo "DATA_FROM=FOLDER takes raw files that you have; PYTHON=python3.12 another Python;"
	@echo "OPTIONS='--batch-size 16' any other option (see .venv/bin/ktnet-lite train --help)."

train: $(READY) ## train and compare: a results table, pictures and executed notebooks in runs/
	$(BIN)/ktnet-lite train --dataset $(DATASET) --variant $(VARIANTS) $(if $(DATA_FROM),--data-from $(DATA_FROM)) \
		$(if $(SEEDS),--seed $(SEEDS)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(OPTIONS)

test: lint ## check the style, run the tests and the notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov=ktnet_lite --nbval-lax --nbval-current-env $(NOTEBOOKS) tests

lint: $(READY) ## check the style alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

notebooks: $(READY) ## execute the course's notebooks that are older than their code
	$(BIN)/python notebooks/execute.py

book: $(READY) ## build the book: _build/html/index.html
	$(BIN)/jupyter-book build . -W -n --keep-going --all

pdf: book ## print the book as one PDF: _build/pdf/ktnet-lite.pdf (needs Chromium or Chrome)
	$(BIN)/python book/make_pdf.py

links: $(READY) ## ask whether the book's links to other sites still lead somewhere (needs the network)
	$(BIN)/jupyter-book build . --builder linkcheck --path-output _build/links

explorer: $(READY) ## train and export the models of the book's explorer anew (some minutes)
	$(BIN)/python book/explorer/make.py

site-address: $(READY) ## write the repository's address, URL=https://github.com/OWNER/NAME, everywhere
	$(BIN)/python book/site_address.py $(URL)

lab: $(READY) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

lock: ## write requirements.lock anew, with the newest versions that work together
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 --no-python-downloads \
		--no-annotate --no-header --quiet > $(VENV)/lock
	@# torch itself names the CUDA packages that its build for this machine needs
	{ echo "# Exact versions of everything, for Python 3.10 and up. Made by: make lock"; \
		grep -vE '^(cuda-|nvidia-|triton=)' $(VENV)/lock; } > requirements.lock

clean: ## remove .venv, the built book and caches; runs/ stays
	rm -rf $(VENV) _build .pytest_cache .ruff_cache .coverage

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "ktnet-lite needs Python 3.10 or newer, \
	and '$(PYTHON)' is not that. Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: sudo apt install python3-venv"; \
	exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock -e .
	@touch $@
