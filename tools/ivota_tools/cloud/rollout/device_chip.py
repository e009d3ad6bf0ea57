"""Which ESP32 chip a device has: the one in its tags, otherwise the one that it has reported.

An ESP32 image for another chip never starts, so no option allows to push it. If the chip is not
known, the board decides.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, case, exists, func, select

from ..store.models import Device, DeviceTag, Firmware

TAG = "chip-"  # prefix of tags that specify a chip, such as chip-esp32c3


def mismatch(firmware: Firmware, device: Device) -> str | None:
    """Explain why the device cannot start the image; return None if it may."""
    if not firmware.chip:
        return None
    tags = [each.tag for each in device.tags if each.tag.startswith(TAG)]
    if TAG + firmware.chip in tags:
        return None
    if tags:
        return f"the image is for {firmware.chip}, but the device has the tag {' '.join(tags)}"
    if device.chip in (None, firmware.chip):
        return None
    return (
        f"the image is for {firmware.chip}, but the device reports that it is {device.chip} "
        f"(the tag {TAG}{firmware.chip} overrides this)"
    )


def known(chip: str) -> ColumnElement[str | None]:
    """Return a device's chip as a column, null if it is not known.

    If several tags specify chips, it is `chip` if that is among them.
    """
    of_device = DeviceTag.device_id == Device.id
    tagged = (
        select(func.min(func.substr(DeviceTag.tag, len(TAG) + 1)))
        .where(of_device, func.substr(DeviceTag.tag, 1, len(TAG)) == TAG)
        .correlate(Device)
        .scalar_subquery()
    )
    named = exists().where(of_device, DeviceTag.tag == TAG + chip).correlate(Device)
    return case((named, chip), else_=func.coalesce(tagged, Device.chip))


def fits(firmware: Firmware) -> list[ColumnElement[bool]]:
    """Return `mismatch` as conditions that hold for a device that can start the image."""
    if not firmware.chip:
        return []
    return [func.coalesce(known(firmware.chip) == firmware.chip, True)]
