# One word each: `make demo`, `make test`, `make check`, `make bench`. The first use installs into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Tests wait as much as they compute: three at a time keep two cores busy. What trains tiny models in them has one
# thread each; more only make it slower.
JOBS   ?= 3
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
# uv installs in a fraction of pip's time. It does not read pip's settings: those of the environment are handed on.
# `make install UV=` uses pip all the same.
UV     ?= $(shell command -v uv)
ifneq ($(UV),)
INSTALL := $(UV) pip install --python $(BIN)/python $(if $(PIP_INDEX_URL),--default-index "$(PIP_INDEX_URL)") \
           $(patsubst %,--index "%",$(PIP_EXTRA_INDEX_URL)) $(patsubst %,--find-links "%",$(PIP_FIND_LINKS))
else
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
endif

.DEFAULT_GOAL := help
.PHONY: help install demo quick test prove slow check format docs lock bench seeds screenshots live wheel clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(READY)  ## install azdistill and all it needs into .venv

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "azdistill needs Python 3.11 or newer; name one with PYTHON=...")'
	@echo "installing into $(VENV) (several minutes; under one with uv)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --quiet --constraint requirements.lock --editable '.[train,serving,docker,dev]'
	@touch $@

demo: $(READY)  ## distil the sandbox's teacher into its student (about 3 minutes on 2 cores)
	@$(BIN)/python examples/sandbox/run_demo.py

quick: $(READY)  ## run the units: no torch, no server (under a minute)
	$(PYTEST) -m quick $(PYTEST_ARGS)

test: $(READY)  ## run all but the long proofs (under 6 minutes on 2 cores)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

prove: $(READY)  ## run the long proofs and write down what came of each: make prove [PROOFS="kills jobs"]
	JOBS=$(JOBS) PYTEST_ARGS="$(PYTEST_ARGS)" $(BIN)/python tests/proofs/prove.py $(PROOFS)

slow: $(READY)  ## run the tests among the long proofs, and write nothing down
	$(PYTEST) -m slow $(PYTEST_ARGS)

check: $(READY)  ## format, lint, types, documentation drift
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python docs/make_cli.py --check
	$(BIN)/python docs/make_errors.py --check
	$(BIN)/python docs/make_architecture.py --check
	$(BIN)/python docs/make_conformance.py --check
	@$(BIN)/python tests/proofs/prove.py --ages

format: $(READY)  ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## write the pages that are generated from the program
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_errors.py
	$(BIN)/python docs/make_architecture.py
	$(BIN)/python docs/make_conformance.py

lock: $(READY)  ## write requirements.lock from what is installed in .venv
	@{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

bench: $(READY)  ## measure, peers beside us in the same run
	@for script in benchmarks/*.py benchmarks/runner/bench.py benchmarks/runner/validate.py; do echo "== $$script"; $(BIN)/python $$script; done

seeds: $(READY)  ## repeat the sandbox's distillation over three fixed seeds, with controls
	@$(BIN)/python examples/sandbox/seeds.py

screenshots: $(READY)  ## draw the report and the MLflow pages with headless Chromium into docs/images
	@$(BIN)/python docs/make_screenshots.py

live: $(READY)  ## check a real workspace, CPU only, under 2 USD: make live WORKSPACE=... [RESOURCE_GROUP=... SUBSCRIPTION=...]
	@test -n "$(WORKSPACE)" || { echo "make live WORKSPACE=name [RESOURCE_GROUP=name] [SUBSCRIPTION=id]"; exit 2; }
	@$(BIN)/python examples/live/live_check.py --workspace "$(WORKSPACE)" \
		$(if $(RESOURCE_GROUP),--resource-group "$(RESOURCE_GROUP)") $(if $(SUBSCRIPTION),--subscription "$(SUBSCRIPTION)")

wheel: $(READY)  ## build the wheel
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove what building and testing leave behind (runs and answers stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
