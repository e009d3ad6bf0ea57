"""The cloud's tables. Times are Unix seconds (UTC) as floats, sizes are bytes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from .protocol import MESSAGE_MOST, NAME_MOST, VERSION_MOST


class Base(DeclarativeBase):
    """What all tables have in common."""

    type_annotation_map = {float: Float(53)}


class Setting(Base):
    """A value that belongs to this database for life: the URL secret, the MQTT session's name."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))


class Counter(Base):
    """A number that only grows, such as how many messages of a kind came in."""

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Device(Base):
    """A device that has reported, or that somebody expects."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("product_id", "device_name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[str] = mapped_column(String(NAME_MOST))
    device_name: Mapped[str] = mapped_column(String(NAME_MOST))
    version: Mapped[str | None] = mapped_column(String(VERSION_MOST))
    first_seen: Mapped[float | None]
    last_seen: Mapped[float | None]
    garbled: Mapped[int] = mapped_column(default=0)
    # The value of the counter "revision" when this device last changed: lets a watcher ask for
    # what is new, from whichever process it happens to be served.
    revision: Mapped[int] = mapped_column(BigInteger, index=True, default=0)
    assignment: Mapped[Assignment | None] = relationship(
        primaryjoin="and_(Assignment.device_id == Device.id, Assignment.current)",
        viewonly=True,
        uselist=False,
    )

    @property
    def name(self) -> str:
        """PRODUCT/NAME, as operators write it."""
        return f"{self.product_id}/{self.device_name}"


class Firmware(Base):
    """An uploaded firmware; the file itself lies in the data folder, by its SHA-256."""

    __tablename__ = "firmware"
    __table_args__ = (UniqueConstraint("sha256", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(String(32), index=True)
    application: Mapped[str | None] = mapped_column(String(NAME_MOST))
    kind: Mapped[str] = mapped_column(String(16))
    size: Mapped[int] = mapped_column(BigInteger)
    md5: Mapped[str] = mapped_column(String(32))
    sha256: Mapped[str] = mapped_column(String(64))
    uploaded_at: Mapped[float]


class Assignment(Base):
    """One firmware meant for one device, and how far that has come. One per device is current."""

    __tablename__ = "assignments"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    firmware_id: Mapped[int] = mapped_column(ForeignKey("firmware.id"))
    current: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(String(16))
    percent: Mapped[int | None]
    result_code: Mapped[int | None]
    result_msg: Mapped[str | None] = mapped_column(String(MESSAGE_MOST))
    pushes: Mapped[int] = mapped_column(default=0)
    soft_failures: Mapped[int] = mapped_column(default=0)
    hard_failures: Mapped[int] = mapped_column(default=0)
    next_push_at: Mapped[float | None] = mapped_column(index=True)
    created_at: Mapped[float]
    updated_at: Mapped[float]
    firmware: Mapped[Firmware] = relationship()
    device: Mapped[Device] = relationship()


# The database itself sees to it that a device has one target.
Index("one_current", Assignment.device_id, unique=True, sqlite_where=Assignment.current,
      postgresql_where=Assignment.current)  # fmt: skip


class Report(Base):
    """One message from the topic `$ota/report/#`, as it came, in the order in which it came."""

    __tablename__ = "reports"
    id: Mapped[int] = mapped_column(primary_key=True)
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
    """One `update_firmware` that was sent."""

    __tablename__ = "pushes"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"), index=True)
