"""Decide whether a firmware is for a device: by application, hardware and transport, in pure
functions.

A property that is not known, of the device or of the firmware, does not exclude anything.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func

from ..store.models import DDI, MQTT, Device, Firmware

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


def mismatch(firmware: Firmware, device: Device) -> str | None:
    """Explain why the firmware is not for the device; return None if it may be."""
    if other_application(firmware, device.application):
        return (
            f"the firmware is for the application {firmware.application}, but {device.name} "
            f"runs {device.application}"
        )
    if other_hardware(firmware, device.hardware):
        return (
            f"the firmware is for the hardware {firmware.hardware}, but {device.name} "
            f"is {device.hardware}"
        )
    if other_transport(firmware, device.transport):
        return (
            f"the firmware is of the kind {firmware.kind}, which {device.name} cannot use: "
            f"it updates by {TRANSPORTS[device.transport]}"
        )
    return None


def conditions(firmware: Firmware) -> list[ColumnElement[bool]]:
    """Return `mismatch` as conditions that hold for a device that the firmware fits."""
    found: list[ColumnElement[bool]] = []
    if firmware.application is not None:
        found.append(func.coalesce(Device.application == firmware.application, True))
    if firmware.hardware is not None:
        same = func.lower(Device.hardware) == firmware.hardware.lower()
        found.append(func.coalesce(same, True))
    if only := _TRANSPORTS.get(firmware.kind):
        found.append(Device.transport == only)
    return found


def learn(device: Device, firmware: Firmware) -> None:
    """Give the device the firmware's application and hardware, after an update."""
    device.application = firmware.application or device.application
    device.hardware = firmware.hardware or device.hardware
