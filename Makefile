# make up      the whole console on this machine, until Ctrl-C
# make test    everything that can be tested on this machine
# make lint    ruff, mypy and the import contracts alone
# make reset   forget database, chain and models
# make lock    resolve requirements/*.in and package.json anew (UPGRADE=1: newest versions)
# make clean   remove what tools left in the tree
# Settings are environment variables: docs/operations.md. PYTHON=... chooses the Python of .venv.

.PHONY: up test lint reset lock clean base dev node
.DEFAULT_GOAL := up

PY := .venv/bin/python
# The first one that really runs and is new enough; 3.11 first, its wheels bring Redis.
CANDIDATES := python3.11 python3.12 python3.13 python3 python .venv/bin/python
NEW_ENOUGH := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c "$(NEW_ENOUGH)" >/dev/null 2>&1 && { echo $$p; break; }; done)
NO_PYTHON := make: Python 3.11, 3.12 or 3.13 is needed and none of $(CANDIDATES) is one; \
	install one, or name it: make up PYTHON=/path/to/python3.11

up: base
	@$(PY) -m bcfl_site.up

# All three, whatever the first ones say; the exit code is honest.
# Two halves side by side, one for each core: what computes (compiler, provers, training) and what
# waits (chain, browser, whole stacks). ARGS="tests/chain -x" runs just that.
test: dev
	@if [ -n "$(ARGS)" ]; then exec $(PY) -m pytest $(ARGS); fi; \
	status=0; other=$$(mktemp); \
	{ failed=0; \
	  $(PY) -m ruff check . || failed=1; \
	  $(PY) -m mypy || failed=1; \
	  $(PY) -m pytest $(COMPUTING) || failed=1; \
	  exit $$failed; } >"$$other" 2>&1 & \
	$(PY) -m pytest $(COMPUTING:%=--ignore=%) || status=1; \
	wait $$! || status=1; \
	cat "$$other"; rm -f "$$other"; exit $$status

COMPUTING := tests/agent tests/contracts tests/stack tests/training

lint: dev
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

reset: base
	@$(PY) -m bcfl_site.reset

base dev:
	@test -n "$(PYTHON)" || { echo '$(NO_PYTHON)'; exit 1; }
	@$(PYTHON) bcfl_site/bootstrap.py $@

node: base

UV := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate
lock: base
	@test -x .venv/bin/uv || $(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(UV) $(if $(UPGRADE),--upgrade) requirements/base.in -o requirements/base.txt
	@$(UV) $(if $(UPGRADE),--upgrade) -c requirements/base.txt requirements/dev.in \
		-o requirements/dev.txt
	@PATH="$(CURDIR)/.venv/bin:$$PATH" npm install --package-lock-only --ignore-scripts \
		--loglevel=error
	@git --no-pager diff --stat -- requirements package-lock.json

clean:
	@find . \( -path ./.venv -o -path ./node_modules -o -path ./.git \) -prune -o \
		-name __pycache__ -type d -print0 | xargs -0 rm -rf
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
		contracts/out contracts/cache
