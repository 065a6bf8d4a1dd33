# UniECG-lite. `make` alone lists the targets.
#   PROFILE      smoke | laptop | gpu (default laptop)
#   SEED         default 0
#   PYTHON       the interpreter the environment is built from (default python3)
#   CONDA        set it empty (make env CONDA=) to use a venv although conda or mamba is installed
#   TORCH_INDEX  a package index to take PyTorch from, if the default one has the wrong build for this machine

PROFILE ?= laptop
SEED ?= 0
PYTHON ?= python3
CONDA ?= $(shell command -v mamba 2>/dev/null || command -v conda 2>/dev/null)
TORCH_INDEX ?=

ENV := $(if $(CONDA),.conda,.venv)
PY := $(CURDIR)/$(ENV)/bin/python
READY := $(ENV)/.ready
TORCH := $(shell sed -n '/^torch==/p' requirements.lock)

NOTEBOOKS := $(sort $(wildcard notebooks/[0-9]*.ipynb))
SOLUTIONS := $(sort $(wildcard notebooks/solutions/*.ipynb))
NBVAL := -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=600 -q -p no:cacheprovider

# Nothing is fetched while the course runs; matplotlib's backend is left to the notebook.
export HF_HUB_OFFLINE := 1
export HF_DATASETS_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
unexport MPLBACKEND

# Recorded ECGs, if they lie beside the repository; another folder: make run UNIECG_REAL_ECG=...
ifneq ($(wildcard ../shared/real_ecg/manifest.csv),)
export UNIECG_REAL_ECG ?= $(CURDIR)/../shared/real_ecg
endif

.PHONY: help env run test figures verify bench fuzz lab results clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1: /p' Makefile

# The lock lives as long as this shell; a second make waits for it, looks again, and mostly finds nothing left to do.
LOCK := flock 9 2>/dev/null || $(PYTHON) -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
env:  ## build the environment, only when the pins have changed
	@exec 9>.env.lock; { $(LOCK); } && $(MAKE) --silent $(READY)

run: env  ## run the whole course: make run PROFILE=smoke SEED=1
	$(PY) -m uniecg_lite run --profile $(PROFILE) --seed $(SEED)

test: env  ## unit tests, then every notebook and its solution at smoke size
	$(PY) -m pytest -q tests
ifneq ($(NOTEBOOKS),)
	UNIECG_PROFILE=smoke UNIECG_STRICT= $(PY) $(NBVAL) $(NOTEBOOKS)
endif
ifneq ($(SOLUTIONS),)
	UNIECG_PROFILE=smoke UNIECG_STRICT=1 $(PY) $(NBVAL) $(SOLUTIONS)
endif

figures: env  ## find anew which numbers the notebooks print at smoke size (four smoke runs)
	$(PY) tests/figures.py

verify: env  ## score the trained models again, compare with results/ and the aims
	$(PY) -m uniecg_lite verify --profile $(PROFILE)

bench: env  ## speed of simulator, raster and generator beside peers
	$(PY) -m uniecg_lite bench

fuzz: env  ## change 10,000 ECG files at random: is one read wrongly? counts in artifacts/fuzz.json
	$(PY) benchmarks/fuzz.py 10000

lab: env  ## open the notebooks
	$(PY) -m jupyter lab notebooks

results: env  ## copy a finished run from artifacts/ to results/, rewrite README's tables from there
	$(PY) -m uniecg_lite results --profile $(PROFILE) --seed $(SEED)

clean:  ## remove artifacts and caches, keep the environment
	rm -rf artifacts build dist .pytest_cache .ruff_cache
	find . \( -name .venv -o -name .conda -o -name .git \) -prune -o -type d \
		\( -name __pycache__ -o -name .ipynb_checkpoints -o -name '*.egg-info' \) -prune -exec rm -rf {} +

# With conda: environment.yml says it all.
.conda/.ready: pyproject.toml requirements.lock environment.yml
	@if [ -d .conda/conda-meta ]; then verb=update; else verb=create; fi; \
	export CONDA_ALWAYS_YES=true MAMBA_ALWAYS_YES=true; \
	"$(CONDA)" env $$verb --prefix ./.conda --file environment.yml || \
		{ echo "conda could not build the environment; try: make env CONDA="; exit 1; }
	touch $@

# Without: a venv. A PyTorch with working CUDA that python3 already has is kept; otherwise PyTorch goes in first, alone.
CUDA_WORKS := -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null
.venv/.ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; try: make env PYTHON=python3.11"; exit 1; }
	@set -e; pip=".venv/bin/python -m pip --require-virtualenv install --quiet"; \
	if $(PYTHON) $(CUDA_WORKS) && $(PYTHON) -m venv --clear --system-site-packages .venv \
			&& .venv/bin/python $(CUDA_WORKS); then \
		echo "environment: .venv, with the PyTorch for CUDA that $(PYTHON) already has"; \
		grep -v -E '^(torch|triton|nvidia-[a-z0-9-]*)==' requirements.lock > .venv/kept-torch.lock; \
		$$pip -r .venv/kept-torch.lock; \
	else \
		echo "environment: .venv, with $(TORCH)"; \
		$(PYTHON) -m venv --clear .venv; \
		$$pip $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH); \
		$$pip -r requirements.lock; \
	fi; \
	$$pip --no-deps -e .; \
	touch $@
