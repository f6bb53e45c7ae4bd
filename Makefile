# Everything that is done to the project itself; the experiments are Snakemake's (see README.md).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run repro test lint docs tracks wheel image container slurm label-studio schema dvc lock clean

PYTHON ?= python3
ARGS ?=
OPTIONS ?=
UV := .uv/bin/uv
BIN := .venv/bin

# The machine's own Python is used, or the set-up fails: it never fetches another.
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := $(shell test -t 2 && echo false || echo true)

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: .venv/ready ## Install the locked packages and mgral into .venv; does nothing when they are there.

run: setup ## Run the experiment of params.yaml, or another: make run ARGS="--configfile config/bccd.yaml".
	$(BIN)/snakemake --cores all $(ARGS)

repro: setup ## Do the same by DVC, in a clone in which Snakemake has not run; single stages: make repro ARGS="STAGE".
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro --quiet config
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m mgral.engine.job_server .dvc/tmp/mgral.socket $(BIN)/dvc repro --keep-going $(ARGS)

# A process more than there are cores: the longest tests wait for engines that poll.
test: setup lint ## Check style and types, and run the tests; with MGRAL_SLOW=1 the slow ones too.
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy

docs: setup ## Write docs/reference from the code, and build the site of docs/ into site/; a link that leads nowhere fails.
	$(BIN)/python -m docs.generate
	$(BIN)/zensical build --clean --strict

tracks: setup ## Run the paper's two tracks on miniature archives, with the real detectors.
	OMP_NUM_THREADS=1 MGRAL_TRACKS=1 $(BIN)/pytest tests/workflow/test_tracks.py

wheel: setup ## Build dist/mgral-VERSION-py3-none-any.whl, and dist/constraints.txt with the versions of the lock.
	rm -f dist/mgral-*.whl
	$(BIN)/hatchling build --target wheel --directory dist
	$(BIN)/mgral constraints > dist/constraints.txt

image: ## Build the image of docker/Dockerfile, and mgral.sif where Apptainer is; OPTIONS are the builder's.
	docker/build $(OPTIONS)

container: setup ## Build the image with a plug-in and run experiments inside it, to the same bytes as outside.
	docker/build --with examples/plugin_strategy $(OPTIONS)
	OMP_NUM_THREADS=1 MGRAL_SIF="$(CURDIR)/mgral.sif" $(BIN)/pytest tests/engine/test_container.py

slurm: ## Install Slurm, which the cluster tests need (Debian and Ubuntu, as root).
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends slurm-wlm munge

label-studio: .label-studio/ready ## Install Label Studio into .label-studio, for the tests and the benchmark of push and pull.

schema: setup ## Write workflow/schemas/config.schema.json from the model in mgral/config/.
	$(BIN)/mgral config --schema > workflow/schemas/config.schema.json

dvc: setup ## Write dvc.yaml from the Snakefile and params.yaml.
	$(BIN)/mgral dvc --output dvc.yaml

lock: $(UV) ## Resolve requirements.lock anew from pyproject.toml.
	$(UV) pip compile pyproject.toml --extra dev --extra docs --extra onnx --extra transformers --universal --python-version 3.11 --upgrade \
	    --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

clean: ## Remove what `make` installed and the tools' caches; results are kept.
	rm -rf .venv .uv .label-studio site .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The sum of the wheels' sizes (uv pip compile --format pylock.toml) and `du .venv`, on Linux with x86-64 (2026-11).
.venv/ready: requirements.lock pyproject.toml $(UV)
	@echo "Installing the locked packages into .venv: 3.2 GB to download and 6.8 GB of disk on Linux, most of it CUDA;" \
	    "about 6 minutes at 100 Mbit/s, 2 where uv's cache has them"
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --python .venv --require-hashes --compile-bytecode --strict requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	touch $@

# Its first start makes the tables of its database; tests copy them.
.label-studio/ready: requirements-label-studio.txt benchmarks/label_studio_server.py $(UV)
	@echo "Installing Label Studio into .label-studio: 0.3 GB to download and 0.9 GB of disk; its first start takes" \
	    "two minutes more"
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .label-studio/venv
	$(UV) pip sync --python .label-studio/venv --require-hashes --strict requirements-label-studio.txt
	$(PYTHON) -m benchmarks.label_studio_server
	touch $@

$(UV): requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; install it, or name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@rm -rf .uv
	@echo "Installing uv, which installs the packages, into .uv (30 MB to download)"
	@if $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
	    $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --require-hashes -r requirements-uv.txt; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	    $(PYTHON) -m pip install --quiet --target .uv --require-hashes -r requirements-uv.txt; \
	else \
	    echo "Python has neither venv nor pip; run: apt install python3-venv" >&2; exit 1; \
	fi
	@touch $@
