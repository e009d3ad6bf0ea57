"""Devices that poll by hawkBit's DDI: every case of the benchmark (ddi_cases.py)."""

import pytest

from ivota_workshop.bench.neighbours import ddi_cases
from ivota_workshop.bench.neighbours.ddi_stage import Stage


@pytest.fixture(scope="module")
def stage():
    with Stage.open() as opened:
        yield opened


@pytest.mark.parametrize("name", ddi_cases.CASES)
def test_ddi(stage, name):
    ddi_cases.CASES[name](stage)
