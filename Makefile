# Every target prepares what it needs. See README.md and CONTRIBUTING.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

N ?= 5
PORT ?= 5681
BIND ?= 127.0.0.1
MAIN := tests/gate/setup.sh main && . tests/gate/env.sh
LAB := tests/gate/setup.sh lab && . tests/gate/env.sh

.PHONY: help demo test nightly unit lint sanity contract integration browser fleet lab-up lab-down double bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: ## four hosts, a control plane and a join; KUMA_BIN=<dir> uses the real Kuma of that directory
	@$(LAB) && exec python -m tests.demo

test: ## the gate, on two processors in 20 to 30 minutes
	@exec tests/gate/run.sh everyday

nightly: ## everything, also with KUMA_BIN=<dir> and KUMA_BIN_NEXT=<dir>: more tests, more examples, the oldest ansible-core
	@exec tests/gate/run.sh nightly

unit: ## unit tests, on all processors
	@$(MAIN) && exec python -m pytest --numprocesses auto --dist loadfile -m 'not nightly' tests/unit

lint: ## static checks
	@exec tests/gate/lint.sh

sanity: ## ansible-test sanity with the oldest and the newest supported ansible-core
	@exec tests/gate/sanity.sh

contract: ## the stand-in control plane against recorded answers; or URL= and TOKEN_FILE= of any control plane
	@$(MAIN) && exec python -m pytest tests/contract

integration: ## modules and their printed examples against the stand-in control plane
	@$(MAIN) && exec python -m pytest tests/integration

browser: ## the report of a roll, as a browser shows it
	@tests/gate/setup.sh browser && . tests/gate/env.sh && exec python -m pytest tests/browser

fleet: ## joins and leaves on real hosts of this machine
	@$(LAB) && exec python -m pytest tests/fleet

lab-up: ## N=5 hosts that stay until lab-down
	@$(LAB) && exec python -m tests.lab up $(N)

lab-down: ## removes the hosts of lab-up
	@$(LAB) && exec python -m tests.lab down

double: ## PORT=5681 BIND=127.0.0.1: a control plane to try things on, until stopped; hosts of lab-up reach BIND=10.77.0.1
	@$(MAIN) && exec python -m tests.gate.serve_double --port $(PORT) --bind $(BIND)

bench: ## prints the benchmarks as ratios
	@$(LAB) && exec python -m tests.bench

clean: ## removes what was built in this directory; the cache in ~/.cache/meshfleet-kuma stays
	@rm -rf .build .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible tests/output
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
