"""The built-in broker: mosquitto alone, or mosquitto behind the sign-in proxy."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ..accounts.token_guess_delay import WrongTries
from ..connection_limit import Table
from ..network_addresses import Networks
from ..rollout.assignment import touch
from ..settings import CloudSettings
from ..store.database import Database
from ..store.models import Device
from ..tls_certificate import Certificate
from .cloud_session import Address
from .device_certificates import DeviceCertificates
from .device_sign_in import Credentials
from .mosquitto_process import Broker
from .psk_tls import PskContext
from .sign_in_proxy import Front
from .topic_prefix import TopicPrefix


class EmbeddedBroker:
    """A broker that reserves `port` and `psk_port` immediately, and serves after `start()`.

    folder   mosquitto's own files
    refused  counts the refused sign-ins of devices
    most     maximum number of connections, with sign-in
    full     whether reports wait to be stored, so that devices must wait too
    on_end   called with a reason if the broker ends
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        settings: CloudSettings,
        *,
        port: int,
        trusted: DeviceCertificates | None,
        proxies: Networks,
        refused: WrongTries,
        most: int,
        full: Callable[[], bool],
        on_end: Callable[[str], None],
    ) -> None:
        self._database = database
        self._trusted = trusted
        self.front: Front | None = None
        self.port, self.psk_port = port, settings.psk_port
        certificate = settings.certificate
        self._user: str | None = None
        if not settings.sign_in:
            self.process = Broker(folder, settings.host, port, on_end, certificate=certificate)
            self.port = self.process.port
            return
        # mosquitto does not authenticate: it listens on a Unix socket behind the sign-in proxy.
        self._user = f"console-{secrets.token_hex(16)}"
        prefix = TopicPrefix(settings.topic_prefix)
        credentials = Credentials(database, trusted)
        tls = certificate.context() if certificate else None
        if trusted and tls:
            trusted.trust(tls)
        self._known = credentials.known
        # One port for keys and for certificates.
        self._one_port = certificate if 0 != self.psk_port == port else None
        self.front = Front(
            settings.host,
            port,
            credentials,
            refused,
            tls=tls,
            psk=None if self.psk_port is None else self._psk_context(),
            psk_port=None if self._one_port else self.psk_port,
            table=Table(most, proxies),
            budget=settings.budget,
            prefix=prefix,
            full=full,
            on_flood=self._note_flood,
        )
        self.port, self.psk_port = self.front.port, self.front.psk_port
        self.process = Broker(folder, None, 0, on_end, console=self._user, prefix=prefix)

    def start(self) -> None:
        """Wait until devices can connect. Raises CloudError, ToolchainError."""
        self.process.start()
        if self.front:
            self.front.start(self.process.path)

    @property
    def address(self) -> Address:
        """Return where this process reaches the broker, past the sign-in proxy."""
        return Address("", 1883, self._user, path=str(self.process.path))

    def reload(self, certificate: Certificate) -> None:
        """Use the certificate's new files for new connections."""
        if self.front:
            psk = self._psk_context() if self._one_port else None
            self.front.reload(certificate, psk)
        else:
            self.process.reload()

    def stop(self) -> None:
        """Stop it and wait; can be called repeatedly."""
        if self.front:
            self.front.stop()
        self.process.stop()

    def _psk_context(self) -> PskContext:
        return PskContext(
            self._known, self._one_port, self._trusted.files if self._trusted else ()
        )

    def _note_flood(self, name: str) -> None:
        product_id, _, device_name = name.partition("/")
        found = select(Device).where(
            Device.product_id == product_id, Device.device_name == device_name
        )
        with contextlib.suppress(SQLAlchemyError), self._database.writing() as session:
            if device := session.scalar(found):
                device.flooded_at = time.time()
                touch(session, device)
