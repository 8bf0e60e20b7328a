# The interpreter for the virtual environment, and where the server listens.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
export PYTHON HOST PORT

.DEFAULT_GOAL := help
.PHONY: help run serve test nightly lint openapi bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

run: ## Start the server with a demo: a worker that works off real tasks (HOST=, PORT=)
	@.ci/make_venv server
	@.venv/bin/python -m examples.demo

serve: ## Start the server alone, on its own database (HOST=, PORT=)
	@.ci/make_venv server
	@.venv/bin/python -m examples.demo --no-demo

test: ## Run all checks and tests, on SQLite and MariaDB (TESTS="-k claim" narrows them)
	@.ci/make_venv dev
	@.ci/test $(TESTS)

nightly: ## Run all attacks that take hours (PARTS="torture hostile" picks some, SEED= repeats a night)
	@.ci/make_venv dev
	@.ci/nightly $(PARTS)

lint: ## Run the checks that run no code: style, types, import rules
	@.ci/make_venv dev
	@.ci/lint

openapi: ## Write openapi.json from the code
	@.ci/make_venv dev
	@.venv/bin/python -m app.rest.openapi > openapi.json.new
	@mv openapi.json.new openapi.json

bench: ## Measure all that docs/performance.md says, in some two hours (PARTS="speed costs" picks some)
	@.ci/make_venv bench
	@.venv/bin/python -m bench $(PARTS)

clean: ## Remove the virtual environment and all caches; the database in instance/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
