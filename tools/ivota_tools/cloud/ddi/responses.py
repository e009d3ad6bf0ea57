"""Create the JSON documents that DDI devices read, in pure functions."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from ..store.models import Assignment, Firmware
from .actions import CANCEL, CONFIRM, Offer

Json = dict[str, Any]
CONFIG_DATA = "configData"
_EXTENSIONS = {"swu": ".swu", "rauc": ".raucb"}  # SWUpdate takes only files that end in .swu


def controller(base: str, offer: Offer, poll_s: int, confirm: bool) -> Json:
    """Answer a poll; `base` is the device's own URL."""
    links = {}
    if offer.wants_attributes:
        links[CONFIG_DATA] = _link(f"{base}/{CONFIG_DATA}")
    if confirm:
        links[CONFIRM] = _link(f"{base}/{CONFIRM}")
    if offer.kind:
        links[offer.kind] = _link(f"{base}/{offer.kind}/{offer.action_id}")
    return {"config": {"polling": {"sleep": _span(poll_s)}}, "_links": links}


def deployment(base: str, kind: str, action_id: int, attempt: Assignment, sha1: str) -> Json:
    """Describe an update. `kind` is deploymentBase, or CONFIRM for one that waits for consent."""
    found = attempt.firmware
    name = "confirmation" if kind == CONFIRM else "deployment"
    order: Json = {
        "download": "forced",
        "update": "forced",
        "chunks": [
            {
                "part": "os",
                "version": found.version,
                "name": found.application or "firmware",
                "artifacts": artifacts(base, found, sha1),
            }
        ],
    }
    return {"id": str(action_id), name: order}


def artifacts(base: str, firmware: Firmware, sha1: str) -> list[Json]:
    name = filename(firmware)
    url = f"{base}/softwaremodules/{firmware.id}/artifacts/{quote(name)}"
    # hawkBit's names of the two schemes.
    suffix = "" if url.startswith("https:") else "-http"
    links = {
        f"download{suffix}": _link(url),
        f"md5sum{suffix}": _link(f"{url}.MD5SUM"),
    }
    hashes = {"sha1": sha1, "md5": firmware.md5, "sha256": firmware.sha256}
    return [{"filename": name, "hashes": hashes, "size": firmware.size, "_links": links}]


def cancellation(action_id: int) -> Json:
    return {"id": str(action_id), CANCEL: {"stopId": str(action_id)}}


def confirmation_state(base: str, auto_confirm: bool) -> Json:
    change = "deactivateAutoConfirm" if auto_confirm else "activateAutoConfirm"
    return {
        "autoConfirm": {"active": auto_confirm},
        "_links": {change: _link(f"{base}/{CONFIRM}/{change}")},
    }


def filename(firmware: Firmware) -> str:
    name = f"{firmware.application or 'firmware'}-{firmware.version}"
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) + _EXTENSIONS.get(firmware.kind, ".bin")


def _link(url: str) -> Json:
    return {"href": url}


def _span(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
