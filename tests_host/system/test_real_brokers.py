"""A board updates through brokers that others wrote; `make soak-brokers` has more of them."""

from __future__ import annotations

import pytest

from ivota_workshop.bench.reach.broker_cases import run
from ivota_workshop.bench.reach.brokers import PARTS

TESTED = ("NATS", "RabbitMQ")


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTED)
def test_real_brokers(name: str) -> None:
    run(next(part for part in PARTS if part.name == name))
