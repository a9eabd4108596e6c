# The whole loop. `.ci/run` calls these same targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    := out
# Test files at a time: many wait for real processes, and two fill two cores.
JOBS   ?= 2
# Of `make testbed`: headline, late_join, outage, load, long.
EXPERIMENT ?= headline
# One seed says little and has no interval, but shows every table and figure in some minutes.
SEEDS  ?= $(if $(QUICK),1)

# Pure modules are covered to the last branch; what touches sockets, files, threads or torch is left out here.
PURE   := bandits/*,bus/*,device/*,edge/*,aggregator/*
SHELLS := bus/mqtt*.py,bus/allocator.py,bus/drain.py,*/runtime.py,device/executor.py,device/compute.py,device/frames.py,edge/tails.py

.PHONY: help env demo test check bench docs results testbed clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

env: $(VENV)/.stamp ## Create .venv with the console script `cans`

$(VENV)/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("cans needs Python >= 3.11; this is " + sys.version.split()[0] + ". Say `make PYTHON=python3.11`." if sys.version_info < (3, 11) else 0)'
	@echo 'creating $(VENV), with torch and the rest: some minutes the first time'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
	@echo 'ready: . $(BIN)/activate, then cans --help, or docs/tutorial.md'

demo: env ## Four devices of two types learn together where to cut a network
	@mkdir -p $(OUT)
	$(BIN)/cans demo --report $(OUT)/demo.json $(DEMO_ARGS)

test: env ## All tests, with branch coverage
ifdef TEST_ARGS
	$(BIN)/python -m pytest $(TEST_ARGS)
else
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term
	$(BIN)/coverage report --skip-covered --fail-under=100 --include='$(PURE)' --omit='$(SHELLS)'
endif

check: env ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: env ## Benchmarks: out/bench.json and a table
	@mkdir -p $(OUT)
	$(BIN)/python -m lab.bench --out $(OUT)/bench.json $(BENCH_ARGS)

docs: env ## The documentation as pages and manual pages: out/docs, out/man
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -d $(OUT)/doctrees . $(OUT)/docs
	$(BIN)/python -m sphinx -q -W --keep-going -b man -c docs -d $(OUT)/doctrees . $(OUT)/man
	@echo 'open $(OUT)/docs/docs/index.html, or: man -l $(OUT)/man/cans-record.1'

results: env ## Every experiment: figures and pages of docs/results (QUICK=1: one seed, into out/)
	set -e; for each in reference ordering traces drift scaling joining channel warmstart adversary never_loses; do \
	    $(BIN)/cans simulate lab/experiments/$$each.toml --out $(OUT)/results/$$each \
	        $(if $(SEEDS),--seeds $(SEEDS) --page $(OUT)/results/$$each.md,--page docs/results/$$each.md); \
	done
	$(if $(SEEDS),,$(BIN)/python -m lab.theory --seeds 10 --rounds 1000 --rounds 3000 --out docs/results/theory.md)
	$(if $(SEEDS),,$(BIN)/python -m lab.hop lab/experiments/hop.toml --out $(OUT)/results/hop --page docs/results/hop.md)
	$(if $(SEEDS),,$(BIN)/python -m lab.results_index)

testbed: env ## An experiment on real processes and shaped links (EXPERIMENT=headline, some 30 minutes)
	$(BIN)/cans testbed lab/experiments/$(EXPERIMENT).toml --out $(OUT)/testbed/$(EXPERIMENT) $(TESTBED_ARGS)

clean: ## Remove what the targets above have made
	rm -rf $(VENV) $(OUT) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
