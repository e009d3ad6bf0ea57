"""`ivota cloud`, `backup` and `restore`: wiring between the command line and the cloud itself."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.logging import RichHandler

from ..api_client import default_data
from ..common.log_filter import Bounded
from .terminal import AsJson, err, fail, print_json, say, span, warn

if TYPE_CHECKING:
    from ..cloud.store.backup import Copied

STOP_S = 8.0  # from a signal to the end, whatever hangs

Data = Annotated[
    Path | None,
    typer.Option("--data", help="The cloud's data folder; default ~/.local/share/ivota."),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database", envvar="IVOTA_DATABASE", help="postgresql://… instead of a file in --data."
    ),
]


def cloud(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: every one that this computer has.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="HTTP; 0: a free one.")
    ] = 8123,
    mqtt_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="MQTT; default 1883, with TLS 8883; 0: a free one.",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="IVOTA_BROKER",
            help="A broker to use instead of our own, also USER:PASSWORD@HOST:PORT, "
            "or with TLS mqtts://….",
        ),
    ] = None,
    broker_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where that broker's password stands; or in IVOTA_BROKER_PASSWORD.",
        ),
    ] = None,
    topic_prefix: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What topics begin with, for brokers that drop $ota."),
    ] = "$ota",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder for all that is kept; default ~/.local/share/ivota."),
    ] = None,
    database: DatabaseUrl = None,
    sign_in: Annotated[
        bool, typer.Option("--sign-in", help="Devices must sign in with their secret.")
    ] = False,
    accept: Annotated[
        str | None,
        typer.Option(
            metavar="all|none",
            help="Which new devices are part of the fleet at once; the others are pending. "
            "Default: all, with --sign-in none.",
        ),
    ] = None,
    psk_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Also serve devices over TLS with their secret as the key (TLS-PSK); 8883 is "
            "usual. May be that of MQTT with --tls-cert.",
        ),
    ] = None,
    device_ca: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRODUCT=FILE",
            help="Let devices of the product sign in with certificates by this authority (PEM).",
        ),
    ] = None,
    device_crl: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A list of revoked ones (PEM); read again if changed."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Speak TLS with this certificate (PEM, the whole chain).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="And its private key (PEM).")] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where devices reach the HTTP port, as in http://192.168.1.10:8123.",
        ),
    ] = None,
    url_ttl: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long a download URL is good.")
    ] = 3600,
    keep_reports: Annotated[
        str | None,
        typer.Option(
            help="Delete reports, and what else devices fill, after so long, as in 90d; "
            "default: never."
        ),
    ] = None,
    keep_audit: Annotated[
        str | None,
        typer.Option(help="Delete lines of the audit log after so long; default: never."),
    ] = None,
    push_qos: Annotated[int, typer.Option(min=0, max=1, help="QoS of pushes.")] = 1,
    max_upload: Annotated[
        int, typer.Option(min=1, metavar="BYTES", help="Size of a firmware, at most.")
    ] = 64 << 20,
    token: Annotated[
        str | None, typer.Option(envvar="IVOTA_TOKEN", help="What API requests must carry.")
    ] = None,
    plain_console: Annotated[
        bool,
        typer.Option("--plain-console", help="Show the console beyond this machine without TLS."),
    ] = False,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A reverse proxy, or a network of them, whose X-Forwarded-For is believed; "
            "repeatable. One on this computer needs no naming.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the cloud: MQTT broker, downloads, console, and their API."""
    # FastAPI and SQLAlchemy take their time; the other commands need neither.
    with err.status("starting"):
        from ..cloud import Certificate, Cloud, CloudError
        from ..cloud.accounts.authorization import check_exposure

    if (tls_cert is None) != (tls_key is None):
        fail("--tls-cert and --tls-key belong together: name both")
    if accept not in (None, "all", "none"):
        fail("--accept is all or none")
    certificate = Certificate(tls_cert, tls_key) if tls_cert and tls_key else None
    if mqtt_port is None:
        mqtt_port = 8883 if certificate else 1883

    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[_handler()],
    )
    logging.getLogger("ivota").setLevel(logging.INFO)
    keep_s = None if keep_reports is None else span(keep_reports)
    stop = threading.Event()

    def end(*_: object) -> None:
        if not stop.is_set():
            stop.set()
            last = threading.Timer(STOP_S, _end_now)
            last.daemon = True
            last.start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        for sentence in check_exposure(
            host, public_url, token, own_broker=broker is None and not sign_in
        ):
            warn(sentence)
        with Cloud(
            data or default_data(),
            mqtt_port=mqtt_port,
            http_port=port,
            host=host,
            broker=broker,
            broker_password=_broker_password(broker_password_file) if broker else None,
            topic_prefix=topic_prefix,
            database=database,
            sign_in=sign_in,
            psk_port=psk_port,
            device_ca=_authorities(device_ca or []),
            device_crl=device_crl or [],
            certificate=certificate,
            public_url=public_url,
            url_ttl_s=url_ttl,
            keep_s=keep_s,
            keep_audit_s=None if keep_audit is None else span(keep_audit),
            push_qos=push_qos,
            token=token,
            upload_most=max_upload,
            plain_console=plain_console,
            trusted_proxies=trusted_proxy or (),
            accept_all=(accept or ("none" if sign_in else "all")) == "all",
        ) as running:
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
                say(f"data   {running.folder}")
                first = running.set_up_url
                say(f"console  {first or running.api_url}")
                if first:
                    say("         (good once: whoever opens it first makes its first user)")
                say("Ctrl-C ends it. `ivota devices` and `ivota watch` show what it sees.")
            while not stop.wait(0.2):
                running.wait(0)
    except CloudError as error:
        fail(str(error))


def _handler() -> logging.Handler:
    made = RichHandler(console=err, show_path=False)
    made.addFilter(Bounded())
    return made


def _end_now() -> None:
    """What was not stored yet was not acknowledged either: the broker has it."""
    with contextlib.suppress(OSError):
        os.write(2, b"ivota: the cloud did not end in time: it is ended as it is\n")
    os._exit(1)


def _authorities(given: list[str]) -> dict[str, Path]:
    found = {}
    for each in given:
        product, equals, file = each.partition("=")
        if not equals or not file:
            fail(f"--device-ca {each!r} is not PRODUCT=FILE")
        if product in found:
            fail(f"--device-ca names {product!r} twice: put both authorities into one file")
        found[product] = Path(file)
    return found


def _broker_password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("IVOTA_BROKER_PASSWORD")
    try:
        return file.read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"the broker's password cannot be read from {file} ({error})")


def backup(
    folder: Annotated[Path, typer.Argument(help="Where to; may hold an older backup.")],
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Copy the cloud's database and firmware, also while it runs."""
    with err.status("starting"):
        from ..cloud.store.backup import back_up

    _copy(lambda: back_up(data or default_data(), database, folder), "new firmware", as_json)


def restore(
    folder: Annotated[Path, typer.Argument(help="What `ivota backup` has written.")],
    data: Data = None,
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup back; the cloud must not run meanwhile."""
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
        print_json({"database": str(done.database), "firmware": done.firmware})
    else:
        say(f"{done.database}, and {done.firmware} {what} files")
