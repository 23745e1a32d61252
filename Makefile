# Two commands: `make demo` shows edged at work, `make test` proves it. Everything goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO ?= once
export SOURCE ?=
PYTEST_ARGS ?=
TORCH ?= $(if $(CI),1,auto)
RTX ?= $(if $(filter .venv,$(VENV)),$(if $(CI),1,auto),0)
PYCUDA ?= $(if $(filter .venv,$(VENV)),$(if $(CI),auto,0),0)

.PHONY: demo test lint bench schemas clean

demo: $(VENV)/demo.stamp
	@.ci/debian-packages mosquitto
	@$(BIN)/edged demo $(if $(filter forever,$(DEMO)),--forever) $(if $(SOURCE),--source env:SOURCE)

test: $(VENV)/test.stamp $(VENV)/torch.stamp $(VENV)/tensorrt.stamp $(VENV)/pycuda.stamp
	@.ci/debian-packages mosquitto gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly python3-gi gir1.2-gst-rtsp-server-1.0
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Ratios against a peer, in an environment of its own: its packages would overwrite ours.
bench: $(VENV)/test.stamp .venv-bench/bench.stamp
	$(BIN)/python -m tools.bench --peer-python .venv-bench/bin/python

schemas: $(VENV)/test.stamp
	$(BIN)/python -m tools.schemas

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	  { echo "edged needs Python 3.10 to 3.13; name one with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(BIN)/python requirements/demo.txt pyproject.toml
	@echo "installing edged into $(VENV) …"
	@$(PIP) install --require-hashes -r requirements/demo.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/test.stamp: $(BIN)/python requirements/test.txt requirements/test-no-deps.txt pyproject.toml
	@echo "installing edged and its test tools into $(VENV) …"
	@$(PIP) install --require-hashes -r requirements/test.txt
	@$(PIP) install --require-hashes --no-deps -r requirements/test-no-deps.txt
	@$(PIP) install --no-deps --editable .
	@touch $@ $(VENV)/demo.stamp

# torch without CUDA is 200 MB, with CUDA several GB: outside CI only the former is taken unasked (TORCH=1 takes any, TORCH=0 none).
$(VENV)/torch.stamp: $(VENV)/test.stamp requirements/tools.txt
	@if [ "$(TORCH)" = 1 ] || { [ "$(TORCH)" = auto ] && .ci/torch-is-small $(BIN)/python; }; then \
	  echo "installing the training tools into $(VENV) …" && $(PIP) install -r requirements/tools.txt && touch $@; \
	else echo "training tools left out (make test TORCH=1 installs them); their tests will be skipped"; fi

# 100 MB for Linux on x86-64, taken unasked where all tests run, not by the other Pythons (RTX=1 takes it there, too; RTX=0 never).
$(VENV)/tensorrt.stamp: $(VENV)/test.stamp requirements/tensorrt.txt
	@if [ "$(RTX)" = 1 ] || { [ "$(RTX)" = auto ] && [ "$$(uname -sm)" = "Linux x86_64" ]; }; then \
	  echo "installing TensorRT-RTX into $(VENV) …" && $(PIP) install --require-hashes -r requirements/tensorrt.txt && touch $@; \
	else echo "TensorRT-RTX left out (make test RTX=1 installs it); its tests will be skipped"; fi

# Two minutes of a compiler, taken unasked in CI only, and there where CUDA's headers are (PYCUDA=1 insists, PYCUDA=0 never takes it).
$(VENV)/pycuda.stamp: $(VENV)/test.stamp requirements/pycuda-needs.txt requirements/pycuda.txt .ci/build-pycuda
	@if [ "$(PYCUDA)" = 0 ]; then echo "PyCUDA left out (make test PYCUDA=1 builds it); its tests will be skipped"; \
	else echo "building PyCUDA into $(VENV) …"; \
	  .ci/build-pycuda $(BIN)/python && touch $@ || \
	  { [ $$? = 3 ] && [ "$(PYCUDA)" = auto ] && echo "PyCUDA left out; its tests will be skipped"; }; \
	fi

.venv-bench/bench.stamp: requirements/bench.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip --disable-pip-version-check --quiet install -r requirements/bench.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info demo-out
