"""Boards update from nginx, Apache and Varnish as people set them up."""

from __future__ import annotations

import pytest

from ivota_workshop.bench.reach.server_cases import CASES, stage


@pytest.mark.slow
def test_real_servers() -> None:
    with stage() as made:
        failed = {case.name: why for case in CASES if (why := made.run(case))}
    assert failed == {}
