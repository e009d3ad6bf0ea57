# Everything runs from .venv, which is made once, and again when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# pip shows its progress on a terminal, and elsewhere only what went wrong.
INSTALL := $(PY) -m pip install --disable-pip-version-check $(shell test -t 2 || echo --quiet)
# More words for pytest: make test-fast TESTS=tests_host/device PYTEST="-k resume"
TESTS ?= tests_host
PYTEST ?=
# More words for the soak: make soak-load SOAK=--keep-passed
SOAK ?=
# Most tests wait rather than compute: more of them at once than there are cores.
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint bench bench-link bench-download bench-console bench-peers bench-small bench-trust bench-reach bench-channel soak-download soak-brokers soak-fuzz power soak-power screenshots recordings dist clean bench-holds bench-words bench-operations sbom soak-load bench-neighbours soak-ha bench-fleet

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

# The core is what the demo needs; `dev` adds what tests and lint need.
$(VENV)/core.stamp: pyproject.toml requirements.lock
	@echo "setting up $(VENV), once: this takes a minute or so"
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --require-hashes --requirement requirements.lock
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	@echo "setting up what tests and lint need, once"
	@$(INSTALL) --editable '.[dev]'
	@$(PY) -m ivota_workshop.device_lint --setup
	@touch $@

$(VENV)/plots.stamp: $(VENV)/core.stamp
	@echo "setting up what draws the plots, once"
	@$(INSTALL) --editable '.[plots]'
	@touch $@

# A C compiler from PyPI where the machine has none.
$(VENV)/small.stamp: $(VENV)/core.stamp
	@echo "setting up what deltas stand beside, once"
	@command -v cc >/dev/null || $(INSTALL) --editable '.[compiler]'
	@# By its path: pip builds where the environment's modules are not seen.
	@CC="$$(command -v cc || echo $$($(PY) -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__))')/zig cc)" \
		$(INSTALL) --editable '.[small]'
	@touch $@

setup: $(VENV)/dev.stamp  ## the environment for tests and lint

demo: $(VENV)/core.stamp  ## whole updates of a simulated board over a bad link; KEEP=1 leaves the console on
	$(PY) -m ivota_tools.demo $(if $(KEEP),--keep)

test: lint  ## lint, then every test: CPython, and MicroPython with 64 and 32 bits and a preview
	$(PY) -m pytest $(TESTS) --junitxml=build/tests.xml --numprocesses=$(WORKERS) $(PYTEST)
	$(PY) -m ivota_workshop.power
	@echo "make test: everything passed"

test-fast: $(VENV)/dev.stamp  ## the inner loop: no lint, no slow tests, many at once
	$(PY) -m pytest $(TESTS) -q -m "not slow" --numprocesses=$(WORKERS) $(PYTEST)

lint: $(VENV)/dev.stamp  ## style and types, of the host's code and of the boards'
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	MYPYPATH=tools $(PY) -m mypy -p ivota_tools -p ivota_workshop
	$(PY) -m ivota_workshop.device_lint

bench: bench-link bench-download bench-peers bench-small bench-trust bench-channel bench-words  ## every measurement, into build/bench/

bench-link: $(VENV)/core.stamp  ## hangs of the bare libraries and their cures, 1,000 reconnects
	$(PY) -m ivota_workshop.bench.link

bench-download: $(VENV)/core.stamp  ## heap, code, instructions, wear and bytes of a whole download
	$(PY) -m ivota_workshop.bench.download

bench-peers: $(VENV)/plots.stamp  ## other ways to download beside ours; tables and plots
	$(PY) -m ivota_workshop.bench.peers

bench-small: $(VENV)/small.stamp  ## deltas and compressed firmware: sizes, heap, instructions, wear
	$(PY) -m ivota_workshop.bench.small

bench-trust: $(VENV)/core.stamp  ## what a signature costs a board: heap and instructions
	$(PY) -m ivota_workshop.bench.trust

bench-reach: $(VENV)/core.stamp  ## clients, brokers and servers that others wrote, or that are as strict
	$(PY) -m ivota_workshop.bench.reach

bench-channel: $(VENV)/core.stamp  ## updates from static files: bytes, heap, attacks
	$(PY) -m ivota_workshop.bench.channel

bench-neighbours: $(VENV)/core.stamp  ## SWUpdate and other clients of DDI beside the boards
	$(PY) -m ivota_workshop.bench.neighbours

soak-ha: $(VENV)/core.stamp  ## the real Home Assistant beside the cloud; installs 300 MB once
	$(PY) -m ivota_workshop.bench.neighbours.ha_soak

bench-console: $(VENV)/core.stamp  ## the console with a swarm of 10,000, 50 kills, a flood, its pages
	$(PY) -m ivota_workshop.bench.console

bench-fleet: $(VENV)/core.stamp  ## a million devices on PostgreSQL and RabbitMQ: intake, kills, campaigns, pages, months
	$(PY) -m ivota_workshop.bench.fleet

bench-holds: $(VENV)/core.stamp  ## the cloud under bad clients: floods, silence, full disks, signals
	$(PY) -m ivota_workshop.bench.holds

bench-words: $(VENV)/core.stamp  ## old phrases, terms of the glossary, layout of tools/
	$(PY) -m ivota_workshop.bench.words

bench-operations: $(VENV)/core.stamp  ## alerts, dashboard and files for servers, with the programs that read them
	$(PY) -m ivota_workshop.bench.operations

soak-fuzz: $(VENV)/dev.stamp  ## 500,000 hostile inputs for each parser; resumes where it stopped
	$(PY) -m ivota_workshop.fuzz.soak

soak-download: $(VENV)/core.stamp  ## 300 updates with faults and power cuts; resumes where it stopped
	$(PY) -m ivota_workshop.bench.download.soak

soak-brokers: $(VENV)/core.stamp  ## an update through mosquitto, NATS, RabbitMQ, aedes and amqtt
	$(PY) -m ivota_workshop.bench.reach.broker_soak

soak-load: $(VENV)/dev.stamp  ## every test with all cores busy, five times what waits; resumable
	$(PY) -m ivota_workshop.load $(SOAK)

power: $(VENV)/core.stamp  ## power cuts at every operation of updates; CASE=few/part@17 replays one
	$(PY) -m ivota_workshop.power --document $(if $(CASE),--case "$(CASE)")

soak-power: $(VENV)/core.stamp  ## 100,000 power cuts and more; resumes where it stopped
	$(PY) -m ivota_workshop.power.soak

dist: $(VENV)/core.stamp  ## a wheel of the commands, and the package compiled for mip, into dist/
	$(PY) -m ivota_workshop.distribution

sbom: $(VENV)/core.stamp  ## all components of an installation, with licences, into build/sbom/
	$(PY) -m ivota_workshop.components

screenshots: $(VENV)/dev.stamp  ## every page of the console, into docs/images/console; look at each
	$(PY) -m ivota_workshop.screenshots

recordings: $(VENV)/dev.stamp  ## the demo's terminal and console as moving pictures, and docs/demo.md; look at each
	$(PY) -m ivota_workshop.recordings

clean:  ## forget the environment and all that was built
	rm -rf build dist $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
