"""Delete a campaign in small transactions; the API and the pages call the same function."""

from __future__ import annotations

import time

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..store.database import Database
from ..store.models import Assignment, Campaign, Member
from . import campaign_actions, campaign_counts, campaign_rules
from .campaign_actions import CampaignError

MEMBERS_MOST = 2000  # of a campaign that one transaction deletes


def delete_campaign(database: Database, number: int, who: str) -> str:
    """Delete a draft or an ended campaign and return its name; devices keep their update history.

    This takes several transactions, so that reports can be stored in between. If the process ends
    in between, the campaign can be deleted again. Raises CampaignError.
    """
    while True:
        with database.writing() as session:
            # Locked: a report of one of its devices waits before it notes another number of it.
            campaign = session.get(Campaign, number, with_for_update=True)
            if campaign is None:
                raise CampaignError("the campaign was already deleted")
            _expect_deletable(campaign)
            if not _release_members(session, campaign):
                audit_log.note(session, who, "campaign delete", campaign_actions.name(campaign))
                campaign_counts.forget(session, campaign.id)
                session.delete(campaign)
                return campaign.name
            campaign.state = campaign_rules.CANCELLED  # nobody can retry its devices any more
        time.sleep(campaign_actions.BREATH_S)


def _release_members(session: Session, campaign: Campaign) -> bool:
    """Delete a batch of members; return True if there are more, or attempts to release."""
    members = select(Member.device_id).where(Member.campaign_id == campaign.id)
    ids = session.scalars(members.limit(MEMBERS_MOST)).all()
    of_these = (Member.campaign_id == campaign.id, Member.device_id.in_(ids))
    session.execute(delete(Member).where(*of_these))
    attempts = select(Assignment.id).where(Assignment.campaign_id == campaign.id)
    some = session.scalars(attempts.limit(MEMBERS_MOST)).all()
    session.execute(
        update(Assignment).where(Assignment.id.in_(some)).values(campaign_id=None),
        execution_options={"synchronize_session": False},
    )
    return len(ids) == MEMBERS_MOST or len(some) == MEMBERS_MOST


def _expect_deletable(campaign: Campaign) -> None:
    unstarted = campaign.state in (campaign_rules.DRAFT, campaign_rules.SCHEDULED)
    # A cancelled campaign has ended when all of its devices are cancelled.
    if not unstarted and (campaign.state not in campaign_rules.ENDED or not campaign.ended_at):
        raise CampaignError(f"the campaign is {campaign.state}: cancel it first, then delete it")
