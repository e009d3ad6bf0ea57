"""Decide whether a firmware is for a device: by application, hardware, chip and transport.

A property that is not known, of the device or of the firmware, does not exclude anything.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from ..store.device_acceptance import ACCEPTED
from ..store.models import DDI, MQTT, Device, Firmware
from . import device_chip

NAMED_MOST = 5  # applications or hardware in a warning

TRANSPORTS = {MQTT: "MQTT", DDI: "hawkBit's DDI"}

# The transport of the only devices that can use a kind of firmware.
_TRANSPORTS = {"bundle": MQTT, "esp32-image": MQTT, "swu": DDI, "rauc": DDI}


def other_application(firmware: Firmware, application: str | None) -> bool:
    return None not in (firmware.application, application) and application != firmware.application


def other_hardware(firmware: Firmware, hardware: str | None) -> bool:
    if firmware.hardware is None or hardware is None:
        return False
    return hardware.lower() != firmware.hardware.lower()


def other_transport(firmware: Firmware, transport: str) -> bool:
    return _TRANSPORTS.get(firmware.kind, transport) != transport


def mismatch(firmware: Firmware, device: Device, called: str = "") -> str | None:
    """Explain why the firmware is not for the device; return None if it may be. `called` is used
    instead of the device's name.
    """
    called = called or device.name
    if other_application(firmware, device.application):
        return (
            f"the firmware is for the application {firmware.application}, but {called} "
            f"runs {device.application}"
        )
    if other_hardware(firmware, device.hardware):
        return (
            f"the firmware is for the hardware {firmware.hardware}, but {called} "
            f"has the hardware {device.hardware}"
        )
    if other_transport(firmware, device.transport):
        return (
            f"{called} cannot use firmware of kind {firmware.kind}: "
            f"it updates through {TRANSPORTS[device.transport]}"
        )
    return device_chip.mismatch(firmware, device)


def conditions(firmware: Firmware) -> list[ColumnElement[bool]]:
    """Return the rules of `mismatch`, except for the chip, as SQL conditions for the devices that
    the firmware fits.
    """
    found: list[ColumnElement[bool]] = []
    if firmware.application is not None:
        found.append(func.coalesce(Device.application == firmware.application, True))
    if firmware.hardware is not None:
        same = func.lower(Device.hardware) == firmware.hardware.lower()
        found.append(func.coalesce(same, True))
    if only := _TRANSPORTS.get(firmware.kind):
        found.append(Device.transport == only)
    return found


def warnings(session: Session, firmware: Firmware) -> list[str]:
    """Say that no device of the fleet has the firmware's application, or its hardware.

    The name may be mistyped: a campaign would then find no device, or only unknown ones.
    """
    found = []
    for what, wanted, column in (
        ("application", firmware.application, Device.application),
        ("hardware", firmware.hardware, Device.hardware),
    ):
        if wanted is None:
            continue
        # As `other_application` and `other_hardware`: only hardware ignores the case.
        each = func.lower(column) if what == "hardware" else column
        query = select(each, func.count()).where(Device.status == ACCEPTED).group_by(each)
        counts = dict(session.execute(query).tuples().all())
        same = wanted.lower() if what == "hardware" else wanted
        unknown = counts.pop(None, 0)
        if same in counts or not counts:  # before its first update, a board's is not known
            continue
        common = sorted(counts, key=lambda name: (-counts[name], name))[:NAMED_MOST]
        more = ", …" if len(counts) > len(common) else ""
        words = f"no device has the {what} {wanted}; the devices have {', '.join(common)}{more}"
        if unknown:
            words += (
                f"; the {what} of {unknown:,} device{'' if unknown == 1 else 's'} is not known"
            )
        found.append(words)
    return found


def learn(device: Device, firmware: Firmware) -> None:
    """Give the device the firmware's application and hardware, after an update."""
    device.application = firmware.application or device.application
    device.hardware = firmware.hardware or device.hardware
