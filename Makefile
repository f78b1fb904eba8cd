# Everything runs in .venv, which the first target makes. Another Python: make PYTHON=python3.12 ...
PYTHON ?= python3
BIN := .venv/bin
# One thread a test process: two of them share the cores.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: demo test test-slow test-gpu test-all lint bench bench-peers paper-tables tier-a tier-b tier-c zoo clean

demo: .venv/installed              ## simulate, prepare, train, evaluate, recommend: about two minutes
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh demo

test: lint                         ## style, types and the fast tests
	$(TEST) -m "not slow"

test-slow: .venv/developing        ## what trains for a while, the fuzzing and the browser
	$(TEST) -m slow

# Triton, which takes 1 GB, stays out of the environment: where it is, torch may use it.
ifeq ($(shell uname),Linux)
test-gpu: .venv/triton/installed   ## the GPU's kernels on a processor, by Triton's interpreter (Linux)
	PYTHONPATH=$(CURDIR)/.venv/triton $(TEST) tests/catalogue/test_gpu.py

.venv/triton/installed: .venv/developing
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/triton triton==3.9.0
	touch $@
else
test-gpu:
endif

test-all: test test-slow test-gpu

lint: .venv/developing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pyright --pythonpath $(BIN)/python --pythonversion 3.14

bench: .venv/developing            ## speed and memory, beside the usual way and beside reading the file alone
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/ccql_step.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/encoder_speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/guard_cost.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/rank_speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/sampled_speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/named_speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/head_speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/prepare_speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/report_speed.py

bench-peers: .venv/developing      ## beside RecBole, RecTools, RePlay: an hour or two; see benchmarks/peers/README.md
	-$(BIN)/python benchmarks/bench_peers.py install
	$(BIN)/python benchmarks/bench_peers.py run $(RACE)
	$(BIN)/python benchmarks/bench_peers.py page

# Studies go on where they stopped, and keep what came out in benchmarks/results.
STUDY := $(BIN)/python benchmarks/run.py

paper-tables: .venv/installed      ## the paper's tables beside ours, from the files in RAW=...; PROVE=1 simulates small ones
	$(BIN)/python benchmarks/paper_tables.py $(if $(RAW),--raw "$(RAW)") $(if $(PROVE),--prove)

tier-a: .venv/installed            ## every method on trivago, 3 seeds: about six hours of one core
	$(STUDY) benchmarks/studies/tier-a.yaml
	$(BIN)/python benchmarks/results_page.py

tier-b: .venv/installed            ## next-item methods beside published figures: at most an hour a run, 16 runs
	$(STUDY) benchmarks/studies/tier-b-ml-1m.yaml
	$(STUDY) benchmarks/studies/tier-b-beauty.yaml
	$(BIN)/python benchmarks/results_page.py

tier-c: .venv/installed            ## every method on MovieLens-1M: at most an hour a run, days of one core
	$(STUDY) benchmarks/studies/tier-c.yaml
	$(BIN)/python benchmarks/results_page.py

zoo: .venv/installed               ## which runs go wrong, and how early the guard says so: about two hours of two cores
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/zoo.py run

clean:
	rm -rf .venv demo build dist

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch comes first: with it in place pip looks for no other build of it.
.venv/installed: .venv/bin/python pyproject.toml setup.py constraints.txt $(wildcard native/*.?pp)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/developing: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
