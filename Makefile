# Everything the workshop does, one command each; `make help` lists them.
# Variables: PYTHON, NOTEBOOKS="01 05" or core, DATA_SIZE=tiny|default|full, PARAMETERS="SEED=7", BENCH="id id",
# PYTEST_ARGS, LAB_ARGS, LOCK_ARGS.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.requirements-installed
export PYTHON
# deptry reports to stderr, also that it found nothing
comma := ,
declared = report=$$($(CURDIR)/$(PY) -m deptry $(1) 2>&1) || { echo "$$report"; exit 1; }
# PYTEST_ARGS may choose tests of one part alone; pytest ends with 5 where it chooses none
or_none = $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])
# Idle OpenMP threads go to sleep soon instead of spinning: on a busy machine spinning costs most of the time.
export GOMP_SPINCOUNT := 1000

.PHONY: help setup lock check up down status top password run lab api demo test test-aqlite faults lint format likes bench docs slides clean distclean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv, install requirements.txt, download the data files
	@$(PY) scripts/fetch_data.py

$(STAMP): requirements.txt requirements-no-deps.txt constraints.txt pyproject.toml packages/aqlite/pyproject.toml scripts/find_python.sh
	@python=$$(sh scripts/find_python.sh) || exit 1; \
	if ! $(PY) -c 'import sys, pip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
		echo "Making $(VENV) with $$($$python --version)"; \
		$$python -m venv --clear $(VENV) || exit 1; \
	fi
	@$(PY) scripts/install.py

lock: ## Write constraints.txt after a change of requirements.txt; the newest of all: LOCK_ARGS=--upgrade
	@UV_PYTHON_DOWNLOADS=never $(PY) -m uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url \
		--no-emit-package graph-triton-workshop --no-emit-package aqlite --no-annotate \
		--custom-compile-command "make lock" --output-file constraints.txt $(LOCK_ARGS) requirements.txt

check: ## Say what this machine has and lacks, with remedies; needs no set-up
	@python=$(PY); [ -x $$python ] || python=$$(sh scripts/find_python.sh 2>/dev/null) || python=$${PYTHON:-python3}; \
		$$python scripts/check_environment.py

up: setup ## Start the local stack: Triton and the ArangoDB stand-in
	@$(PY) scripts/stack.py up

down: $(STAMP) ## Stop the local stack
	@$(PY) scripts/stack.py down

status: $(STAMP) ## Show what runs where: servers, models, requests, latencies, queue
	@$(PY) scripts/stack.py status

top: $(STAMP) ## The same live in the terminal, as rates; q quits
	@$(PY) scripts/top.py

password: $(STAMP) ## Give ArangoDB's root user the password of .env, after it was changed there
	@$(PY) scripts/stack.py password

run: setup ## Run the notebooks headless: NOTEBOOKS="01 05" DATA_SIZE=tiny
	@$(PY) scripts/run_notebooks.py $(NOTEBOOKS) $(if $(DATA_SIZE),--data-size $(DATA_SIZE)) \
		$(foreach parameter,$(PARAMETERS),--parameter '$(parameter)')

api: setup ## Recommendations and an OpenAI-compatible API of the running stack, on WORKSHOP_API_PORT
	@$(PY) scripts/api.py

demo: setup ## The demo of the running stack in the browser, on WORKSHOP_DEMO_PORT
	@$(PY) scripts/demo.py

lab: setup ## JupyterLab on the notebooks, stack running
	@$(PY) scripts/lab.py $(LAB_ARGS)

test: setup lint ## Lint, then unit and integration tests on two cores, then the notebooks
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --ignore tests/notebooks $(PYTEST_ARGS) </dev/null $(or_none)
	@$(PY) -m pytest tests/notebooks $(PYTEST_ARGS) </dev/null $(or_none)

test-aqlite: $(STAMP) ## The tests of packages/aqlite alone
	@cd packages/aqlite && $(CURDIR)/$(PY) -m pytest $(PYTEST_ARGS) </dev/null

faults: setup ## Every fault case, with a table: servers killed, disks full, runs cut off; `make test` has the shorter ones
	@$(PY) -m pytest tests/faults -m fault $(PYTEST_ARGS) </dev/null

lint: $(STAMP) ## Check style of code and notebooks, and that what is imported is declared
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) scripts/update_docs.py --check
	@$(VENV)/bin/lint-imports --no-cache >/dev/null || $(VENV)/bin/lint-imports --no-cache
	@$(call declared,workshop scripts notebooks model_repository)
	@$(call declared,tests/*/ benchmarks --ignore DEP002$(comma)DEP004)
	@cd packages/aqlite && $(call declared,src)
	@cd packages/aqlite && $(call declared,tests benchmarks --ignore DEP002$(comma)DEP004)

format: $(STAMP) ## Mend style, strip notebook outputs, refresh generated parts of README.md
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@$(PY) scripts/strip_notebooks.py
	@$(PY) scripts/update_docs.py

likes: setup ## Judge the movie recommender of the running stack by ratings: RATINGS=table.csv; none: a synthetic table
	@$(PY) scripts/judge_likes.py $(if $(RATINGS),'$(RATINGS)')

bench: setup ## Measure: all but what takes ten minutes (fuzz_cases, soak), or BENCH="id id"
	@$(PY) benchmarks/run.py $(BENCH)

docs: setup ## The site of the newest whole run, in site/html; checked page by page where Chromium is installed
	@$(PY) scripts/build_docs.py
	@$(PY) scripts/check_docs.py --if-installed

slides: setup ## Slides of the newest whole run, in site/slides; gone through where Chromium is installed
	@$(PY) scripts/build_slides.py
	@$(PY) scripts/check_slides.py --if-installed

clean: ## Remove caches, runs and generated weights; data and .venv stay
	@if [ -x $(PY) ]; then $(PY) scripts/stack.py down; fi
	@rm -rf runs site .stack .pytest_cache .ruff_cache .hypothesis
	@cd model_repository && rm -f $(addprefix */[0-9]*/,model.pt model.pt2 model.onnx model.plan model.xml model.bin model.json tokenizer.json tokenization.py wordpiece.py preprocessing.py config.json model.safetensors preprocessor_config.json) */labels.txt && rm -rf own_*
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## As clean, and remove the data files and .venv too
	@rm -rf .data $(VENV)
