"""The options of `ivota cloud`, which are also the keys of its configuration file."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import cloud_config


def _option(metavar: str, help: str) -> Any:
    """Create an option whose value `--help` shows as `metavar`."""
    return typer.Option(metavar=metavar, help=help)


class Subcommand(str, enum.Enum):
    """What `ivota cloud` does instead of starting the cloud."""

    CHECK = "check-config"


Action = Annotated[
    Subcommand | None,
    typer.Argument(
        metavar="[check-config]",
        help="Only check the configuration, and show each setting with its source.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="IVOTA_CONFIG",
        is_eager=True,
        callback=cloud_config.load,
        help="Configuration file (TOML). The environment and other options override it.",
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen on (0.0.0.0 = all interfaces).")]
Port = Annotated[
    int, typer.Option(min=0, max=65535, metavar="PORT", help="HTTP port (0 = any free port).")
]
MqttPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        metavar="PORT",
        help="MQTT port (0 = any free port). Default: 1883, or 8883 with TLS.",
    ),
]
Broker = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="IVOTA_BROKER",
        help="Use this external MQTT broker instead of the built-in one. Also accepts "
        "USER:PASSWORD@HOST:PORT, mqtts://… for TLS, and amqp://… or amqps://… for RabbitMQ.",
    ),
]
BrokerPasswordFile = Annotated[
    Path | None,
    _option(
        "FILE",
        "File with the password for --broker. Default: the password in IVOTA_BROKER_PASSWORD.",
    ),
]
TopicPrefix = Annotated[
    str,
    _option(
        "TEXT",
        "Use this prefix instead of $ota in all topics, for brokers that block topics starting "
        "with $.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Data directory (default: ~/.local/share/ivota)."),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="IVOTA_DATABASE",
        help="PostgreSQL URL (postgresql://…). Default: an SQLite file in the data directory.",
    ),
]
DatabaseFile = Annotated[
    Path | None, _option("FILE", "File with the URL for --database, including the password.")
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="S3-URL",
        envvar="IVOTA_STORE",
        help="Keep firmware in this object store (s3://BUCKET/PREFIX) instead of the data "
        "directory. Endpoint, region and credentials come from AWS_… variables and files.",
    ),
]
StoreProxy = Annotated[
    bool,
    typer.Option(
        "--store-proxy",
        help="Serve downloads through the cloud, for devices that cannot reach the store.",
    ),
]
StoreUrl = Annotated[
    str | None, _option("URL", "URL of a CDN in front of the store, from which devices download.")
]
StoreKeyId = Annotated[
    str | None, _option("ID", "CloudFront's ID of the key in --store-key-file.")
]
StoreKeyFile = Annotated[
    Path | None, _option("FILE", "File with the private RSA key (PEM) that signs the CDN's URLs.")
]
SignIn = Annotated[
    bool, typer.Option("--sign-in", help="Require devices to sign in with their secret.")
]
Accept = Annotated[
    str | None,
    _option(
        "all|none",
        "all: accept new devices automatically. none: keep them pending until you accept them. "
        "Default: all, or none with --sign-in.",
    ),
]
PskPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        metavar="PORT",
        help="Port for devices that use their secret as the TLS key (TLS-PSK), usually 8883. "
        "With --tls-cert, it can be the same as --mqtt-port.",
    ),
]
DeviceCa = Annotated[
    list[str] | None,
    _option(
        "PRODUCT=FILE",
        "CA (PEM) that issues the sign-in certificates of PRODUCT's devices; repeatable.",
    ),
]
DeviceCrl = Annotated[
    list[Path] | None,
    _option(
        "FILE", "Revocation list for --device-ca (PEM), reloaded when it changes; repeatable."
    ),
]
TlsCert = Annotated[Path | None, typer.Option(help="TLS certificate to serve (PEM, full chain).")]
TlsKey = Annotated[Path | None, typer.Option(help="Private key of the TLS certificate (PEM).")]
PublicUrl = Annotated[
    str | None,
    _option(
        "URL", "URL at which devices reach the HTTP port, for example http://192.168.1.10:8123."
    ),
]
UrlTtl = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="Lifetime of a download URL.")
]
KeepReports = Annotated[
    str | None,
    typer.Option(
        help="Delete device reports and other device history after this time, for example "
        "90d. Default: never."
    ),
]
KeepAudit = Annotated[
    str | None,
    typer.Option(
        help="Delete audit log entries after this time, for example 365d. Default: never."
    ),
]
PushQos = Annotated[int, typer.Option(min=0, max=1, help="MQTT QoS of pushes.")]
MaxUpload = Annotated[
    int, typer.Option(min=1, metavar="BYTES", help="Maximum size of a firmware file.")
]
MaxConnected = Annotated[
    int | None,
    typer.Option(
        min=16,
        metavar="N",
        help="With --sign-in: maximum number of connected devices. Default: as many as fit in "
        "half of this machine's memory.",
    ),
]
Token = Annotated[
    str | None, typer.Option(envvar="IVOTA_TOKEN", help="Token that API requests must carry.")
]
TokenFile = Annotated[Path | None, _option("FILE", "File with the token, instead of IVOTA_TOKEN.")]
PlainConsole = Annotated[
    bool,
    typer.Option("--plain-console", help="Serve the console to other machines without TLS."),
]
TrustedProxy = Annotated[
    list[str] | None,
    _option(
        "ADDRESS",
        "Address or network of a reverse proxy whose X-Forwarded-For header the cloud "
        "trusts; repeatable. A proxy on this computer is always trusted.",
    ),
]
Webhook = Annotated[
    list[str] | None,
    _option(
        "URL",
        "Send signed messages to this URL when a campaign ends or stops, when devices "
        "fail, when disk space is low, and before the TLS certificate expires; repeatable.",
    ),
]
WebhookSecretFile = Annotated[
    Path | None, _option("FILE", "File with the secret that signs the webhook messages.")
]
LogFormat = Annotated[str, _option("text|json", "Format of the log lines.")]
AccessLog = Annotated[bool, typer.Option("--access-log", help="Also log each HTTP request.")]
OidcIssuer = Annotated[
    str | None,
    _option(
        "URL", "Also let users sign in with this OpenID Connect provider; requires --oidc-role."
    ),
]
OidcClientId = Annotated[str | None, _option("ID", "The console's client id at the provider.")]
OidcClientSecretFile = Annotated[
    Path | None, _option("FILE", "File with the console's client secret at the provider.")
]
OidcRole = Annotated[
    list[str] | None,
    _option(
        "GROUP=ROLE",
        "Role for users in this group of the provider: viewer, operator or admin; repeatable.",
    ),
]
OidcGroupsClaim = Annotated[str, _option("NAME", "Claim that contains a user's groups.")]
OidcNameClaim = Annotated[str, _option("NAME", "Claim that contains a user's name.")]
OidcScope = Annotated[str, _option("TEXT", "Scopes to request from the provider.")]
HomeAssistant = Annotated[
    str | None,
    _option(
        "view|install|remove",
        "Show each device in Home Assistant, through the broker. view: only show it; "
        "install: add a button that updates it; remove: delete the entities.",
    ),
]
Channel = Annotated[
    list[str] | None,
    _option(
        "PRODUCT=FILE",
        "Serve a channel of PRODUCT at /channel/PRODUCT/channel.json. The public key in FILE "
        "verifies the channel's signature. Repeatable.",
    ),
]
ChannelKey = Annotated[
    list[str] | None,
    _option(
        "PRODUCT=FILE",
        "Private key with which the cloud signs the index of PRODUCT's channel, so that it can "
        "offer uploaded firmware there; repeatable.",
    ),
]
Ddi = Annotated[
    str | None,
    _option(
        "TENANT",
        "Serve devices that poll through hawkBit's DDI, for example with SWUpdate or RAUC, at "
        "/TENANT/controller/v1. TENANT is also their product.",
    ),
]
DdiPoll = Annotated[
    int,
    typer.Option(min=1, max=86399, metavar="SECONDS", help="How often DDI devices should poll."),
]
DdiConfirm = Annotated[
    bool,
    typer.Option(
        "--ddi-confirm", help="Require DDI devices to confirm each update before they install it."
    ),
]
