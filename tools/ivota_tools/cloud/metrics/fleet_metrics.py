"""Read the state of the fleet from the database: the same in each process that shares it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..rollout import assignment_states, campaign_rules
from ..rollout.push_sender import count_due
from ..store import device_acceptance
from ..store.models import Assignment, Campaign, Device

LATE_S = 60.0  # a push that has been due for longer is late
SEEN_S = {"1h": 3600.0, "1d": 86400.0, "7d": 7 * 86400.0}
STATUSES = (
    device_acceptance.ACCEPTED,
    device_acceptance.PENDING,
    device_acceptance.RETIRED,
)
STATES = (
    assignment_states.WAITING,
    *assignment_states.ACTIVE,
    assignment_states.CURRENT,
    assignment_states.RETRY,
    *assignment_states.CLOSED,
)
CAMPAIGNS = (
    campaign_rules.DRAFT,
    campaign_rules.SCHEDULED,
    campaign_rules.RUNNING,
    campaign_rules.PAUSED,
    campaign_rules.STOPPED,
    *campaign_rules.ENDED,
)


def fleet(session: Session, now: float) -> Iterator[GaugeMetricFamily]:
    statuses = session.execute(select(Device.status, func.count()).group_by(Device.status))
    yield _by("ivota_devices", "Devices, by status.", "status", STATUSES, statuses.tuples().all())
    accepted = Device.status == device_acceptance.ACCEPTED
    heard = [
        func.count(Device.id).filter(Device.last_seen > now - seconds)
        for seconds in SEEN_S.values()
    ]
    counts = session.execute(select(*heard).where(accepted)).one()
    yield _by(
        "ivota_devices_seen",
        "Accepted devices that have sent a message within this time.",
        "within",
        SEEN_S,
        zip(SEEN_S, counts, strict=True),
    )
    current = select(Assignment.state, func.count()).where(Assignment.current)
    states = session.execute(current.group_by(Assignment.state)).tuples().all()
    yield _by(
        "ivota_device_updates", "Devices, by the state of their update.", "state", STATES, states
    )
    campaigns = session.execute(select(Campaign.state, func.count()).group_by(Campaign.state))
    yield _by(
        "ivota_campaigns", "Campaigns, by state.", "state", CAMPAIGNS, campaigns.tuples().all()
    )
    yield GaugeMetricFamily(
        "ivota_pushes_due", "Pushes that may be sent now.", count_due(session, now, now)
    )
    yield GaugeMetricFamily(
        "ivota_pushes_late",
        f"Pushes that could have been sent more than {LATE_S:.0f} seconds ago.",
        count_due(session, now, now - LATE_S),
    )


def _by(
    name: str,
    text: str,
    label: str,
    values: Iterable[str],
    found: Iterable[tuple[str, int]],
) -> GaugeMetricFamily:
    """Return one sample for each of `values`, 0 if it was not found; others are left out."""
    family = GaugeMetricFamily(name, text, labels=[label])
    counts = dict(found)
    for value in values:
        family.add_metric([value], counts.get(value, 0))
    return family
