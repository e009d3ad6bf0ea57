"""The HTTP application: downloads, API, metrics and console behind their authentication."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.types import ASGIApp

from . import health_probes
from .access_log import AccessLog
from .accounts.authorization import guard
from .accounts.roles import ADMIN
from .accounts.token_guess_delay import WrongTries
from .amqp import broker_sign_in
from .amqp.broker_sign_in import BrokerSignIn
from .api import (
    audit_log,
    bulk_actions,
    campaigns,
    channels,
    cloud_status,
    ddi_tokens,
    devices,
    events,
    groups,
    health,
    new_devices,
    tokens,
    updates,
    users,
    webhook_messages,
)
from .api import firmware as api_firmware
from .channel import channel_routes
from .ddi import controller_routes
from .ddi.actions import Rules as DdiRules
from .downloads import endpoint
from .early_authentication import Admission, Door
from .http_server import Split, make_app
from .metrics import scrape
from .metrics.activity_counters import Measurements
from .metrics.request_metrics import Counted
from .pages.app import make_pages
from .pages.page_visit import Setting
from .pages.security_headers import API, Secured
from .settings import CloudSettings


def http_application(
    setting: Setting,
    settings: CloudSettings,
    sources: scrape.Sources,
    *,
    addresses: Callable[[], cloud_status.Addresses],
    local: str | None,
    refusals: Mapping[str, WrongTries],
    measurements: Measurements,
    url_ttl_s: Callable[[], float],
    broker: BrokerSignIn | None = None,
) -> ASGIApp:
    """Return the application for the HTTP server.

    setting   of the pages; the API uses the same parts
    addresses   where the cloud listens
    local     this machine's own token
    url_ttl_s   returns the lifetime of a download URL
    broker    answers RabbitMQ's questions about sign-ins
    """
    database, store, wake = setting.database, setting.store, setting.wake
    may = guard(settings.token, database, local=local)
    may_admin = guard(settings.token, database, ADMIN, local)
    program = make_app(
        health_probes.routes(sources.health),
        endpoint.routes(database, store, setting.secret),
        channel_routes.routes(database, setting.channels),
        channels.routes(
            database,
            store,
            setting.channels,
            may=may,
            upload_most=setting.upload_most,
            public_url=setting.public_url,
        ),
        health.routes(database, health=sources.health, may=may),
        devices.routes(database, may=may),
        api_firmware.routes(
            database,
            store,
            upload_most=setting.upload_most,
            may=may,
            channels=setting.channels.values(),
        ),
        updates.routes(database, wake=wake, may=may),
        events.routes(database, streams=setting.streams, may=may),
        new_devices.routes(database, boards=setting.boards, may=may),
        groups.routes(database, may=may),
        bulk_actions.routes(database, wake=wake, may=may),
        campaigns.routes(database, wake=wake, may=may),
        tokens.routes(database, may=may, may_admin=may_admin),
        webhook_messages.routes(database, setting.webhooks, may=may, may_admin=may_admin),
        audit_log.routes(database, may=may),
        users.routes(database, may_admin=may_admin),
        scrape.routes(measurements, sources, may=may),
        ddi_tokens.routes(database, may=may),
        cloud_status.routes(
            sources,
            addresses,
            sign_in=settings.sign_in,
            database=settings.database,
            may=may,
        ),
    )
    tries = refusals["token"]
    doors = [Door("/api/", may, tries), Door("/metrics", may, tries)]
    if ddi := settings.ddi:
        rules = DdiRules(settings.back_off, settings.accept_all, ddi.confirm)
        program.include_router(
            controller_routes.routes(
                database,
                store,
                ddi,
                rules,
                public_url=setting.public_url,
                url_ttl_s=url_ttl_s,
            )
        )
        doors.append(Door(ddi.prefix, controller_routes.authorize(database, ddi), refusals["ddi"]))
    if broker:
        program.include_router(broker_sign_in.routes(broker))
    pages = make_pages(setting)
    own = tuple(door.prefix for door in doors)
    split = Split(program, pages, (*own, broker_sign_in.PREFIX))
    admission = Admission(split, doors, setting.upload_most, settings.deadlines)
    secured = Secured(admission, API, ("/api/", *own[2:]))
    return AccessLog(Counted(secured, measurements, pages.routes))


def monitoring_application(
    settings: CloudSettings,
    sources: scrape.Sources,
    *,
    local: str | None,
    refusals: Mapping[str, WrongTries],
    measurements: Measurements,
) -> ASGIApp:
    """Return the application of a process that serves nobody but monitoring."""
    may = guard(settings.token, sources.database, local=local)
    program = make_app(
        health_probes.routes(sources.health), scrape.routes(measurements, sources, may=may)
    )
    doors = [Door("/metrics", may, refusals["token"])]
    admission = Admission(program, doors, settings.upload_most, settings.deadlines)
    return AccessLog(Counted(Secured(admission, API, ("/api/",)), measurements, ()))
