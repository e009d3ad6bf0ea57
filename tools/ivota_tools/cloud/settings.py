"""The settings of a cloud, and checks that they don't contradict each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .accounts.identity_provider import IdentityProvider
from .accounts.tokens import check_token
from .amqp.address import AmqpAddress
from .channel.channel_files import ChannelSetting
from .cloud_error import CloudError
from .connection_limit import Room
from .ddi import controller_routes
from .home_assistant.entity_sync import MODES as HOME_ASSISTANT
from .http_deadlines import Deadlines
from .mqtt.device_budget import Budget
from .mqtt.topic_prefix import OWN as OWN_PREFIX
from .process_kind import ProcessKind
from .rollout.assignment_states import BackOff
from .store.download_urls import SECONDS_MOST
from .store.file_store_settings import StoreSettings
from .tls_certificate import Certificate

HOST = "127.0.0.1"
URL_TTL_S = 3600.0
UPLOAD_MOST = 64 * 1024 * 1024  # bytes


@dataclass(frozen=True)
class CloudSettings:
    """The keyword arguments of `Cloud`. Raises CloudError if they contradict each other.

    process       what this process does; the others share its database
    database      postgresql://… instead of a file in the folder. Several processes can share it
                  and the folder: one leads. With RabbitMQ all process reports, otherwise the
                  others stand by
    store         an object store in place of the folder's firmware files
    mqtt_port, http_port   0 chooses a free port; the attribute of that name then contains it
    host          address of the broker and of HTTP
    broker        an external broker instead of the built-in one: "host:port", or a URL such as
                  "mqtts://user:password@host:port". amqp:// and amqps:// are RabbitMQ; devices
                  then connect to its `mqtt_port`
    broker_password  replaces the one in `broker`; not decoded
    psk_port      port for devices that use their secret as TLS pre-shared key; 0 chooses a free
                  port. With `certificate`, it can be the same as `mqtt_port`
    device_ca     for each product, the file of the CA for client certificates
    device_crl    files of revocation lists
    sign_in       devices must sign in at the built-in broker, or at RabbitMQ
    certificate   HTTP and the built-in broker use only TLS
    public_url    URL at which devices reach `http_port`; can be set while running
    url_ttl_s     lifetime of a pre-signed URL
    keep_s        delete reports, pushes, version changes and finished attempts after this time;
                  None keeps them all
    keep_audit_s  the same for entries of the audit log
    push_qos      QoS of pushes; responses have QoS 0, like all messages of the vendor's cloud
    back_off      when a push is repeated
    token         API requests must carry it; without a token only this machine has access
    upload_most   maximum size of a firmware file, in bytes
    devices_most  with `sign_in`, the most devices connected at a time
    plain_console  serve the console's pages to other machines without TLS
    trusted_proxies  addresses of reverse proxies, which report the addresses of their clients
    deadlines     of HTTP connections
    accept_all    accept unknown devices; otherwise they are pending
    budget        what each device may send, with `sign_in`
    room          maximum number of connections; default: as many as the process may have
    topic_prefix  replaces `$ota` in all topics
    make_deltas   for running campaigns, from the versions that their devices run
    webhooks      URLs that get messages about campaigns, failed devices, disk and certificate
    webhook_secret  signs these messages
    provider      an identity provider that users can also sign in with
    ddi           serve devices that poll by hawkBit's DDI
    channels      to serve to boards that need no broker
    home_assistant  "view", "install" or "remove": entities on the broker
    """

    process: ProcessKind = ProcessKind.CLOUD
    mqtt_port: int = 0
    http_port: int = 0
    host: str = HOST
    broker: str | None = None
    broker_password: str | None = None
    database: str | None = None
    store: StoreSettings | None = None
    sign_in: bool = False
    psk_port: int | None = None
    device_ca: Mapping[str, Path] | None = None
    device_crl: Sequence[Path] = ()
    certificate: Certificate | None = None
    public_url: str | None = None
    url_ttl_s: float = URL_TTL_S
    keep_s: float | None = None
    keep_audit_s: float | None = None
    push_qos: int = 1
    back_off: BackOff = BackOff()
    token: str | None = None
    upload_most: int = UPLOAD_MOST
    devices_most: int | None = None
    plain_console: bool = False
    trusted_proxies: Collection[str] = ()
    deadlines: Deadlines = field(default_factory=Deadlines)
    room: Room | None = None
    budget: Budget = field(default_factory=Budget)
    accept_all: bool = True
    topic_prefix: str = OWN_PREFIX
    make_deltas: bool = True
    webhooks: Sequence[str] = ()
    webhook_secret: str | None = None
    provider: IdentityProvider | None = None
    ddi: controller_routes.Setting | None = None
    home_assistant: str | None = None
    channels: Sequence[ChannelSetting] = ()

    def __post_init__(self) -> None:
        rabbitmq = self.broker is not None and AmqpAddress.fits(self.broker)
        self.process.check(
            database=self.database,
            broker=self.broker,
            rabbitmq=rabbitmq,
            public_url=self.public_url,
        )
        if self.broker is not None and self.sign_in and not rabbitmq:
            raise CloudError(
                "--sign-in works only with the built-in broker or RabbitMQ: omit it, and "
                "configure sign-in on your own broker"
            )
        if self.psk_port is not None and not self.sign_in:
            raise CloudError("--psk-port needs --sign-in")
        if rabbitmq and (self.psk_port is not None or self.device_ca):
            raise CloudError("--psk-port and --device-ca need the built-in broker")
        if self.device_ca and not (self.sign_in and self.certificate):
            raise CloudError("--device-ca needs --sign-in, --tls-cert and --tls-key")
        if self.device_crl and not self.device_ca:
            raise CloudError("--device-crl needs --device-ca")
        if self.store and self.url_ttl_s > SECONDS_MOST and not self.store.cdn:
            raise CloudError(f"with --store, --url-ttl can be at most {SECONDS_MOST} s (7 days)")
        if self.token is not None:
            check_token(self.token)
        if self.ddi and not controller_routes.TENANT.fullmatch(self.ddi.tenant):
            raise CloudError(
                f"--ddi {self.ddi.tenant!r} is not a valid tenant: use up to 64 letters, digits, "
                "dots, - and _, and begin with a letter or digit"
            )
        if self.home_assistant not in (None, *HOME_ASSISTANT):
            raise CloudError("--home-assistant must be view, install or remove")
        if self.home_assistant and rabbitmq:
            raise CloudError("--home-assistant needs a broker with MQTT, not amqp://")
        if self.home_assistant and self.sign_in:
            raise CloudError(
                "with --sign-in, only devices can use the built-in broker: for --home-assistant, "
                "use your own broker with --broker"
            )
