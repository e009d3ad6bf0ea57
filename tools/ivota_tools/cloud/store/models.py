"""The cloud's tables. Times are Unix seconds (UTC) as floats, sizes are bytes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    WriteOnlyMapped,
    mapped_column,
    relationship,
    validates,
)

from ...common.version_order import key
from ..mqtt.messages import HARDWARE_MOST, MESSAGE_MOST, NAME_MOST, VERSION_MOST

TAG_MOST = 64  # characters
QUERY_MOST = 1024
USER_MOST = 64
MQTT, DDI = "mqtt", "ddi"
# The key of a table that devices keep filling. SQLite generates ids only for INTEGER, which has
# 64 bits there.
_Large = BigInteger().with_variant(Integer(), "sqlite")
# Text that sorts byte by byte, whatever the language of the database. SQLite always sorts so.
_Sorted = Text().with_variant(Text(collation="C"), "postgresql")


def _key_of_insert(context: Any) -> str | None:
    version = context.get_current_parameters().get("version")
    return None if version is None else key(version)


class Base(DeclarativeBase):
    """The base class of all tables."""

    type_annotation_map = {float: Float(53)}


class Setting(Base):
    """A permanent value of this database: the URL secret, the MQTT session's name."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))


class Counter(Base):
    """A counter, such as the number of messages of a kind."""

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class CounterChange(Base):
    """What a transaction adds to a counter (event_counters.py)."""

    __tablename__ = "counter_changes"
    id: Mapped[int] = mapped_column(_Large, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    change: Mapped[int] = mapped_column(BigInteger)


class Device(Base):
    """A device that has reported or is expected."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("product_id", "device_name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[str] = mapped_column(String(NAME_MOST))
    device_name: Mapped[str] = mapped_column(String(NAME_MOST))
    version: Mapped[str | None] = mapped_column(String(VERSION_MOST))
    # Sorts like the version; follows each change of `version` (see `_follow`).
    version_key: Mapped[str | None] = mapped_column(_Sorted, default=_key_of_insert)
    first_seen: Mapped[float | None]
    last_seen: Mapped[float | None]
    garbled: Mapped[int] = mapped_column(default=0)
    # ACCEPTED, PENDING or RETIRED from device_acceptance.py.
    status: Mapped[str] = mapped_column(String(16), server_default="accepted", default="accepted")
    flooded_at: Mapped[float | None]  # when it last exceeded its rate limit
    # As reported, set, or learned from installed firmware; None: unknown.
    application: Mapped[str | None] = mapped_column(String(NAME_MOST))
    hardware: Mapped[str | None] = mapped_column(String(HARDWARE_MOST))
    # MQTT or DDI: how the device learns of an update.
    transport: Mapped[str] = mapped_column(String(8), server_default="mqtt", default="mqtt")
    # Bytes of the longest message that the device takes, if it has said so.
    message_most: Mapped[int | None]
    # Of an ESP32, as reported; None: not known. Tags can specify another one (device_chip.py).
    chip: Mapped[str | None] = mapped_column(String(32))
    # The interval of reports, in seconds, that the last answer to the device contained.
    report_interval_s: Mapped[int | None]
    # Base64, as issued by the vendor's cloud; needed only with --sign-in.
    secret: Mapped[str | None] = mapped_column(String(256))
    # The number of the last change (change_numbers.py): lets an event stream query for changes,
    # in any process.
    revision: Mapped[int] = mapped_column(BigInteger, index=True, default=0)
    assignment: Mapped[Assignment | None] = relationship(
        primaryjoin="and_(Assignment.device_id == Device.id, Assignment.current)",
        viewonly=True,
        uselist=False,
    )
    tags: Mapped[list[DeviceTag]] = relationship(order_by="DeviceTag.tag", lazy="selectin")

    @validates("version")
    def _follow(self, _: str, version: str | None) -> str | None:
        self.version_key = None if version is None else key(version)
        return version

    @property
    def name(self) -> str:
        """The device as PRODUCT/NAME."""
        return f"{self.product_id}/{self.device_name}"


# Queries compare the versions of accepted devices, and the console sorts and counts by version.
Index("by_version", Device.status, Device.version_key, Device.version)
Index("by_status", Device.status, Device.id)  # lists of devices, in pages


class DeviceTag(Base):
    """A tag that an operator has set on a device, for use in queries."""

    __tablename__ = "device_tags"
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(TAG_MOST), primary_key=True, index=True)


class Controller(Base):
    """The state of a device that polls by DDI, in hawkBit's words (ddi/actions.py).

    An action is one push to it. It is open while `assignment_id` is set, even if the attempt has
    ended since: then the device must still confirm the cancellation.
    """

    __tablename__ = "controllers"
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    action_id: Mapped[int | None]  # the last action; clients keep ids in 32 bits
    assignment_id: Mapped[int | None] = mapped_column(ForeignKey("assignments.id"), index=True)
    confirmed: Mapped[bool] = mapped_column(default=False)
    auto_confirm: Mapped[bool] = mapped_column(default=False)
    attributes: Mapped[dict[str, str] | None] = mapped_column(JSON)
    wants_attributes: Mapped[bool] = mapped_column(default=True)
    assignment: Mapped[Assignment | None] = relationship()


class DdiToken(Base):
    """A token of DDI: of one device, or of a gateway that speaks for any device."""

    __tablename__ = "ddi_tokens"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_MOST), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id"), index=True)
    created_at: Mapped[float]
    device: Mapped[Device | None] = relationship()


class Group(Base):
    """A named query (device_query.py), evaluated at each use."""

    __tablename__ = "groups"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_MOST), unique=True)
    query: Mapped[str] = mapped_column(String(QUERY_MOST))
    created_at: Mapped[float]
    # Seconds between two reports of the version; None: as the boards are configured.
    report_interval_s: Mapped[int | None]


class Firmware(Base):
    """An uploaded firmware; its file is stored by its SHA-256 (file_store.py)."""

    __tablename__ = "firmware"
    __table_args__ = (UniqueConstraint("sha256", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(String(32), index=True)
    application: Mapped[str | None] = mapped_column(String(NAME_MOST))
    hardware: Mapped[str | None] = mapped_column(String(HARDWARE_MOST))
    kind: Mapped[str] = mapped_column(String(16))
    size: Mapped[int] = mapped_column(BigInteger)
    md5: Mapped[str] = mapped_column(String(32))
    sha256: Mapped[str] = mapped_column(String(64))
    uploaded_at: Mapped[float]
    asked_at: Mapped[float | None]  # when a device last requested the file, to within seconds
    # For a patch: the resulting firmware, and the version of its base ("" for a compressed
    # firmware). A patch is never a target: push_sender.py sends it in the firmware's place.
    whole_id: Mapped[int | None] = mapped_column(ForeignKey("firmware.id"), index=True)
    base_version: Mapped[str | None] = mapped_column(String(VERSION_MOST))
    # Of an ESP32 image; "" for others. None: an older cloud stored the file (missing_chips.py).
    chip: Mapped[str | None] = mapped_column(String(32))
    # The row of a deleted firmware stays if attempts refer to it.
    deleted_at: Mapped[float | None]


class FileSweep(Base):
    """A stored file that perhaps no firmware needs (file_sweep.py)."""

    __tablename__ = "file_sweeps"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[float] = mapped_column(index=True)  # when it can be deleted
    claimed_at: Mapped[float | None]  # when a process began to delete it


class Campaign(Base):
    """A rollout of a firmware to many devices in stages (rules: campaign_rules.py)."""

    __tablename__ = "campaigns"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_MOST))
    firmware_id: Mapped[int] = mapped_column(ForeignKey("firmware.id"))
    query: Mapped[str] = mapped_column(String(QUERY_MOST))
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str] = mapped_column(String(MESSAGE_MOST), default="")
    # Each {"count": n} or {"percent": n}: the cumulative size of the stage.
    stages: Mapped[list[Any]] = mapped_column(JSON)
    stage: Mapped[int] = mapped_column(default=0)
    success_share: Mapped[float]
    soak_s: Mapped[float]
    stop_share: Mapped[float | None]
    stop_least: Mapped[int]
    # FIRST or LAST of campaign_options.py: which failures of a device the stop rule counts.
    stop_on: Mapped[str] = mapped_column(String(8), default="last", server_default="last")
    timeout_s: Mapped[float | None]
    active_most: Mapped[int | None]
    starts_per_min: Mapped[int | None]
    only_outdated: Mapped[bool]
    # Include devices with another application or hardware.
    mismatched: Mapped[bool] = mapped_column(default=False, server_default=false())
    start_at: Mapped[float | None]
    # Where the selection of the devices continues (campaign_selection.py); None: not begun, or
    # complete.
    selection: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    # When the stage reached its success share: the start of the soak time.
    stage_good_at: Mapped[float | None]
    # The failures when an operator resumed: the stop rule counts only later ones.
    waived_done: Mapped[int] = mapped_column(default=0)
    waived_failed: Mapped[int] = mapped_column(default=0)
    waived_stage: Mapped[int] = mapped_column(default=-1)
    firmware: Mapped[Firmware] = relationship()


class Member(Base):
    """A device of a campaign; without an assignment, its stage has not started."""

    __tablename__ = "members"
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id"), primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    stage: Mapped[int]
    assignment_id: Mapped[int | None] = mapped_column(ForeignKey("assignments.id"), index=True)
    assignment: Mapped[Assignment | None] = relationship()
    device: Mapped[Device] = relationship()


# A stage that starts gives targets to its members, however many have theirs already.
Index("unassigned", Member.campaign_id, Member.stage, Member.device_id,
      sqlite_where=Member.assignment_id.is_(None),
      postgresql_where=Member.assignment_id.is_(None))  # fmt: skip


class CampaignCount(Base):
    """A change of the number of a campaign's devices in a stage and a state: the sum of the rows
    is the number (campaign_counts.py).
    """

    __tablename__ = "campaign_counts"
    id: Mapped[int] = mapped_column(_Large, primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id"), index=True)
    stage: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    marked: Mapped[bool]
    change: Mapped[int]


class Assignment(Base):
    """An attempt to update a device, and its progress.

    At most one attempt per device is current; a retry is another attempt. Each report belongs to
    one attempt.
    """

    __tablename__ = "assignments"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    firmware_id: Mapped[int] = mapped_column(ForeignKey("firmware.id"))
    current: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(String(16))
    percent: Mapped[int | None]
    # A push or a report of the version came during the download: its next percentage is an event.
    interrupted: Mapped[bool] = mapped_column(default=False, server_default=false())
    result_code: Mapped[int | None]
    result_msg: Mapped[str | None] = mapped_column(String(MESSAGE_MOST))
    pushes: Mapped[int] = mapped_column(default=0)
    soft_failures: Mapped[int] = mapped_column(default=0)
    hard_failures: Mapped[int] = mapped_column(default=0)
    next_push_at: Mapped[float | None] = mapped_column(index=True)
    created_at: Mapped[float]
    updated_at: Mapped[float]  # when the device or a push last changed it
    ended_at: Mapped[float | None]
    # The number of `failures`, and the last of them, which stays whatever comes after it.
    failure_count: Mapped[int] = mapped_column(default=0, server_default="0")
    failed_at: Mapped[float | None]
    failure_code: Mapped[int | None]
    failure_msg: Mapped[str | None] = mapped_column(String(MESSAGE_MOST))
    # Nobody has requested the file since the push.
    unasked: Mapped[bool] = mapped_column(default=False, server_default=false())
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    # Skip the device if it reports this version or a newer one.
    only_outdated: Mapped[bool] = mapped_column(default=False, server_default=false())
    first_push_at: Mapped[float | None]
    # The last push that took a place among the campaign's simultaneous downloads.
    started_at: Mapped[float | None]
    # The last patch pushed in the firmware's place, and whether a patch has failed: then the full
    # firmware is pushed.
    patch_id: Mapped[int | None] = mapped_column(ForeignKey("firmware.id"))
    whole_only: Mapped[bool] = mapped_column(default=False, server_default=false())
    # A report of another version arrived after the device's `done`. (Such a report before `done`
    # does not count.)
    left_target: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Unfinished in a backup that was restored, and nothing has come from the device since.
    restored: Mapped[bool] = mapped_column(default=False, server_default=false())
    firmware: Mapped[Firmware] = relationship(foreign_keys=firmware_id)
    patch: Mapped[Firmware | None] = relationship(foreign_keys=patch_id)
    device: Mapped[Device] = relationship()
    campaign: Mapped[Campaign | None] = relationship()
    failures: WriteOnlyMapped[Failure] = relationship(passive_deletes=True)


class Failure(Base):
    """A failure of an attempt, which stays when the attempt fails later for another reason.

    Its number in the attempt is part of its key: rows whose key the database chooses take a
    statement each.
    """

    __tablename__ = "failures"
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    code: Mapped[int | None]
    message: Mapped[str | None] = mapped_column(String(MESSAGE_MOST))


# The database ensures that a device has only one target.
Index("one_current", Assignment.device_id, unique=True, sqlite_where=Assignment.current,
      postgresql_where=Assignment.current)  # fmt: skip
# The console counts and lists devices by state.
Index("by_state", Assignment.state, sqlite_where=Assignment.current,
      postgresql_where=Assignment.current)  # fmt: skip


# A campaign's open attempts, those that have timed out, and those that started last.
Index("of_campaign", Assignment.campaign_id, Assignment.state, Assignment.first_push_at)
Index("campaign_starts", Assignment.campaign_id, Assignment.started_at)


class Report(Base):
    """A message from the topic `$ota/report/#`, as received and in order."""

    __tablename__ = "reports"
    id: Mapped[int] = mapped_column(_Large, primary_key=True)
    at: Mapped[float]
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id"), index=True)
    assignment_id: Mapped[int | None] = mapped_column(ForeignKey("assignments.id"))
    topic: Mapped[str] = mapped_column(String(512))
    kind: Mapped[str] = mapped_column(String(16), index=True)
    version: Mapped[str | None] = mapped_column(String(VERSION_MOST))
    state: Mapped[str | None] = mapped_column(String(16))
    percent: Mapped[int | None]
    result_code: Mapped[int | None]
    result_msg: Mapped[str | None] = mapped_column(String(MESSAGE_MOST))
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    raw_size: Mapped[int]


class Push(Base):
    """A sent `update_firmware` message."""

    __tablename__ = "pushes"
    id: Mapped[int] = mapped_column(_Large, primary_key=True)
    at: Mapped[float]
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"), index=True)


class Token(Base):
    """A token of the HTTP API; the token itself is shown once and not stored."""

    __tablename__ = "tokens"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_MOST), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]


class User(Base):
    """A console user. Names are in lower case."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(USER_MOST), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str] = mapped_column(String(256))  # argon2's own format, salt and all
    created_at: Mapped[float]
    signed_in_at: Mapped[float | None]
    # The identity provider's user (SHA-256), who has no password here; None for a local user.
    subject: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    # The second factor: its secret, the time step of the last code, and hashes of recovery codes.
    totp: Mapped[str | None] = mapped_column(String(32))
    totp_step: Mapped[int | None] = mapped_column(_Large)
    recovery: Mapped[str | None] = mapped_column(Text)

    @property
    def second_factor(self) -> bool:
        return self.totp is not None

    @property
    def by_provider(self) -> bool:
        return self.subject is not None


class SignIn(Base):
    """A signed-in browser; the cookie's value itself is not stored."""

    __tablename__ = "sign_ins"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]
    seen_at: Mapped[float]
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(256))
    expires_at: Mapped[float | None]  # earlier than the usual end, after a provider's sign-in
    user: Mapped[User] = relationship()


class Refusal(Base):
    """A failed sign-in; sign_in_throttle.py counts them."""

    __tablename__ = "refusals"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    name_sha256: Mapped[str] = mapped_column(String(64), index=True)
    address: Mapped[str] = mapped_column(String(64), index=True)


class Change(Base):
    """A change of a device's reported version, for the chart of versions."""

    __tablename__ = "changes"
    id: Mapped[int] = mapped_column(_Large, primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    before: Mapped[str | None] = mapped_column(String(VERSION_MOST))
    after: Mapped[str] = mapped_column(String(VERSION_MOST))


class Audit(Base):
    """An entry of the audit log: an action of an operator or of the cloud itself."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    who: Mapped[str] = mapped_column(String(NAME_MOST))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(MESSAGE_MOST))
    detail: Mapped[str] = mapped_column(Text)


class WebhookMessage(Base):
    """A message that waits for its webhook, or was given up: then `next_at` is None."""

    __tablename__ = "webhook_messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    target: Mapped[str] = mapped_column(String(16), index=True)  # of webhooks/webhook_settings.py
    host: Mapped[str] = mapped_column(String(256))  # a URL's path may be a secret
    event: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)
    tries: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[float | None] = mapped_column(index=True)
    error: Mapped[str] = mapped_column(String(256), default="")
