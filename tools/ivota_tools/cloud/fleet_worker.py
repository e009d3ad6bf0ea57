"""Do the fleet's work in the process that leads: reports, pushes, deltas and messages."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path

from .amqp.address import AmqpAddress
from .cloud_error import CloudError
from .home_assistant.entity_sync import EntitySync
from .metrics.activity_counters import Measurements
from .mqtt.cloud_session import Address, MqttSession
from .mqtt.report_worker import Intake, Session
from .mqtt.topic_prefix import TopicPrefix
from .rollout import campaign_counts
from .rollout.delta_maker import DeltaMaker
from .rollout.push_sender import UrlOf
from .rollout.timed_work import TimedWork
from .settings import CloudSettings
from .store.database import Database
from .store.file_store import FileStore
from .store.file_sweep import FileSweeper
from .store.retention import Keep
from .webhooks.sender import WebhookSender
from .webhooks.webhook_settings import Webhooks

log = logging.getLogger("ivota.cloud")


class FleetWorker:
    """Takes reports from `start` to `stop`, and leads from `lead` to `follow`, repeatedly.

    With an MQTT broker, which cannot share the reports out, only the leading process takes them.
    `intake` and `session` are None while it takes none, `timed` is None while it does not lead.

    folder      the data directory
    store       the firmware files
    client_id   of the persistent session at the broker
    url_of      see `push_sender.push_due`
    public_url  returns the URL at which devices reach HTTP
    fail        called with a reason if a part ends
    """

    def __init__(
        self,
        folder: Path,
        store: FileStore,
        database: Database,
        settings: CloudSettings,
        broker: Address | AmqpAddress,
        *,
        client_id: str,
        url_of: UrlOf,
        webhooks: Webhooks,
        measurements: Measurements,
        public_url: Callable[[], str],
        fail: Callable[[str], None],
    ) -> None:
        self._folder, self._store = folder, store
        self._database, self._settings = database, settings
        self._broker, self.client_id, self._url_of = broker, client_id, url_of
        self._webhooks, self._measurements = webhooks, measurements
        self._public_url, self._fail = public_url, fail
        self._keep = Keep(settings.keep_s, settings.keep_audit_s)
        self.intake: Intake | None = None
        self.timed: TimedWork | None = None
        self.session: Session | None = None
        self._entities: EntitySync | None = None
        self._deltas: DeltaMaker | None = None
        self._sweeper: FileSweeper | None = None
        self._webhook_sender: WebhookSender | None = None

    def start(self) -> None:
        """Start processing reports, if several processes can. Raises CloudError."""
        if isinstance(self._broker, AmqpAddress):
            self._take_reports()

    def lead(self) -> None:
        """Start to push and to do what time brings. Raises CloudError."""
        database, settings = self._database, self._settings
        if wrong := campaign_counts.repair(database):
            log.warning("corrected the device counts of campaigns %s", wrong)
        self.timed = TimedWork(database, self._keep, settings.back_off.most_s, self._measurements)
        self._sweeper = FileSweeper(database, self._store)
        self._sweeper.start()
        if settings.make_deltas:
            self._deltas = DeltaMaker(database, self._store)
            self._deltas.start()
        if self._webhooks.targets:
            certificate = settings.certificate
            self._webhook_sender = WebhookSender(
                database,
                self._webhooks,
                self._folder,
                lambda: certificate.expires() if certificate else None,
            )
            self._webhook_sender.start()
        if self.intake:
            self.intake.timed = self.timed
            self.wake()
        else:
            self._take_reports()

    def _take_reports(self) -> None:
        settings = self._settings
        self.intake = Intake(
            self._database,
            self._url_of,
            settings.back_off,
            settings.push_qos,
            self._fail,
            self.timed,
            settings.accept_all,
            self._measurements,
        )
        self.session = session = self._make_session(self.intake)
        if settings.home_assistant:
            self._entities = EntitySync(
                self._database,
                self.client_id,
                settings.home_assistant,
                functools.partial(session.publish, qos=1, retain=True),
                self._public_url,
                self.wake,
            )
            session.listener = self._entities
        self.intake.start(session)
        session.start()
        if self._entities:
            self._entities.start()

    def _make_session(self, intake: Intake) -> Session:
        prefix = TopicPrefix(self._settings.topic_prefix)
        if isinstance(self._broker, Address):
            return MqttSession(self._broker, self.client_id, intake.put, prefix)
        try:
            from .amqp.report_session import ReportSession
        except ImportError:
            raise CloudError(
                "RabbitMQ needs a library: install it with pip install 'ivota[rabbitmq]'"
            ) from None
        return ReportSession(self._broker, self.client_id, intake.put, prefix)

    def follow(self) -> None:
        """Let another process lead."""
        deltas, sender, sweeper = self._deltas, self._webhook_sender, self._sweeper
        self.timed = self._deltas = self._webhook_sender = self._sweeper = None
        if self.intake:
            self.intake.timed = None
        for part in (sender, deltas, sweeper):
            if part:
                part.stop()
        if not isinstance(self._broker, AmqpAddress):
            self.stop()

    def stop(self) -> None:
        """Stop processing reports; the broker keeps unacknowledged ones for the next process."""
        intake, session, entities = self.intake, self.session, self._entities
        self.intake = self.session = self._entities = None
        for part in (entities, intake, session):
            if part:
                part.stop()

    def wake(self) -> None:
        """Send due pushes now. If another process leads, it notices them itself."""
        if intake := self.intake:
            intake.wake()

    def set_keep(self, keep: Keep) -> None:
        """Change how long rows are kept."""
        self._keep = keep
        if timed := self.timed:
            timed.keep = keep
