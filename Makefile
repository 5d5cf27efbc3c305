# Everything lives in .venv; nothing else is needed than Python 3.11+ and make.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test coverage quick nightly check lint types docs wheel image embedded weights clean

demo: .venv/.base
	rm -rf demo
	$(BIN)/cspine demo --out demo

# All tests and doctests. Few malloc arenas: glibc keeps what each of many threads has freed, and a pytest worker runs
# hundreds of tests.
test quick coverage: export MALLOC_ARENA_MAX = 2
test: .venv/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal

# The same with the line coverage, which takes a fourth of the processor time more; fails below 90 %.
coverage: .venv/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term

# A newcomer's loop, in under two minutes: style, and the tests that neither train nor render.
quick: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

# Every release of the viewers that results are looked at with, and the newest, from the npm registry, and dcmqi in
# WebAssembly (some minutes for each).
nightly: .venv/.dev
	$(PIP) install "itkwasm-dicom-wasi==7.6.4" "kubernetes-validate>=1.33"
	$(BIN)/python -m pytest -m nightly

check: lint types test

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

docs: .venv/.dev
	$(PIP) install --editable ".[docs]"
	$(BIN)/mkdocs build --strict

wheel: .venv/.dev
	$(PIP) install build
	$(BIN)/python -m build --wheel

# The container image, by podman, buildah or docker.
ENGINE ?= podman
VERSION ?= 0.2.0
image:
	$(ENGINE) build --file deploy/Containerfile --build-arg VERSION=$(VERSION) --tag cspine:$(VERSION) --tag cspine:latest .

# The study and the weights that come with cspine, made again from their seeds.
embedded: .venv/.dev
	$(BIN)/python -m scripts.make_embedded

# The networks' weights that come with cspine, trained again from their seeds and the real CT that CSPINE_REAL_DATA names (hours).
weights: .venv/.dev
	$(BIN)/python -m scripts.make_weights --real "$${CSPINE_REAL_DATA:?names the folder of real CT that the networks are trained on}"

.venv/.python:
	$(PYTHON) -c 'import sys; sys.exit("cspine needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	touch $@

.venv/.base: .venv/.python pyproject.toml
	@echo "Installing cspine into .venv (a few minutes the first time) ..."
	$(PIP) install --no-compile --editable .
	touch $@

.venv/.dev: .venv/.python pyproject.toml
	@echo "Installing cspine and its test tools into .venv (a few minutes the first time) ..."
	$(PIP) install --editable ".[dev]"
	touch $@ .venv/.base

clean:
	rm -rf .venv build dist site demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
