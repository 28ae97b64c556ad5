# `make demo` and `make test` need only Python >= 3.11 with pip and venv; both set up .venv themselves.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lab ui check bench bench-search bench-find bench-provenance bench-ui bench-train soak dist clean

PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt
SETUP := pyproject.toml constraints.txt scripts/make_venv
UI := PATH="$(CURDIR)/.venv/bin:$$PATH" jlpm
UI_SOURCES := package.json yarn.lock scripts/build_ui $(shell find labextension -type f -not -path 'labextension/lib/*')

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## run notebooks/quickstart.ipynb headless; results in demo_output/
	@$(PY) scripts/demo.py

test: .venv/.dev .venv/.ui ## all tests, ring by ring: TypeScript, pure and process, Spark, notebooks, browser
	@$(UI) test
	@$(PY) -m pytest

check: .venv/.dev .venv/.ui ## format, lint, types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(UI) lint

ui: .venv/.dev ## build widget and JupyterLab extension anew
	@rm -f .venv/.ui
	@$(MAKE) --no-print-directory .venv/.ui

lab: .venv/.lab .venv/.ui ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab --ServerApp.root_dir=notebooks $(ARGS)

bench: .venv/.dev ## speed, side by side with other ways; needs a quiet machine
	@$(PY) benchmarks/bench_speed.py $(ARGS)

bench-search: .venv/.dev ## whether samplers and pruners help
	@$(PY) benchmarks/bench_search.py $(ARGS)

bench-train: .venv/.dev ## training on several workers beside torchrun; needs a quiet machine
	@$(PY) benchmarks/bench_train.py $(ARGS)

bench-find: .venv/.dev ## lists and searches of 10,000 runs
	@$(PY) benchmarks/bench_find.py $(ARGS)

bench-provenance: .venv/.dev ## what noting opened files costs a trial
	@$(PY) benchmarks/bench_provenance.py $(ARGS)

bench-ui: .venv/.dev .venv/.ui ## the live view under load, in JupyterLab with Chromium; needs a quiet machine
	@$(PY) benchmarks/bench_ui.py $(ARGS)

soak: .venv/.dev ## long random runs
	@$(PY) -m pytest -m soak --timeout 7200

dist: .venv/.dev .venv/.ui ## wheel and sdist, both with the built front end, in dist/
	@rm -rf dist
	@$(PY) -m hatchling build

clean: ## remove what runs and tools left; keeps .venv
	@rm -rf demo_output lagom_runs notebooks/lagom_runs tensorboard notebooks/tensorboard spark-warehouse build dist
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find lagom_magic tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.demo: $(SETUP)
	@scripts/make_venv
	@echo "Installing lagom_magic, Spark and PyTorch into .venv (some minutes the first time)"
	@$(PIP) --editable '.[demo]'
	@touch $@

.venv/.dev: $(SETUP)
	@scripts/make_venv
	@echo "Installing lagom_magic and what its tests need into .venv (some minutes the first time)"
	@$(PIP) --editable '.[dev]'
	@touch $@ .venv/.demo

.venv/.lab: .venv/.demo
	@$(PIP) jupyterlab jupyter-server-proxy
	@touch $@

.venv/.ui: $(UI_SOURCES) | .venv/.demo
	@echo "Building widget and JupyterLab extension"
	@$(PIP) jupyterlab jupyter-builder
	@scripts/build_ui
	@touch $@
