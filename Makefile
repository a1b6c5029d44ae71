# Sets up all it needs by itself. The README has the plain commands for those without make.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run run-production-like image-test sbom lint fix test test-all test-browser test-tools soak mutants audit bench drill pictures platforms client test-clients docs reference requirements requirements-tools setup clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.base  ## Set up and serve the application on http://127.0.0.1:8000 (PORT=...)
	@exec $(BIN)/python manage.py serve

run-production-like: .venv/.dev  ## Serve with DynamoDB, S3, Redis and PostgreSQL, all from wheels
	@exec env DJANGO_SETTINGS_MODULE=config.settings $(BIN)/python -m tests.production_like

image-test: .venv/.dev  ## Build the container image and test it (Docker or Podman); T=path, BASE=...
	@$(BIN)/python -m tests.image $(T)

sbom: .venv/.uv  ## Write the bill of materials of the image to var/sbom.json (needs the network)
	@mkdir -p var
	@cat requirements/base.txt requirements/production.txt requirements/tracing.txt \
	  | $(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements - \
	    --pyproject pyproject.toml --output-reproducible --output-file var/sbom.json

lint: .venv/.dev  ## Pass every check, without the tests
	@$(BIN)/python -m tests lint

fix: .venv/.dev  ## Correct what ruff can correct, and format
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

test: .venv/.dev  ## Set up and pass every check and test; T=path runs one file or test alone
	@$(BIN)/python -m tests $(if $(T),one $(T))

test-all: .venv/.dev  ## The same with the strongest tests turned up, and coverage; takes long
	@$(BIN)/python -m tests all

test-browser: .venv/.dev  ## Every page in Chromium, on each backend (needs Chromium; CHROMIUM=...)
	@$(BIN)/python -m tests browser $(T)

test-tools: .venv/.dev  ## Real tools fill the application (needs the network); RUNS="...", RECORD=1
	@$(BIN)/python -m tests.tools $(if $(RECORD),--record) $(RUNS)
	@$(if $(RECORD)$(RUNS),,$(BIN)/python -m tests.tools --pages)

soak: .venv/.dev  ## Load, faults and commands on each backend for MINUTES=20; STEADY=1: is it flat?
	@for backend in $(or $(BACKENDS),sqlite cloud); do \
	  $(BIN)/python -m tests.system.soak --minutes $(or $(MINUTES),20) --backend $$backend \
	    $(if $(STEADY),--steady) || failed=1; done; exit $${failed:-0}

mutants: .venv/.dev  ## Remove protections one at a time: the tests must notice; NAMES="M1 M8"
	@$(BIN)/python -m tests.mutants $(NAMES)

audit: .venv/.uv  ## Ask PyPI for known vulnerabilities of what is pinned (needs the network)
	@$(BIN)/python -m tests.audit

bench: .venv/.dev  ## Measure everything beside others (20 minutes); DATA=texts.jsonl.gz QUICK=1
	@$(BIN)/python benchmarks --json $(or $(JSON),benchmarks.json) $(if $(DATA),--data $(DATA)) $(if $(QUICK),--quick)

drill: .venv/.dev  ## Restore a store of 1 GB beside a plain copy, and check it (20 minutes, 8 GB of disk)
	@$(BIN)/python benchmarks/restore_drill.py

pictures: .venv/.dev  ## Take the README's pictures of the running server (needs Chromium)
	@$(BIN)/python docs/pictures/make.py

platforms: .venv/.uv  ## Ask the package index for wheels on every platform (needs the network)
	@$(BIN)/python -m tests.platforms

client: .venv/.base  ## Write the types of clients/typescript again, and compile them (needs Node)
	cd clients/typescript && npm ci --no-audit --no-fund --ignore-scripts
	@$(BIN)/python clients/typescript/generate.py
	cd clients/typescript && npm run --silent check

test-clients: .venv/.base  ## Test clients/python with the real openai, LangChain and Agents SDK
	@clients/python/tests_tools/run $(T)

docs: .venv-docs/.installed  ## Make the site of docs/ in var/site; each link is checked
	.venv-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env -c docs . var/site
	@echo "Open var/site/docs/index.html"

reference: .venv/.base  ## Write docs/reference again, from the code
	@$(BIN)/python docs/reference/generate.py

requirements: .venv/.uv  ## Compile requirements/*.in to hash-pinned *.txt
	cd requirements && for name in uv base production tracing dev docs servers redis; do \
	  ../$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	    --no-emit-index-url --custom-compile-command "make requirements" $$name.in -o $$name.txt; done

requirements-tools: .venv/.uv  ## Pin the releases of the tools that test-tools runs
	cd tests/tools/requirements && for name in *.in; do \
	  ../../../$(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url \
	    --custom-compile-command "make requirements-tools" $$name -o $${name%.in}.txt; done

setup: .venv/.base  ## Make .venv with what the application needs

clean:  ## Remove .venv and caches; the data in var/ stays
	rm -rf .venv .venv-docs clients/python/.venv clients/typescript/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.base: requirements/base.txt .venv/.uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/base.txt
	@touch $@

.venv/.dev: requirements/dev.txt requirements/servers.txt .venv/.base
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m tests.environments
	@touch $@

.venv-docs/.installed: requirements/docs.txt .venv/.uv
	@$(BIN)/uv venv --quiet --clear .venv-docs
	@$(BIN)/uv pip install --quiet --python .venv-docs/bin/python --require-hashes -r requirements/docs.txt
	@touch $@
