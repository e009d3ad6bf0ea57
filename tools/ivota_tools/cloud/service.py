"""The whole cloud in one object: broker, MQTT session, report worker, database and HTTP."""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..common.api_connection import local_socket
from ..toolchain import ToolchainError
from .accounts import users
from .accounts.refusal_log import refusal_counts
from .accounts.tokens import LOCAL_TOKEN, local_token
from .amqp.address import AmqpAddress, read_address
from .amqp.broker_sign_in import BrokerSignIn
from .api.cloud_status import Addresses
from .board_config import BoardConfig
from .channel.channel_files import ServedChannel
from .cloud_error import CloudError
from .connection_limit import Room, room
from .downloads import signed_urls
from .downloads.signed_urls import DownloadUrl
from .fleet_worker import FleetWorker
from .health_probes import Health, Probe
from .http_application import http_application, monitoring_application
from .http_server import Server
from .metrics import scrape
from .metrics.activity_counters import Measurements
from .mqtt.cloud_session import Address
from .mqtt.device_certificates import DeviceCertificates
from .mqtt.device_sign_in import Credentials
from .mqtt.embedded_broker import EmbeddedBroker
from .mqtt.report_worker import Intake
from .mqtt.topic_prefix import TopicPrefix
from .network_addresses import Networks
from .pages.page_visit import Setting
from .public_url import bracket, checked_url, is_any, without_usual_port
from .rollout import restored_attempts
from .rollout.wait_reason import PUBLIC_URL
from .settings import HOST, CloudSettings
from .sse_response import Places
from .store import missing_chips
from .store.backup import SQLITE
from .store.database import Database
from .store.file_store import FileStore, StoreError
from .store.file_store_settings import open_store
from .store.folder_lock import Alone
from .store.leader_lock import Leader
from .store.models import Firmware
from .store.models import Setting as Stored
from .store.retention import Keep
from .store.store_ownership import expect_current, expect_own
from .webhooks import outbox
from .webhooks.webhook_settings import Webhooks

log = logging.getLogger("ivota.cloud")

STREAMS_MOST = 100  # event streams: each queries the database several times a second


class Cloud:
    """`with Cloud(folder) as cloud: …`, or `start()` and `stop()`.

    folder      data directory; created if it does not exist
    arguments   the fields of `CloudSettings`, all optional

    `mqtt_host`, `mqtt_port`, `psk_port` and `http_port` are where the cloud listens, and `failure`
    is the reason for which a part has ended. Raises CloudError if settings contradict each other.
    """

    def __init__(self, folder: Path, **arguments: Any) -> None:
        self.settings = settings = CloudSettings(**arguments)
        self.folder = folder.resolve()
        self.host = settings.host
        self.mqtt_host, self.mqtt_port = settings.host, settings.mqtt_port
        self.http_port, self.psk_port = settings.http_port, settings.psk_port
        self.url_ttl_s = settings.url_ttl_s  # of the URLs that follow
        self.failure: str | None = None
        self._external = external = read_address(settings.broker, settings.broker_password)
        if isinstance(external, Address):
            self.mqtt_host, self.mqtt_port = external.host, external.port
        elif external:
            self.mqtt_host = external.nodes[0][0]  # and the port is a setting
        self._device_certificates = (
            DeviceCertificates(settings.device_ca, settings.device_crl)
            if settings.device_ca
            else None
        )
        self._database: Database | None = None
        self._store: FileStore | None = None
        self._public_url: str | None = None
        if settings.public_url is not None:
            self.public_url = settings.public_url
        self._webhooks = Webhooks.of(tuple(settings.webhooks), settings.webhook_secret)
        try:
            self._trusted_proxies = Networks(settings.trusted_proxies)
        except ValueError as error:
            raise CloudError(f"--trusted-proxy needs an address or a network: {error}") from None
        self._prefix = TopicPrefix(settings.topic_prefix)
        self._channels = {
            each.product: ServedChannel(self.folder, each) for each in settings.channels
        }
        self._pages: Setting | None = None
        self._measurements = Measurements()
        self._refusals = refusal_counts(lambda: self.database)
        self._failed = threading.Event()
        self._probe: Probe | None = None
        self._secret = b""  # signs firmware URLs
        self._alone: Alone | None = None
        self._broker: EmbeddedBroker | None = None
        self._server: Server | None = None
        self._worker: FleetWorker | None = None
        self._leader: Leader | None = None

    @property
    def api_url(self) -> str:
        """The URL of the API for this machine."""
        scheme = "https" if self.settings.certificate else "http"
        host = HOST if is_any(self.host) else bracket(self.host)
        return without_usual_port(f"{scheme}://{host}:{self.http_port}")

    @property
    def public_url(self) -> str:
        """The URL at which devices reach HTTP: the prefix of every firmware URL."""
        return self._public_url or self.api_url

    @public_url.setter
    def public_url(self, url: str) -> None:
        self._public_url = checked_url(url, tls=self.settings.certificate is not None)
        self._note_public_url()

    def _note_public_url(self) -> None:
        """Store the URL, so that every process can show it when devices cannot reach it."""
        if self._database:
            with self._database.writing() as session:
                session.merge(Stored(name=PUBLIC_URL, value=self.public_url[:256]))

    @property
    def channel_urls(self) -> list[str]:
        """The URLs of the channels, for the configuration of boards."""
        return [each.url(self.public_url) for each in self._channels.values()]

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
        return f"{self.console_url}/set-up/{self._pages.set_up_key()}"

    @property
    def console_url(self) -> str:
        """The URL at which people reach the console: the public one, unless the console would
        reject its visitors for lack of TLS.
        """
        parts = urlsplit(self.public_url)
        admits = parts.scheme == "https" or self.settings.plain_console
        return self.public_url if admits and not parts.path else self.api_url

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
                advice = "let this user write to the data directory and its files"
            raise CloudError(f"cannot store data in {self.folder} ({error}): {advice}") from error
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        settings = self.settings
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.database is None:
            self._alone = Alone(self.folder)
        self._store = store = open_store(settings.store, self.folder)
        store.start()
        for channel in self._channels.values():
            channel.prepare()
        self._database = database = Database(settings.database or self.folder / "ivota.db")
        expect_current(database)
        try:
            expect_own(database, store)
        except StoreError as error:  # reports do not need the firmware
            log.error("%s", error)
        if not store.remote:
            with contextlib.suppress(OSError):  # a file that cannot be read: tried again later
                missing_chips.repair(database, store)
        if waiting := restored_attempts.forget_progress(database, time.time()):
            updates, whose = f"{waiting} updates are", "their devices"
            if waiting == 1:
                updates, whose = "1 update is", "its device"
            log.info("after a restore, %s waiting for a report from %s", updates, whose)
        database.watch(outbox.WatchedSession, {outbox.INFO: self._webhooks})
        self._probe = Probe(database)
        self._secret = bytes.fromhex(database.setting("url_secret", lambda: secrets.token_hex(32)))
        client_id = database.setting("mqtt_session", lambda: f"ivota-{secrets.token_hex(4)}")
        places = settings.room or room(settings.devices_most)
        self._server = Server(
            self.host,
            self.http_port,
            settings.certificate,
            most=places.http,
            trusted=self._trusted_proxies,
            deadlines=settings.deadlines,
        )
        if settings.certificate:
            settings.certificate.warn_if_old()
        self.http_port = self._server.port
        self._note_public_url()
        address = self._external or self._start_broker(database, places)
        if settings.process.takes_reports:
            self._worker = FleetWorker(
                self.folder,
                store,
                database,
                settings,
                address,
                client_id=client_id,
                url_of=self._url_of,
                webhooks=self._webhooks,
                measurements=self._measurements,
                public_url=lambda: self.public_url,
                fail=self._fail,
            )
            self._leader = Leader(database, self._worker.lead, self._worker.follow)
            self._worker.start()
            self._leader.start()
            if not self._leader.leads and not self._external:
                raise CloudError(
                    "another process is processing the reports of this database: start both with "
                    "the same --broker"
                )
        local = local_token(self.folder)
        sources = self._sources(database, self._server)
        if settings.process.serves_people:
            self._pages = self._page_setting(database, store, places)
            application = http_application(
                self._pages,
                settings,
                sources,
                addresses=self._addresses,
                local=local,
                refusals=self._refusals,
                measurements=self._measurements,
                url_ttl_s=lambda: self.url_ttl_s,
                broker=self._broker_sign_in(database),
            )
        else:
            application = monitoring_application(
                settings,
                sources,
                local=local,
                refusals=self._refusals,
                measurements=self._measurements,
            )
        self._server.start(application, local_socket(self.folder, self.http_port))

    def _page_setting(self, database: Database, store: FileStore, places: Room) -> Setting:
        settings = self.settings
        return Setting(
            database=database,
            store=store,
            local_token=self.folder / LOCAL_TOKEN,
            secret=self._secret,
            wake=self._wake,
            health=self._health,
            boards=BoardConfig(
                self._mqtt_for_boards,
                settings.certificate is not None,
                self._prefix.text,
                settings.sign_in,
            ),
            public_url=lambda: self.public_url,
            plain=settings.plain_console,
            upload_most=settings.upload_most,
            streams=Places(min(max(places.http // 4, 8), STREAMS_MOST)),
            tries=self._refusals["console"],
            provider=settings.provider,
            webhooks=self._webhooks,
            channels=self._channels,
        )

    def _wake(self) -> None:
        """Push now what is due. If another process leads, it notices within a moment."""
        if self._worker:
            self._worker.wake()

    def _broker_sign_in(self, database: Database) -> BrokerSignIn | None:
        """Return the object that answers RabbitMQ, and write RabbitMQ's settings to the data
        directory.
        """
        if not (self.settings.sign_in and isinstance(self._external, AmqpAddress)):
            return None
        virtual_host = self._external.virtual_host
        made = BrokerSignIn(Credentials(database), self._secret, self._prefix, virtual_host)
        path = made.write_settings(self.folder, self.public_url)
        log.info("wrote the settings with which RabbitMQ lets this cloud check sign-ins: %s", path)
        return made

    def _start_broker(self, database: Database, places: Room) -> Address:
        """Start the built-in broker, and return where this process reaches it."""
        self._broker = EmbeddedBroker(
            self.folder / "mosquitto",
            database,
            self.settings,
            port=self.mqtt_port,
            trusted=self._device_certificates,
            proxies=self._trusted_proxies,
            refused=self._refusals["device"],
            most=places.mqtt,
            full=self._is_full,
            on_end=self._fail,
        )
        self.mqtt_port, self.psk_port = self._broker.port, self._broker.psk_port
        self._broker.start()
        return self._broker.address

    def _is_full(self) -> bool:
        intake = self._intake()
        return intake is not None and intake.is_full

    def _intake(self) -> Intake | None:
        return self._worker.intake if self._worker else None

    def _sources(self, database: Database, server: Server) -> scrape.Sources:
        certificate = self.settings.certificate
        front = self._broker.front if self._broker else None
        return scrape.Sources(
            database=database,
            folder=self.folder,
            health=self._checked_health,
            intake=self._intake,
            leads=lambda: self._leader is not None and self._leader.leads,
            tables={"http": server.table} | ({"mqtt": front.table} if front else {}),
            refusals=self._refusals,
            expires=lambda: {"tls": certificate.expires()} if certificate else {},
        )

    def _broker_words(self) -> str | None:
        """Return the addresses of an external broker, without its password."""
        if isinstance(self._external, AmqpAddress):
            nodes = (f"{bracket(host)}:{port}" for host, port in self._external.nodes)
            return f"RabbitMQ at {', '.join(nodes)}"
        return f"{bracket(self.mqtt_host)}:{self.mqtt_port}" if self._external else None

    def _addresses(self) -> Addresses:
        return Addresses(
            api_url=self.api_url,
            public_url=self.public_url,
            console_url=self.console_url,
            http_port=self.http_port,
            mqtt_host=self.mqtt_host,
            mqtt_port=self.mqtt_port,
            psk_port=self.psk_port,
            broker=self._broker_words(),
            data=str(self.folder),
        )

    def stop(self) -> None:
        """Stop all parts and wait for them; can be called repeatedly."""
        if self._leader:
            self._leader.stop()
        if self._worker:
            self._worker.stop()
        if self._broker:
            self._broker.stop()
        if self._server:
            self._server.stop()
        if self._store:
            self._store.stop()
        if self._database:
            self._database.close()
        if self._alone:
            self._alone.close()
        self._broker = self._server = self._database = self._leader = self._store = None
        self._alone = self._worker = None

    def reload_certificate(self) -> None:
        """Read the certificate's files again, for new connections.

        If they are not valid, the old certificate stays in use. Raises CloudError.
        """
        certificate = self.settings.certificate
        if certificate is None:
            return
        certificate.context()
        certificate.warn_if_old()
        if self._server:
            self._server.reload(certificate)
        if self._broker:
            self._broker.reload(certificate)

    def set_keep(self, keep_s: float | None, keep_audit_s: float | None) -> None:
        """Set how long rows are kept; see `CloudSettings`."""
        if self._worker:
            self._worker.set_keep(Keep(keep_s, keep_audit_s))

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for `timeout_s`; raise CloudError as soon as a part fails."""
        if self._failed.wait(timeout_s):
            raise CloudError(self.failure or "the cloud has failed")

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url_of(self, firmware: Firmware, most: int) -> DownloadUrl:
        """Return a URL for devices that accept `most` characters: at the store, or at ours."""
        if self._store and (link := self._store.link(firmware.sha256, self.url_ttl_s)):
            if len(link) <= most:
                return DownloadUrl(link, True)
        expires = math.ceil(time.time() + self.url_ttl_s)
        own = signed_urls.make_url(self.public_url, self._secret, firmware.id, expires)
        return DownloadUrl(own, False)

    def _mqtt_for_boards(self) -> tuple[str, int]:
        """The MQTT settings for a board's configuration."""
        if self._external and not is_any(self.mqtt_host):
            return self.mqtt_host, self.mqtt_port
        return urlsplit(self.public_url).hostname or self.mqtt_host, self.mqtt_port

    def _health(self) -> Health:
        """Return the health without a test write."""
        worker, leader = self._worker, self._leader
        session, intake = (worker.session, worker.intake) if worker else (None, None)
        # With RabbitMQ, every process that can take reports does, whichever leads.
        standby = intake is None and not (leader and leader.leads)
        connected = session is not None and session.connected
        problem = self.failure
        if not standby:
            problem = problem or (intake.problem if intake else None)
            if not problem and not connected:
                problem = "lost the connection to the MQTT broker; reconnecting"
            if not problem and session and session.check.problem:
                problem = f"the MQTT broker loses messages: {session.check.problem}"
        return Health(problem, connected, standby, self._store.problem() if self._store else None)

    def _checked_health(self) -> Health:
        found = self._health()
        if found.problem is None and self._probe:
            found = found._replace(problem=self._probe.problem())
        return found

    def _fail(self, reason: str) -> None:
        log.error("%s", reason)
        self.failure = reason
        self._failed.set()
