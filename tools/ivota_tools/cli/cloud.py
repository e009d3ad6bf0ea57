"""Define `ivota cloud`, and `ivota intake` and `ivota console`, its parts for large fleets."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from ..common import log_output
from ..common.api_connection import DEFAULT_URL, default_data
from . import cloud_arguments, cloud_check, cloud_reload
from . import cloud_options as flags
from .terminal import AsJson, err, fail, print_json, say, warn

if TYPE_CHECKING:
    from ..cloud import Cloud

STOP_S = 8.0  # from a signal to a forced exit


def cloud(
    ctx: typer.Context,
    action: flags.Action = None,
    config: flags.Config = None,
    host: flags.Host = "127.0.0.1",
    port: flags.Port = 8123,
    mqtt_port: flags.MqttPort = None,
    broker: flags.Broker = None,
    broker_password_file: flags.BrokerPasswordFile = None,
    topic_prefix: flags.TopicPrefix = "$ota",
    data: flags.Data = None,
    database: flags.Database = None,
    database_file: flags.DatabaseFile = None,
    store: flags.Store = None,
    store_proxy: flags.StoreProxy = False,
    store_url: flags.StoreUrl = None,
    store_key_id: flags.StoreKeyId = None,
    store_key_file: flags.StoreKeyFile = None,
    sign_in: flags.SignIn = False,
    accept: flags.Accept = None,
    psk_port: flags.PskPort = None,
    device_ca: flags.DeviceCa = None,
    device_crl: flags.DeviceCrl = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    public_url: flags.PublicUrl = None,
    url_ttl: flags.UrlTtl = 3600,
    keep_reports: flags.KeepReports = None,
    keep_audit: flags.KeepAudit = None,
    push_qos: flags.PushQos = 1,
    max_upload: flags.MaxUpload = 64 << 20,
    max_connected: flags.MaxConnected = None,
    token: flags.Token = None,
    token_file: flags.TokenFile = None,
    plain_console: flags.PlainConsole = False,
    trusted_proxy: flags.TrustedProxy = None,
    webhook: flags.Webhook = None,
    webhook_secret_file: flags.WebhookSecretFile = None,
    log_format: flags.LogFormat = "text",
    access_log: flags.AccessLog = False,
    oidc_issuer: flags.OidcIssuer = None,
    oidc_client_id: flags.OidcClientId = None,
    oidc_client_secret_file: flags.OidcClientSecretFile = None,
    oidc_role: flags.OidcRole = None,
    oidc_groups_claim: flags.OidcGroupsClaim = "groups",
    oidc_name_claim: flags.OidcNameClaim = "email",
    oidc_scope: flags.OidcScope = "openid profile email",
    home_assistant: flags.HomeAssistant = None,
    channel: flags.Channel = None,
    channel_key: flags.ChannelKey = None,
    ddi: flags.Ddi = None,
    ddi_poll: flags.DdiPoll = 300,
    ddi_confirm: flags.DdiConfirm = False,
    as_json: AsJson = False,
) -> None:
    """Run the cloud: MQTT broker, firmware downloads, console and API."""
    _run(ctx)


@functools.wraps(cloud, assigned=("__annotations__",))
def intake(ctx: typer.Context, **_: Any) -> None:
    """Store the reports of a large fleet; RabbitMQ distributes them among several processes.

    One of the `ivota intake` processes also sends pushes and runs campaigns.

    This command takes the options of `ivota cloud`. The HTTP port serves only /healthz,
    /readyz and /metrics.
    """
    _run(ctx)


@functools.wraps(cloud, assigned=("__annotations__",))
def console(ctx: typer.Context, **_: Any) -> None:
    """Serve the console, API and downloads of a large fleet, alongside `ivota intake`.

    This command takes the options of `ivota cloud`. You can run any number of these
    processes.
    """
    _run(ctx)


def _run(ctx: typer.Context) -> None:
    asked = dict(ctx.params)
    as_json = asked["as_json"]
    if asked["action"] is flags.Subcommand.CHECK:
        return cloud_check.check(ctx, asked, as_json)
    # FastAPI and SQLAlchemy are slow to import, and the other commands need neither.
    with err.status("starting"):
        from ..cloud import Cloud, CloudError
        from ..cloud.accounts.authorization import check_exposure

    try:
        options = cloud_arguments.of_cloud(asked, ctx.info_name)
    except cloud_arguments.OptionError as error:
        fail(str(error))
    output = log_output.LogOutput(err, asked["log_format"], access=asked["access_log"])
    stop, hang_up = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        if not stop.is_set():
            stop.set()
            last = threading.Timer(STOP_S, _end_now)
            last.daemon = True
            last.start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    if not sys.stdin.isatty():  # otherwise the signal says that the terminal is gone
        signal.signal(signal.SIGHUP, lambda *_: hang_up.set())
    try:
        for sentence in check_exposure(
            asked["host"],
            asked["public_url"],
            options["token"],
            own_broker=asked["broker"] is None and not asked["sign_in"],
        ):
            warn(sentence)
        with Cloud(**options) as running:
            _say_where(running, asked)
            while not stop.wait(0.2):
                running.wait(0)
                output.tell()
                if hang_up.is_set():
                    hang_up.clear()
                    asked = cloud_reload.reload(ctx, asked, running)
    except CloudError as error:
        fail(str(error))
    finally:
        output.tell(all_of_them=True)


def _say_where(running: Cloud, asked: Mapping[str, Any]) -> None:
    if asked["as_json"]:
        print_json(
            {
                "api_url": running.api_url,
                "public_url": running.public_url,
                "console_url": running.console_url,
                "mqtt_host": running.mqtt_host,
                "mqtt_port": running.mqtt_port,
                "psk_port": running.psk_port,
                "channels": running.channel_urls,
                "data": str(running.folder),
                "set_up_url": running.set_up_url,
            }
        )
        return
    if not running.settings.process.serves_people:
        say(f"MQTT   {running.mqtt_host}:{running.mqtt_port}, reports from RabbitMQ")
        say(f"HTTP   {running.api_url}, only /healthz, /readyz and /metrics")
        return
    say(f"MQTT   {running.mqtt_host}:{running.mqtt_port}")
    if running.psk_port is not None:
        say(f"MQTT   {running.mqtt_host}:{running.psk_port}, TLS with secrets as keys")
    say(f"HTTP   {running.api_url}, for devices {running.public_url}")
    for url in running.channel_urls:
        say(f"channel  {url}")
    if asked["ddi"] is not None:
        say(f"DDI    {running.public_url}, tenant {asked['ddi']}")
    say(f"data   {running.folder}")
    if asked["store"] is not None:
        say(f"store  {asked['store']}")
    first = running.set_up_url
    say(f"console  {first or running.console_url}")
    if first:
        say("         (one-time link: the first visitor creates the first user)")
    say("Ctrl-C stops the cloud. `ivota devices` and `ivota watch` show the devices.")
    from ..cloud.accounts.tokens import LOCAL_TOKEN

    exports = [] if running.api_url == DEFAULT_URL else [f"IVOTA_URL={running.api_url}"]
    if running.folder.absolute() != default_data().absolute():
        exports.append(f"IVOTA_TOKEN=$(cat {shlex.quote(str(running.folder / LOCAL_TOKEN))})")
    if exports:
        say(f"To use these commands, first run: export {' '.join(exports)}")


def _end_now() -> None:
    """Exit immediately. The broker still has the reports that are not stored, because they were
    not acknowledged.
    """
    with contextlib.suppress(OSError):
        os.write(2, b"ivota: the cloud did not stop in time; forcing it to exit\n")
    os._exit(1)
