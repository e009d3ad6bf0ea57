"""SWUpdate and RAUC's client, as Debian ships them: every case of the benchmark."""

import pytest

from ivota_workshop.bench.neighbours import rauc, swupdate_cases
from ivota_workshop.bench.neighbours.ddi_stage import Stage


@pytest.fixture(scope="module")
def stage():
    with Stage.open() as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("name", swupdate_cases.CASES)
def test_swupdate(stage, name):
    swupdate_cases.CASES[name](stage)


@pytest.mark.slow
@pytest.mark.parametrize("name", rauc.CASES)
def test_rauc(stage, name):
    rauc.CASES[name](stage)
