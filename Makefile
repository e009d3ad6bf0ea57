# Everything runs from .venv, which `make` makes once and again when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup setup-core demo test test-fast lint clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

# The core is what `make demo` needs; `dev` adds what tests and lint need.
$(VENV)/core.stamp: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

setup-core: $(VENV)/core.stamp

setup: $(VENV)/dev.stamp  ## .venv with everything for tests and lint

demo: $(VENV)/core.stamp  ## one whole update over a bad link, on a simulated board
	$(PY) -m ivota_tools.demo

test: lint  ## lint, then every test on CPython and on MicroPython, 64 and 32 bits
	$(PY) -m pytest tests_host

clean:  ## forget the environment and all that was built
	rm -rf build dist $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
