"""Clients that search an answer for exact bytes, as embedded C code does, are served."""

import pytest

from ivota_tools.cloud.header_case import canonical
from ivota_workshop.bench.reach.strict_cases import CASES, Stage


@pytest.fixture(scope="module")
def stage():
    with Stage.open() as made:
        yield made


@pytest.mark.parametrize("name", CASES)
def test_strict_client(stage, name):
    CASES[name](stage)


@pytest.mark.parametrize("name", [b"ETag", b"Content-Length", b"WWW-Authenticate", b"X-A-B"])
def test_names_as_they_are_written(name):
    assert canonical(name.lower()) == canonical(name.upper()) == name
