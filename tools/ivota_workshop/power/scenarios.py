"""All updates whose power is cut, by name."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.mpy_compiler import compile_mpy

from .firmware import noise
from .scenario import Scenario

SIZE = 708_482  # bytes, like the vendor's own example
_LIBRARY = CHECKOUT / "lib"


@cache
def scenarios() -> dict[str, Scenario]:
    """Return all scenarios by name."""
    crashed = "crashed in its trial"
    found = [
        Scenario("one", bundle=False, late=True),
        Scenario("few", files={"data.bin": noise("few", 11_000)}, spare=30_000),
        # The new version cannot reach the cloud: its configuration has another address.
        Scenario(
            "limit",
            ends="fail",
            reason="not confirmed in time",
            late=True,
            files=_config(mqtt={"host": "nowhere"}) | {"data.bin": noise("limit", 5_000)},
        ),
        Scenario(
            "crash",
            ends="fail",
            reason=crashed,
            body='raise ValueError("broken")',
            files={"data.bin": noise("crash", 5_000)},
        ),
        # Complete, but the content is of another version.
        Scenario(
            "refused",
            ends="fail",
            reason="can't be used",
            files={"data.bin": noise("refused", 5_000)},
            damaged=True,
            refused=True,
        ),
        Scenario("self", files=_library(tencent=_dialect()), proof="app: package", late=True),
        Scenario(
            "self-broken",
            ends="fail",
            reason=crashed,
            files=_library(mqtt_session='raise ImportError("broken")\n'),
        ),
        Scenario("big", size=SIZE),
        Scenario(
            "full", ends="fail", reason="not enough space", lacks=2, size=20_000, refused=True
        ),
        Scenario("signed", sequence=7, files={"data.bin": noise("signed", 5_000)}, late=True),
        # A failed trial leaves the sequence unchanged: a better version may have the same.
        Scenario(
            "signed crash",
            ends="fail",
            reason=crashed,
            body='raise ValueError("broken")',
            sequence=7,
        ),
        # Nor is it a complete bundle: examining it before the signature gives a different error.
        Scenario(
            "signed stranger",
            ends="fail",
            reason="signature: not signed by a trusted key",
            sequence=7,
            stranger=True,
            damaged=True,
            refused=True,
        ),
        Scenario(
            "channel",
            channel=True,
            sequence=7,
            files={"data.bin": noise("channel", 11_000)},
            late=True,
        ),
        # It stays in the channel, and the board must not try it again.
        Scenario(
            "channel crash",
            channel=True,
            ends="fail",
            reason=crashed,
            body='raise ValueError("broken")',
            sequence=7,
        ),
        # A board without slots.
        Scenario(
            "no slot", payload="image", ends="fail", reason="no slot", size=9_000, refused=True
        ),
        *_patches(),
        *_images(),
    ]
    return {scenario.name: scenario for scenario in found}


def _patches() -> list[Scenario]:
    """Return the scenarios of a board that has the base of the patch."""
    found = [
        Scenario("delta one", late=True),
        Scenario("delta few", shared=14_000),
        # Giving a version up leaves its base unchanged.
        Scenario(
            "delta crash",
            ends="fail",
            reason="crashed in its trial",
            body='raise ValueError("broken")',
            shared=5_000,
        ),
        Scenario("delta signed", shared=5_000, sequence=7),
        Scenario("delta big", size=SIZE, shared=600_000),
        Scenario(
            "delta wrong",
            patch="wrong base",
            ends="fail",
            reason="wrong base",
            shared=5_000,
            refused=True,
        ),
        # The result is a complete bundle, but not the one that the header describes.
        Scenario(
            "delta false",
            patch="false",
            ends="fail",
            reason="the result has the wrong SHA-256",
            shared=5_000,
            refused=True,
        ),
        Scenario("compressed", patch="compressed", shared=14_000, late=True),
    ]
    return [replace(each, patch=each.patch or "delta") for each in found]


def _images() -> list[Scenario]:
    """Return the scenarios of a board with slots."""
    found = [
        Scenario("image one", bundle=False, size=3_000),
        # Longer than the interval between two stored positions.
        Scenario("image few", bundle=False, size=75_000, late=True),
        Scenario(
            "image limit",
            ends="fail",
            reason="not confirmed in time",
            size=9_000,
            source="import _power_net\n_power_net.servers.clear()",
        ),
        # Nothing starts after boot.py, so its watchdog resets the board.
        Scenario(
            "image crash",
            ends="fail",
            reason="the boot loader rolled back",
            size=9_000,
            source="import sys\nsys.modules['ivota.agent'] = None",
        ),
        # It crashes before boot.py.
        Scenario(
            "image dead",
            ends="fail",
            reason="did not boot in 10 tries",
            size=3_000,
            source="import machine\nmachine.reset()",
            cuts=60,
        ),
        Scenario(
            "image refused",
            ends="fail",
            reason="the image is for chip 5",
            size=9_000,
            chip=5,
            refused=True,
        ),
        Scenario("image big", size=SIZE),
        Scenario("image signed", size=9_000, sequence=7),
        Scenario("image delta", bundle=False, size=20_000, patch="delta"),
        Scenario(
            "image stranger",
            ends="fail",
            reason="signature: not signed by a trusted key",
            size=9_000,
            sequence=7,
            stranger=True,
            refused=True,
        ),
    ]
    return [replace(each, storage="partition", payload="image") for each in found]


def _library(**changed: str) -> dict[str, bytes]:
    """Return the package as part of a bundle, with some modules changed."""
    result = {}
    for path in sorted((_LIBRARY / "ivota").glob("*.py")):
        source = changed.get(path.stem, path.read_text()).encode()
        name = f"lib/ivota/{path.stem}.mpy"
        result[name] = compile_mpy(source, f"/{name[:-4]}.py")
    return result


def _config(**values: Any) -> dict[str, bytes]:
    return {"config.json": json.dumps(values).encode()}


def _dialect() -> str:
    """Return the module with different text, to detect that the new one runs."""
    return (_LIBRARY / "ivota" / "tencent.py").read_text() + '\nprint("app: package")\n'
