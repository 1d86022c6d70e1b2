# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: help demo tables test lint types unit slow release peers lock clean

help:
	@echo "make demo   draw faces, train, report, export, and read pictures with the result"
	@echo "make tables every table of the thesis on drawn people, small: figures, plots, one page"
	@echo "make test   lint, types and tests"
	@echo "make slow   the tests of large networks, and whole trainings"
	@echo "make release  the same proofs at full scale, before a release"
	@echo "make peers  compare the networks with timm's in PyTorch: the same numbers, and the speed"
	@echo "make lock   write requirements.lock anew"
	@echo "make clean  remove .venv, runs and data"

# One environment serves all targets; it is made again when what it holds changes.
.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: emojax needs Python 3.11 or newer, found $$($(PYTHON) --version): make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@

demo: .venv/ready
	$(RUN) experiments/demo.py $(DEMO)

tables: .venv/ready
	$(RUN) experiments/tables.py all --small $(TABLES)

test: lint types unit

lint: .venv/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: .venv/ready
	.venv/bin/basedpyright

# On each core a process with a file of tests: much of a test is Python, which fills one.
TEST := $(RUN) -m pytest -n auto --maxprocesses=4 --dist loadfile

# Arithmetic is tested as it is used, optimised. Elsewhere a test compiles a step for a few pictures:
# without optimisation that takes two thirds of the time, and less.
OPTIMISED := tests/models tests/test_augment.py tests/test_losses.py tests/test_optim.py

unit: .venv/ready
	$(TEST) $(PYTEST) $(OPTIMISED)
	$(TEST) --unoptimised $(PYTEST) $(addprefix --ignore=,$(OPTIMISED))

# Trainings that are long enough to be worth it, and speed itself. What is compiled for all others,
# the large networks among them, is asked once or serves `unit` too, whose cache they share.
LONG := tests/test_overfit.py tests/test_clip_experiment.py tests/test_stopped_runs.py \
	tests/test_benchmark.py

slow: .venv/ready
	$(TEST) -m "slow and not release" $(PYTEST) $(LONG)
	$(TEST) -m "slow and not release" --unoptimised $(PYTEST) $(addprefix --ignore=,$(LONG))

release: .venv/ready
	$(TEST) -m release $(PYTEST) $(LONG)
	$(TEST) -m release --unoptimised $(PYTEST) $(addprefix --ignore=,$(LONG))

# Not an extra: timm asks for torchvision, which has no build for torch's CPU wheel and is not needed.
peers: .venv/ready
	$(RUN) -m pip install --quiet torch==2.13.0 pyyaml safetensors huggingface_hub
	$(RUN) -m pip install --quiet onnxruntime onnxscript
	$(RUN) -m pip install --quiet --no-deps timm==1.0.31
	$(RUN) -m pytest -m slow tests/models/test_torch_parity.py
	$(RUN) experiments/benchmark.py step $(BENCHMARK)
	$(RUN) experiments/benchmark.py infer $(BENCHMARK)
	$(RUN) experiments/benchmark.py lite $(BENCHMARK)

lock: .venv/ready
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-annotate \
		--extra dev --extra beam --extra serve --upgrade --custom-compile-command "make lock" \
		--constraint lock-constraints.txt --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv runs data
