# Everything the workshop does, one command each; `make help` lists them.
# Variables: PYTHON, NOTEBOOKS="01 05", DATA_SIZE=tiny|default|full, PARAMETERS="SEED=7", BENCH="id id", PYTEST_ARGS, LAB_ARGS.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.requirements-installed
export PYTHON
# Idle OpenMP threads go to sleep soon instead of spinning: on a busy machine spinning costs most of the time.
export GOMP_SPINCOUNT := 1000

.PHONY: help setup check up down status run lab test lint format bench clean distclean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv, install requirements.txt, download the data files
	@$(PY) scripts/fetch_data.py

# The .pth file puts this checkout on the environment's import path, for every notebook kernel and editor alike.
$(STAMP): requirements.txt scripts/find_python.sh
	@python=$$(sh scripts/find_python.sh) || exit 1; \
	if ! $(PY) -c 'import sys, pip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
		echo "Making $(VENV) with $$($$python --version)"; \
		$$python -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing requirements.txt, the first time this takes a few minutes"
	@$(PY) -m pip install --disable-pip-version-check --no-input -r requirements.txt
	@$(PY) -c 'import pathlib, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "workshop.pth").write_text(f"{pathlib.Path.cwd()}\n")'
	@touch $@

check: $(STAMP) ## Say what this machine has and lacks, with remedies
	@$(PY) scripts/check_environment.py

up: setup ## Start the local stack: Triton and the ArangoDB stand-in
	@$(PY) scripts/stack.py up

down: $(STAMP) ## Stop the local stack
	@$(PY) scripts/stack.py down

status: $(STAMP) ## Show what runs where
	@$(PY) scripts/stack.py status

run: setup ## Run the notebooks headless: NOTEBOOKS="01 05" DATA_SIZE=tiny
	@$(PY) scripts/run_notebooks.py $(NOTEBOOKS) $(if $(DATA_SIZE),--data-size $(DATA_SIZE)) \
		$(foreach parameter,$(PARAMETERS),--parameter '$(parameter)')

lab: setup ## JupyterLab on the notebooks, stack running
	@$(PY) scripts/lab.py $(LAB_ARGS)

test: setup lint ## Lint, then unit, integration and notebook tests
	@$(PY) -m pytest $(PYTEST_ARGS) </dev/null

lint: $(STAMP) ## Check style of code and notebooks
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) scripts/update_docs.py --check
	@$(VENV)/bin/lint-imports --no-cache >/dev/null || $(VENV)/bin/lint-imports --no-cache

format: $(STAMP) ## Mend style, strip notebook outputs, refresh generated parts of README.md
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@$(PY) scripts/strip_notebooks.py
	@$(PY) scripts/update_docs.py

bench: setup ## Measure: all, or BENCH="id id"
	@$(PY) benchmarks/run.py $(BENCH)

clean: ## Remove caches, runs and generated weights; data and .venv stay
	@if [ -x $(PY) ]; then $(PY) scripts/stack.py down; fi
	@rm -rf runs .stack .pytest_cache .ruff_cache .hypothesis
	@cd model_repository && rm -f $(addprefix */[0-9]*/,model.pt model.onnx model.json tokenizer.json tokenization.py)
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## As clean, and remove the data files and .venv too
	@rm -rf .data $(VENV)
