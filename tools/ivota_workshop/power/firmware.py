"""The firmware of a scenario: the running one, the pushed one, and the result."""

from __future__ import annotations

import random
from dataclasses import replace

from ivota_tools.firmware import patch
from ivota_tools.firmware.bundle import build
from ivota_tools.firmware.release import kind_of
from ivota_tools.firmware.signed_file import Signer
from ivota_tools.sim.esp32_image import make_image

from . import keys
from .scenario import NEW, OLD, Scenario

TARGET = "t"  # the target of signed firmware

APP = """
print("app: {version}")


async def main():
    {body}
"""


def noise(seed: str, size: int) -> bytes:
    """Return incompressible bytes, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def offered(scenario: Scenario, new: bytes) -> bytes:
    """Return the firmware that the cloud offers: the new version itself, or a patch for it."""
    if not scenario.patch:
        return new
    base = b"" if scenario.patch == "compressed" else old(scenario)
    data = patch.make(
        base[1:] if scenario.patch == "wrong base" else base,
        new,
        base_version=OLD if base else "",
        kind="esp32-image" if scenario.payload == "image" else "bundle",
    )
    if scenario.patch == "false":
        other = payload(replace(scenario, body="None"))
        end = patch.read(data).header_size
        data = data[:end] + patch.make(base, other, base_version=OLD)[end:]
    return _signed(scenario, data, "patch")


def _signed(scenario: Scenario, data: bytes, kind: str) -> bytes:
    if not scenario.sequence:
        return data
    key = keys.stranger() if scenario.stranger else keys.owner()
    return Signer(key, scenario.sequence, TARGET).sign(data, NEW, kind)


def old(scenario: Scenario) -> bytes:
    """Return the bundle or the image that runs before the update."""
    if scenario.slots and not scenario.bundle:
        return make_image(OLD, f'print("app: {OLD}")', size=scenario.size)
    body = {"app.py": APP.format(version=OLD, body="pass").encode(), **_shared(scenario, OLD)}
    return build(body, "test", OLD)


def _shared(scenario: Scenario, version: str) -> dict[str, bytes]:
    data = bytearray(noise("shared", scenario.shared))
    if version == NEW:
        data[::1009] = bytes(len(data[::1009]))
    return {"data.bin": bytes(data)} if data else {}


def result(scenario: Scenario) -> bytes:
    """Return the new version in the form in which it runs."""
    data = payload(scenario)
    return _signed(scenario, data, kind_of(data))


def payload(scenario: Scenario) -> bytes:
    """Return the payload alone: a bundle, an image, or an application's own format."""
    if scenario.payload == "file":
        return noise(scenario.name, scenario.size)
    if scenario.payload == "image":
        source = f'print("app: {NEW}")\n{scenario.source}'
        like = OLD if scenario.patch else None
        return make_image(NEW, source, scenario.chip, scenario.size, like)
    contents = {
        "app.py": APP.format(version=NEW, body=scenario.body).encode(),
        **_shared(scenario, NEW),
        **scenario.files,
    }
    data = build(contents, "test", NEW)
    if scenario.damaged:
        # Same length, and able to run, but it claims a different version than the pushed one.
        stated = b'"version":"%s"' % NEW.encode()
        if stated not in data:
            raise RuntimeError("a bundle's ivota.json is not written as it was")
        data = data.replace(stated, b'"version":"9.9"')
    if scenario.size:
        room = scenario.size - len(data)
        # Bytes after the archive's end are part of the firmware.
        data += noise(scenario.name, room)
    return data
