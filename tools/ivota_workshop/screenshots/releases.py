"""The firmware of the sample fleet: three signed releases of an example, with deltas."""

from __future__ import annotations

from pathlib import Path

from ivota_tools.api_client import Client
from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.release import Release, Signer, make_patch, pack
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private

OLD, BEFORE, NEW = "0.1", "0.2", "0.3"


def upload(
    folder: Path, url: str, token: str | None = None, key: PrivateKey | None = None
) -> list[int]:
    """Upload the releases, signed with `key` or a new one; return their ids, oldest first."""
    folder.mkdir(parents=True, exist_ok=True)
    if key is None:
        generate(folder / "owner.key", None)
        key = load_private(folder / "owner.key", str)
    found = []
    with Client(url, token) as client:
        for number, version in enumerate((OLD, BEFORE, NEW), 1):
            made = pack(
                CHECKOUT / "examples" / "thermometer",
                version,
                out=folder / f"thermometer-{version}.bin",
                signer=Signer(key, number, "thermometer"),
                pad_to=180_000 + 12_000 * number,
            )
            found.append(client.upload(made.path)["firmware"]["id"])
            if version == NEW:
                _deltas(client, folder, made, Signer(key, number, "thermometer"))
    return found


def _deltas(client: Client, folder: Path, made: Release, signer: Signer) -> None:
    for base in (folder / f"thermometer-{BEFORE}.bin", None):
        out = folder / f"from-{base.stem if base else 'nothing'}.bin"
        if make_patch(made, base, out=out, signer=signer):
            client.upload(out)
