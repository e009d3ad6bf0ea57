"""Define `ivota cloud`, `backup` and `restore`."""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..api_client import default_data
from ..common import log_output
from . import cloud_check, cloud_config, cloud_options, cloud_reload
from .terminal import AsJson, err, fail, print_json, say, warn

if TYPE_CHECKING:
    from ..cloud.store.backup import Copied

STOP_S = 8.0  # from a signal to a forced exit


class Action(str, enum.Enum):
    """What `ivota cloud` does instead of running."""

    CHECK = "check-config"


Data = Annotated[
    Path | None,
    typer.Option("--data", help="Data directory of the cloud (default: ~/.local/share/ivota)."),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="IVOTA_DATABASE",
        help="PostgreSQL URL (postgresql://…). Default: an SQLite file in the data directory.",
    ),
]


def cloud(
    ctx: typer.Context,
    action: Annotated[
        Action | None,
        typer.Argument(
            metavar="[check-config]",
            help="Check the configuration and show each setting with its source; start nothing.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="IVOTA_CONFIG",
            is_eager=True,
            callback=cloud_config.load,
            help="Configuration file (TOML). The environment and other options override it.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on (0.0.0.0 = all interfaces).")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="HTTP port (0 = any free port).")
    ] = 8123,
    mqtt_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="MQTT port (0 = any free port). Default: 1883, or 8883 with TLS.",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="IVOTA_BROKER",
            help="Use this external MQTT broker instead of the built-in one. Also accepts "
            "USER:PASSWORD@HOST:PORT, and mqtts://… for TLS.",
        ),
    ] = None,
    broker_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the password for --broker. Default: IVOTA_BROKER_PASSWORD.",
        ),
    ] = None,
    topic_prefix: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Replace $ota at the start of all topics, for brokers that drop topics with $.",
        ),
    ] = "$ota",
    data: Annotated[
        Path | None,
        typer.Option(help="Data directory (default: ~/.local/share/ivota)."),
    ] = None,
    database: DatabaseUrl = None,
    database_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the URL for --database and its password."),
    ] = None,
    sign_in: Annotated[
        bool, typer.Option("--sign-in", help="Require devices to sign in with their secret.")
    ] = False,
    accept: Annotated[
        str | None,
        typer.Option(
            metavar="all|none",
            help="Which new devices to accept automatically: all, or none, so that they stay "
            "pending. Default: all, or none with --sign-in.",
        ),
    ] = None,
    psk_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Port for devices that use their secret as the TLS key (TLS-PSK), usually 8883. "
            "With --tls-cert, it can be the same as --mqtt-port.",
        ),
    ] = None,
    device_ca: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRODUCT=FILE",
            help="CA (PEM) whose certificates devices of PRODUCT may sign in with; repeatable.",
        ),
    ] = None,
    device_crl: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Revocation list for --device-ca (PEM), reloaded when it changes; repeatable.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="TLS certificate to serve (PEM, full chain).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key of the TLS certificate (PEM).")
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="URL at which devices reach the HTTP port, for example http://192.168.1.10:8123.",
        ),
    ] = None,
    url_ttl: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Lifetime of a download URL.")
    ] = 3600,
    keep_reports: Annotated[
        str | None,
        typer.Option(
            help="Delete device reports and other device history after this time, for example "
            "90d. Default: never."
        ),
    ] = None,
    keep_audit: Annotated[
        str | None,
        typer.Option(help="Delete audit log entries after this time. Default: never."),
    ] = None,
    push_qos: Annotated[int, typer.Option(min=0, max=1, help="MQTT QoS of update messages.")] = 1,
    max_upload: Annotated[
        int, typer.Option(min=1, metavar="BYTES", help="Maximum size of a firmware file.")
    ] = 64 << 20,
    max_connected: Annotated[
        int | None,
        typer.Option(
            min=16,
            metavar="N",
            help="With --sign-in: the most devices connected at a time. By default, they may use "
            "half of the memory.",
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="IVOTA_TOKEN", help="Token that API requests must carry.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the token, in place of IVOTA_TOKEN."),
    ] = None,
    plain_console: Annotated[
        bool,
        typer.Option("--plain-console", help="Serve the console to other machines without TLS."),
    ] = False,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address or network of a reverse proxy whose X-Forwarded-For header to trust; "
            "repeatable. A proxy on this computer is always trusted.",
        ),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Send signed messages to this URL when a campaign ends or stops, when devices "
            "fail, when the disk is low, and before the certificate expires; repeatable.",
        ),
    ] = None,
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the secret that signs these messages."),
    ] = None,
    log_format: Annotated[
        str,
        typer.Option(metavar="text|json", help="Format of the log: a line for each event."),
    ] = "text",
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Also log each HTTP request.")
    ] = False,
    oidc_issuer: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Also let users sign in at this OpenID Connect provider, with --oidc-role.",
        ),
    ] = None,
    oidc_client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The console's client id at the provider.")
    ] = None,
    oidc_client_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the console's client secret at the provider.",
        ),
    ] = None,
    oidc_role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP=ROLE",
            help="Role of the users in a group of the provider: viewer, operator or admin; "
            "repeatable.",
        ),
    ] = None,
    oidc_groups_claim: Annotated[
        str, typer.Option(metavar="NAME", help="Claim that contains a user's groups.")
    ] = "groups",
    oidc_name_claim: Annotated[
        str, typer.Option(metavar="NAME", help="Claim that contains a user's name.")
    ] = "email",
    oidc_scope: Annotated[
        str, typer.Option(metavar="TEXT", help="Scopes to request from the provider.")
    ] = "openid profile email",
    home_assistant: Annotated[
        str | None,
        typer.Option(
            metavar="view|install|remove",
            help="Show each device in Home Assistant, through the broker; with install, its "
            "button updates the device. remove removes the entities.",
        ),
    ] = None,
    ddi: Annotated[
        str | None,
        typer.Option(
            metavar="TENANT",
            help="Serve SWUpdate, RAUC and other devices that poll by hawkBit's DDI, at "
            "/TENANT/controller/v1. TENANT is also their product.",
        ),
    ] = None,
    ddi_poll: Annotated[
        int,
        typer.Option(
            min=1, max=86399, metavar="SECONDS", help="How often DDI devices shall poll."
        ),
    ] = 300,
    ddi_confirm: Annotated[
        bool,
        typer.Option("--ddi-confirm", help="DDI devices must confirm each update before it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the cloud: MQTT broker, firmware downloads, console and API."""
    asked = dict(ctx.params)
    if action is Action.CHECK:
        return cloud_check.check(ctx, asked, as_json)
    # FastAPI and SQLAlchemy are slow to import, and the other commands need neither.
    with err.status("starting"):
        from ..cloud import Cloud, CloudError
        from ..cloud.accounts.authorization import check_exposure

    try:
        options = cloud_options.of_cloud(asked)
    except cloud_options.OptionError as error:
        fail(str(error))
    output = log_output.LogOutput(err, log_format, access=access_log)
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
            host, public_url, options["token"], own_broker=broker is None and not sign_in
        ):
            warn(sentence)
        with Cloud(**options) as running:
            if as_json:
                print_json(
                    {
                        "api_url": running.api_url,
                        "public_url": running.public_url,
                        "mqtt_host": running.mqtt_host,
                        "mqtt_port": running.mqtt_port,
                        "psk_port": running.psk_port,
                        "data": str(running.folder),
                        "set_up_url": running.set_up_url,
                    }
                )
            else:
                say(f"MQTT   {running.mqtt_host}:{running.mqtt_port}")
                if running.psk_port is not None:
                    say(f"MQTT   {running.mqtt_host}:{running.psk_port}, TLS with secrets as keys")
                say(f"HTTP   {running.api_url}, for devices {running.public_url}")
                if ddi is not None:
                    say(f"DDI    {running.public_url}, tenant {ddi}")
                say(f"data   {running.folder}")
                first = running.set_up_url
                say(f"console  {first or running.api_url}")
                if first:
                    say("         (one-time link: the first visitor creates the first user)")
                say("Ctrl-C stops the cloud. `ivota devices` and `ivota watch` show the devices.")
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


def _end_now() -> None:
    """Exit at once. Reports not stored yet were not acknowledged either: the broker has them."""
    with contextlib.suppress(OSError):
        os.write(2, b"ivota: the cloud did not stop in time: forcing it to exit\n")
    os._exit(1)


def backup(
    folder: Annotated[
        Path, typer.Argument(help="Destination folder; may contain an older backup.")
    ],
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Back up the cloud's database and firmware, even while the cloud is running."""
    with err.status("starting"):
        from ..cloud.store.backup import back_up

    _copy(lambda: back_up(data or default_data(), database, folder), "new firmware", as_json)


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder written by `ivota backup`.")],
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup; the cloud must be stopped."""
    with err.status("starting"):
        from ..cloud.store.backup import restore as put_back

    _copy(lambda: put_back(folder, data or default_data(), database), "firmware", as_json)


def _copy(copy: Callable[[], Copied], what: str, as_json: bool) -> None:
    from ..cloud import CloudError

    try:
        with err.status("copying"):
            done = copy()
    except CloudError as error:
        fail(str(error))
    if as_json:
        print_json(
            {"database": str(done.database), "firmware": done.firmware, "paused": done.paused}
        )
    else:
        say(f"{done.database}, and {done.firmware} {what} files")
        if done.paused:
            warn(
                "these campaigns were active in the backup and wait for you now: "
                + ", ".join(done.paused)
            )
