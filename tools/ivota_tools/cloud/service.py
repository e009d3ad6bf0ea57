"""The whole cloud in one object: broker, MQTT session, report worker, database and HTTP."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ..api_client import local_socket
from ..toolchain import ToolchainError
from . import storage_probe
from .access_log import AccessLog
from .accounts import audit_log, users
from .accounts.authorization import guard
from .accounts.guess_delay import WrongTries
from .accounts.identity_provider import IdentityProvider
from .accounts.roles import ADMIN
from .accounts.tokens import check_token, local_token
from .address_classes import Networks, without_usual_port
from .api import audit_log as api_audit_log
from .api import campaigns, ddi_tokens, devices, enrollment, groups, tokens
from .api import routes as core_routes
from .api import users as api_users
from .api import webhooks as api_webhooks
from .board_config import BoardConfig
from .cloud_error import CloudError
from .connection_limit import Room, Table, room
from .ddi import controller_routes
from .ddi.actions import Rules as DdiRules
from .downloads import endpoint, signed_urls
from .event_stream import Places
from .home_assistant.entity_sync import MODES as HOME_ASSISTANT
from .home_assistant.entity_sync import EntitySync
from .http_protocol import Deadlines
from .http_server import Server, Split, make_app
from .metrics import scrape
from .metrics.measurements import Measurements
from .metrics.request_metrics import Counted
from .mqtt.cloud_session import Address, MqttSession
from .mqtt.device_budget import Budget
from .mqtt.device_certificates import DeviceCertificates
from .mqtt.device_sign_in import Credentials
from .mqtt.mosquitto_process import Broker
from .mqtt.psk_tls import Find, PskContext
from .mqtt.report_worker import Intake
from .mqtt.sign_in_proxy import Front
from .mqtt.topic_prefix import OWN as OWN_PREFIX
from .mqtt.topic_prefix import TopicPrefix
from .pages.app import make_pages
from .pages.page_visit import Setting
from .pages.security_headers import API, Secured
from .request_admission import Admission, Door
from .rollout import campaign_counts
from .rollout.assignment import touch
from .rollout.assignment_states import BackOff
from .rollout.delta_maker import DeltaMaker
from .rollout.wait_reason import PUBLIC_URL
from .storage_probe import Health, Probe
from .store.backup import SQLITE
from .store.database import Database
from .store.firmware_store import chip_of, remove_leftovers, stored
from .store.folder_lock import Alone
from .store.folder_match import expect_own
from .store.leader_lock import Leader
from .store.models import Device, Firmware
from .store.models import Setting as Stored
from .store.retention import Keep
from .tls_certificate import Certificate
from .webhooks import outbox
from .webhooks.sender import WebhookSender
from .webhooks.targets import Webhooks

log = logging.getLogger("ivota.cloud")

HOST = "127.0.0.1"
URL_TTL_S = 3600.0
STREAMS_MOST = 100  # event streams: each queries the database several times a second
UPLOAD_MOST = 64 * 1024 * 1024  # bytes
PUBLIC_URL_MOST = 800  # characters; clients keep URLs of less than 1,000


class Cloud:
    """`with Cloud(folder) as cloud: …`, or `start()` and `stop()`.

    folder        data directory; created if it does not exist
    database      postgresql://… instead of a file in the folder. Several processes can share it
                  and the folder: one processes reports, the others stand by
    mqtt_port, http_port   0 chooses a free port; the attribute of that name then contains it
    host          address of the broker and of HTTP
    broker        an external broker instead of the built-in one: "host:port", or a URL such as
                  "mqtts://user:password@host:port"
    broker_password  replaces the one in `broker`; not decoded
    psk_port      port for devices that use their secret as TLS pre-shared key; 0 chooses a free
                  port. With `certificate`, it can be the same as `mqtt_port`
    device_ca     for each product, the file of the CA for client certificates
    device_crl    files of revocation lists
    sign_in       devices must sign in at the built-in broker
    certificate   HTTP and the built-in broker use only TLS
    public_url    URL at which devices reach `http_port`; can be set while running
    url_ttl_s     lifetime of a pre-signed URL
    keep_s        delete reports, pushes, version changes and finished attempts after this time;
                  None keeps them all
    keep_audit_s  the same for entries of the audit log
    push_qos      QoS of pushes; responses have QoS 0, like all messages of the vendor's cloud
    token         API requests must carry it; without a token only this machine has access
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
    home_assistant  "view", "install" or "remove": entities on the broker
    """

    def __init__(
        self,
        folder: Path,
        *,
        mqtt_port: int = 0,
        http_port: int = 0,
        host: str = HOST,
        broker: str | None = None,
        broker_password: str | None = None,
        database: str | None = None,
        sign_in: bool = False,
        psk_port: int | None = None,
        device_ca: Mapping[str, Path] | None = None,
        device_crl: Sequence[Path] = (),
        certificate: Certificate | None = None,
        public_url: str | None = None,
        url_ttl_s: float = URL_TTL_S,
        keep_s: float | None = None,
        keep_audit_s: float | None = None,
        push_qos: int = 1,
        back_off: BackOff = BackOff(),  # noqa: B008 (immutable)
        token: str | None = None,
        upload_most: int = UPLOAD_MOST,
        devices_most: int | None = None,
        plain_console: bool = False,
        trusted_proxies: Collection[str] = (),
        deadlines: Deadlines = Deadlines(),  # noqa: B008 (immutable)
        room: Room | None = None,
        budget: Budget = Budget(),  # noqa: B008 (immutable)
        accept_all: bool = True,
        topic_prefix: str = OWN_PREFIX,
        make_deltas: bool = True,
        webhooks: Sequence[str] = (),
        webhook_secret: str | None = None,
        provider: IdentityProvider | None = None,
        ddi: controller_routes.Setting | None = None,
        home_assistant: str | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.host = host
        self.mqtt_host, self.mqtt_port = host, mqtt_port
        self.http_port = http_port
        self._certificate = certificate
        self.url_ttl_s = url_ttl_s
        self.failure: str | None = None
        self._external = None if broker is None else Address.read(broker)
        if self._external and broker_password is not None:
            self._external = self._external.with_password(broker_password)
        if self._external:
            self.mqtt_host, self.mqtt_port = self._external.host, self._external.port
        if self._external and sign_in:
            raise CloudError(
                "--sign-in needs the built-in broker: configure sign-in on your own broker"
            )
        if psk_port is not None and not sign_in:
            raise CloudError("--psk-port needs --sign-in")
        if device_ca and not (sign_in and certificate):
            raise CloudError("--device-ca needs --sign-in, --tls-cert and --tls-key")
        if device_crl and not device_ca:
            raise CloudError("--device-crl needs --device-ca")
        self._device_certificates = (
            DeviceCertificates(device_ca, device_crl) if device_ca else None
        )
        self.psk_port = psk_port
        if token is not None:
            check_token(token)
        self._sign_in, self._database_url = sign_in, database
        self._database: Database | None = None
        self._public_url: str | None = None
        if public_url is not None:
            self.public_url = public_url
        self._push_qos, self._back_off = push_qos, back_off
        self._keep = Keep(keep_s, keep_audit_s)
        self._token, self._upload_most = token, upload_most
        self._plain_console = plain_console
        self._budget, self._accept_all = budget, accept_all
        self._make_deltas = make_deltas
        self._webhooks = Webhooks.of(tuple(webhooks), webhook_secret)
        self._webhook_sender: WebhookSender | None = None
        self._make_deltas, self._provider = make_deltas, provider
        if ddi and not controller_routes.TENANT.fullmatch(ddi.tenant):
            raise CloudError(
                f"--ddi {ddi.tenant!r} is not a valid tenant: use up to 64 letters, digits, and "
                "._- after the first"
            )
        self._ddi = ddi
        if home_assistant not in (None, *HOME_ASSISTANT):
            raise CloudError("--home-assistant must be view, install or remove")
        if home_assistant and sign_in:
            raise CloudError(
                "--home-assistant needs a broker that both can use: with --sign-in, "
                "the built-in broker is only for devices, so use your own with --broker"
            )
        self._home_assistant = home_assistant
        self._entities: EntitySync | None = None
        self._deltas: DeltaMaker | None = None
        try:
            self._trusted_proxies = Networks(trusted_proxies)
        except ValueError as error:
            raise CloudError(f"--trusted-proxy needs an address or a network: {error}") from None
        self._deadlines, self._room, self._devices_most = deadlines, room, devices_most
        self._prefix = TopicPrefix(topic_prefix)
        self._pages: Setting | None = None
        self._measurements = Measurements()
        self._refusals = {
            of: WrongTries(what, self._note_refusals(action))
            for of, what, action in (
                ("token", "a token of the API", "token refused"),
                ("console", "a sign-in to the console", "sign-in refused"),
                ("device", "sign-in of devices", "device sign-in refused"),
                ("ddi", "a token of DDI", "ddi token refused"),
            )
        }
        self._failed = threading.Event()
        self._probe: Probe | None = None
        self._secret = b""
        self._alone: Alone | None = None
        self._broker: Broker | None = None
        self._console: str | None = None  # our user name at the broker behind the proxy
        self._server: Server | None = None
        self._session: MqttSession | None = None
        self._intake: Intake | None = None
        self._front: Front | None = None
        self._leader: Leader | None = None
        self._client_id = ""
        self._one_port = False  # for keys and for certificates
        self._known: Find = lambda identity: None

    @property
    def api_url(self) -> str:
        """The URL of the API for this machine."""
        scheme = "https" if self._certificate else "http"
        host = HOST if _is_any(self.host) else _bracket(self.host)
        return without_usual_port(f"{scheme}://{host}:{self.http_port}")

    @property
    def public_url(self) -> str:
        """The URL at which devices reach HTTP: the prefix of every firmware URL."""
        return self._public_url or self.api_url

    @public_url.setter
    def public_url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise CloudError(
                f"{url!r} is not a valid URL: use one such as http://192.168.1.10:8123"
            )
        # Quotes and backslashes are escaped in a push, and some clients leave escapes as they are.
        if len(url) > PUBLIC_URL_MOST or not url.isascii() or re.search(r'[^!-~]|["\\]', url):
            raise CloudError(
                f"a public URL must have at most {PUBLIC_URL_MOST} printable ASCII characters, "
                "without quotes"
            )
        if self._certificate and parts.scheme == "http":
            raise CloudError(f"with a certificate, devices need an https:// URL, not {url!r}")
        self._public_url = without_usual_port(url.rstrip("/"))
        self._note_public_url()

    def _note_public_url(self) -> None:
        """Store the URL, so that every process can name it when devices cannot reach it."""
        if self._database:
            with self._database.writing() as session:
                session.merge(Stored(name=PUBLIC_URL, value=self.public_url[:256]))

    @property
    def database(self) -> Database:
        """The database; available while the cloud is running."""
        if self._database is None:
            raise CloudError("the cloud is not running")
        return self._database

    @property
    def set_up_url(self) -> str | None:
        """The URL to create the first console user, or None if a user exists."""
        if self._database is None or self._pages is None:
            return None
        with self._database.reading() as session:
            if users.any_user(session):
                return None
        return f"{self.api_url}/set-up/{self._pages.set_up_key()}"

    def start(self) -> None:
        """Start all parts and wait until they are ready. Raises CloudError after cleaning up."""
        try:
            self._start()
        except ToolchainError as error:
            self.stop()
            raise CloudError(str(error)) from error
        except OSError as error:
            self.stop()
            advice = "choose another data directory with --data"
            if (self.folder / SQLITE).exists():  # elsewhere, the fleet would be missing
                advice = "let this user write the data directory and its files"
            raise CloudError(f"cannot store data in {self.folder} ({error}): {advice}") from error
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._database_url is None:
            self._alone = Alone(self.folder)
        firmware = self.folder / "firmware"
        firmware.mkdir(mode=0o700, exist_ok=True)
        remove_leftovers(firmware, time.time())
        self._database = database = Database(self._database_url or self.folder / "ivota.db")
        expect_own(database, self.folder, firmware)
        database.watch(outbox.WatchedSession, {outbox.INFO: self._webhooks})
        self._probe = Probe(database)
        self._secret = bytes.fromhex(database.setting("url_secret", lambda: secrets.token_hex(32)))
        self._client_id = database.setting("mqtt_session", lambda: f"ivota-{secrets.token_hex(4)}")
        self._room = self._room or room(self._devices_most)
        self._server = Server(
            self.host,
            self.http_port,
            self._certificate,
            most=self._room.http,
            trusted=self._trusted_proxies,
            deadlines=self._deadlines,
        )
        if self._certificate:
            self._certificate.warn_if_old()
        self.http_port = self._server.port
        self._note_public_url()
        if not self._external:
            self._start_broker(database)
        self._leader = Leader(database, self._take_in, self._let_go)
        self._leader.start()
        if not self._leader.leads and not self._external:
            raise CloudError(
                "another process is processing the reports of this database: start both with "
                "the same --broker"
            )
        local = local_token(self.folder)
        may = guard(self._token, database, local=local)
        may_admin = guard(self._token, database, ADMIN, local)
        streams = Places(min(max(self._room.http // 4, 8), STREAMS_MOST))
        self._pages = Setting(
            database=database,
            folder=firmware,
            secret=self._secret,
            wake=self._wake,
            health=self._health,
            boards=BoardConfig(
                self._mqtt_for_boards,
                self._certificate is not None,
                self._prefix.text,
                self._sign_in,
            ),
            public_url=lambda: self.public_url,
            plain=self._plain_console,
            upload_most=self._upload_most,
            streams=streams,
            tries=self._refusals["console"],
            provider=self._provider,
        )
        programme = make_app(
            storage_probe.routes(self._checked_health),
            endpoint.routes(database, firmware, self._secret),
            core_routes.routes(
                database,
                firmware,
                wake=self._wake,
                health=self._checked_health,
                may=may,
                upload_most=self._upload_most,
                streams=streams,
            ),
            devices.routes(database, wake=self._wake, may=may),
            enrollment.routes(database, boards=self._pages.boards, may=may),
            groups.routes(database, may=may),
            campaigns.routes(database, wake=self._wake, may=may),
            tokens.routes(database, may=may, may_admin=may_admin),
            api_webhooks.routes(database, self._webhooks, may=may, may_admin=may_admin),
            api_audit_log.routes(database, may=may),
            api_users.routes(database, may_admin=may_admin),
            scrape.routes(self._measurements, self._scraped(database), may=may),
            ddi_tokens.routes(database, may=may),
            *self._ddi_routes(database, firmware),
        )
        pages = make_pages(self._pages)
        tries = self._refusals["token"]
        doors = [Door("/api/", may, tries), Door("/metrics", may, tries)]
        doors += self._ddi_doors(database)
        own = tuple(door.prefix for door in doors)
        admission = Admission(
            Split(programme, pages, own), doors, self._upload_most, self._deadlines
        )
        secured = Secured(admission, API, ("/api/", *own[2:]))
        self._server.start(
            AccessLog(Counted(secured, self._measurements, pages.routes)),
            local_socket(self.folder, self.http_port),
        )

    def _ddi_routes(self, database: Database, firmware: Path) -> list[APIRouter]:
        if self._ddi is None:
            return []
        rules = DdiRules(self._back_off, self._accept_all, self._ddi.confirm)
        return [
            controller_routes.routes(
                database, firmware, self._ddi, rules, public_url=lambda: self.public_url
            )
        ]

    def _ddi_doors(self, database: Database) -> list[Door]:
        if self._ddi is None:
            return []
        may = controller_routes.authorize(database, self._ddi)
        return [Door(self._ddi.prefix, may, self._refusals["ddi"])]

    def _scraped(self, database: Database) -> scrape.Sources:
        assert self._server
        certificate = self._certificate
        return scrape.Sources(
            database=database,
            folder=self.folder,
            health=self._checked_health,
            intake=lambda: self._intake,
            tables={"http": self._server.table}
            | ({"mqtt": self._front.table} if self._front else {}),
            refusals=self._refusals,
            expires=lambda: {"tls": certificate.expires()} if certificate else {},
        )

    def _start_broker(self, database: Database) -> None:
        place = self.folder / "mosquitto"
        if not self._sign_in:
            self._broker = Broker(
                place, self.host, self.mqtt_port, self._fail, certificate=self._certificate
            )
            self._broker.start()
            self.mqtt_port = self._broker.port
            return
        # The broker does not authenticate: it listens on a Unix socket behind the sign-in proxy.
        assert self._room
        self._console = f"console-{secrets.token_hex(16)}"
        trusted = self._device_certificates
        credentials = Credentials(database, trusted)
        tls = self._certificate.context() if self._certificate else None
        if trusted and tls:
            trusted.trust(tls)
        self._known = credentials.known
        self._one_port = self._certificate is not None and 0 != self.psk_port == self.mqtt_port
        psk = None if self.psk_port is None else self._psk_context()
        self._front = Front(
            self.host,
            self.mqtt_port,
            credentials,
            self._refusals["device"],
            tls=tls,
            psk=psk,
            psk_port=None if self._one_port else self.psk_port,
            table=Table(self._room.mqtt, self._trusted_proxies),
            budget=self._budget,
            prefix=self._prefix,
            full=lambda: self._intake is not None and self._intake.is_full,
            on_flood=self._note_flood,
        )
        self.mqtt_port, self.psk_port = self._front.port, self._front.psk_port
        self._broker = Broker(
            place, None, 0, self._fail, console=self._console, prefix=self._prefix
        )
        self._broker.start()
        self._front.start(self._broker.path)

    def _psk_context(self) -> PskContext:
        trusted = self._device_certificates
        return PskContext(
            self._known,
            self._certificate if self._one_port else None,
            trusted.files if trusted else (),
        )

    def _note_refusals(self, action: str) -> Callable[[str, int], None]:
        """Return a function that records rejected sign-ins in the audit log."""

        def note(address: str, count: int) -> None:
            with contextlib.suppress(SQLAlchemyError), self.database.writing() as session:
                audit_log.note(session, audit_log.ENGINE, action, address, times=count)

        return note

    def _note_flood(self, name: str) -> None:
        product_id, _, device_name = name.partition("/")
        found = select(Device).where(
            Device.product_id == product_id, Device.device_name == device_name
        )
        with contextlib.suppress(SQLAlchemyError), self.database.writing() as session:
            if device := session.scalar(found):
                device.flooded_at = time.time()
                touch(session, device)

    def _take_in(self) -> None:
        """Start processing reports and pushing. Raises CloudError."""
        assert self._database
        where = self._external
        if where is None:
            assert self._broker
            where = Address("", 1883, self._console, path=str(self._broker.path))
        if wrong := campaign_counts.repair(self._database):
            log.warning("corrected the numbers of devices of campaigns %s", wrong)
        self._intake = Intake(
            self._database,
            self._url_of,
            self._back_off,
            self._push_qos,
            self._fail,
            self._keep,
            self._chip_of,
            self._accept_all,
            self._measurements,
        )
        self._session = MqttSession(where, self._client_id, self._intake.put, self._prefix)
        if self._home_assistant:
            self._entities = EntitySync(
                self._database,
                self._client_id,
                self._home_assistant,
                functools.partial(self._session.publish, qos=1, retain=True),
                lambda: self.public_url,
                self._wake,
            )
            self._session.listener = self._entities
        if self._make_deltas:
            self._deltas = DeltaMaker(self._database, self.folder / "firmware")
            self._deltas.start()
        if self._webhooks.targets:
            certificate = self._certificate
            self._webhook_sender = WebhookSender(
                self._database,
                self._webhooks,
                self.folder,
                lambda: certificate.expires() if certificate else None,
            )
            self._webhook_sender.start()
        self._intake.start(self._session)
        self._session.start()
        if self._entities:
            self._entities.start()

    def _let_go(self) -> None:
        """Stop processing reports; the broker keeps unacknowledged ones for the next process."""
        intake, session, deltas = self._intake, self._session, self._deltas
        self._intake = self._session = self._deltas = None
        if sender := self._webhook_sender:
            self._webhook_sender = None
            sender.stop()
        if deltas:
            deltas.stop()
        if entities := self._entities:
            self._entities = None
            entities.stop()
        if intake:
            intake.stop()
        if session:
            session.stop()

    def _wake(self) -> None:
        if intake := self._intake:  # another process notices on its own
            intake.wake()

    def stop(self) -> None:
        """Stop all parts and wait for them; can be called repeatedly."""
        if self._leader:
            self._leader.stop()
        self._let_go()
        if self._front:
            self._front.stop()
        if self._broker:
            self._broker.stop()
        if self._server:
            self._server.stop()
        if self._database:
            self._database.close()
        if self._alone:
            self._alone.close()
        self._front = self._broker = self._server = self._database = self._leader = None
        self._alone = None

    def reload_certificate(self) -> None:
        """Read the certificate's files again, for connections that follow.

        Raises CloudError if they are not valid, and continues with the old certificate.
        """
        certificate = self._certificate
        if certificate is None:
            return
        certificate.context()
        certificate.warn_if_old()
        if self._server:
            self._server.reload(certificate)
        if self._front:
            self._front.reload(certificate, self._psk_context() if self._one_port else None)
        elif self._broker:
            self._broker.reload()

    def set_keep(self, keep_s: float | None, keep_audit_s: float | None) -> None:
        """Set how long rows are kept; see the class."""
        self._keep = Keep(keep_s, keep_audit_s)
        if self._intake:
            self._intake.keep = self._keep

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for `timeout_s`; raise CloudError as soon as a part fails."""
        if self._failed.wait(timeout_s):
            raise CloudError(self.failure or "the cloud has failed")

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url_of(self, firmware: Firmware) -> str:
        expires = math.ceil(time.time() + self.url_ttl_s)
        return signed_urls.make_url(self.public_url, self._secret, firmware.id, expires)

    def _chip_of(self, firmware: Firmware) -> str | None:
        if firmware.kind != "esp32-image":
            return None
        return chip_of(stored(self.folder / "firmware", firmware.sha256))

    def _mqtt_for_boards(self) -> tuple[str, int]:
        """The MQTT settings for a board's configuration."""
        if self._external and not _is_any(self.mqtt_host):
            return self.mqtt_host, self.mqtt_port
        return urlsplit(self.public_url).hostname or self.mqtt_host, self.mqtt_port

    def _health(self) -> Health:
        """Return the health without a test write."""
        session, leader, intake = self._session, self._leader, self._intake
        standby = leader is not None and not leader.leads
        connected = session is not None and session.connected
        problem = self.failure
        if not standby:
            problem = problem or (intake.problem if intake else None)
            if not problem and not connected:
                problem = "lost the connection to the MQTT broker; reconnecting"
            if not problem and session and session.check.problem:
                problem = f"the MQTT broker loses messages: {session.check.problem}"
        return Health(problem, connected, standby)

    def _checked_health(self) -> Health:
        found = self._health()
        if found.problem is None and self._probe:
            found = found._replace(problem=self._probe.problem())
        return found

    def _fail(self, reason: str) -> None:
        log.error("%s", reason)
        self.failure = reason
        self._failed.set()


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
