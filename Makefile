# Every target says what it does: `make help`. The work is in scripts/.
SHELL := /bin/bash
FLEET_CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/fleet
export CARGO_TARGET_DIR ?= $(FLEET_CACHE)/target
AREA ?= all
EXAMPLE ?= python-pages

.DEFAULT_GOAL := help
.PHONY: help setup build check test demo soak bench cuda gpu-test fmt clean-state

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building, testing and the demo need, and nothing that is here already
	@scripts/setup test && scripts/setup demo

build: ## build fleetd and fleet
	@scripts/setup build && scripts/build

check: ## format, size, arrows, lint, dependencies, docs
	@scripts/setup build && scripts/check

test: ## set up, check, run every test; ends with "N passed, N failed"
	@scripts/setup test && scripts/test

demo: ## solve an example story with the real model (EXAMPLE=python-pages or rust-…)
	@scripts/setup demo && scripts/build && scripts/demo $(EXAMPLE)

soak: ## what is too long for `make test`: both examples over 5 seeds, kill test with the real model
	@scripts/setup test && scripts/setup demo && scripts/build && scripts/soak

bench: ## measure one area against its targets (AREA=journal, …; default all)
	@scripts/setup test && scripts/bench $(AREA)

cuda: ## build fleetd-cuda, the program of GPU workers, beside fleetd (CUDA_COMPUTE_CAP=90)
	@scripts/setup build && scripts/cuda

gpu-test: ## the GPU suite, on a machine with a GPU (FLEET_GPU=GPU-…; default the first)
	@scripts/setup test && scripts/gpu-test

fmt: ## format the Rust sources
	@cargo fmt --all

clean-state: ## remove what demo and soak left behind
	@scripts/clean-state
