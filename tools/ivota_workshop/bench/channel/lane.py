"""A channel behind a bad link, on which boards run whole updates one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ivota_tools.channel.folder import Channel
from ivota_tools.channel.index import NAME
from ivota_tools.sim import Board, Proxy

from ..download.lane import VERSION, Lane, make_firmware
from ..trust import make_key
from .site import nginx

STATE = "ivota-state.json"
_CONFIRMED = f"ivota: confirmed version={VERSION}"


class ChannelLane(Lane):
    """Made by `lane()`; each board finds the same channel."""

    def __init__(self, folder: Path, proxy: Proxy, tls: bool) -> None:
        self.proxy = proxy
        self._tls = tls
        self._folder = folder
        self._number = 0

    def offer(self, name: str) -> None:
        """Do nothing: the channel offers it already."""

    def source(self) -> dict[str, Any]:
        host = "https://localhost" if self._tls else "http://127.0.0.1"
        return {
            "keys": ["/owner.pub"],
            "channel": {"url": f"{host}:{self.proxy.port}/{NAME}", "interval_s": 10},
            "http": {"ca": "/root.pem" if self._tls else None},
        }

    def ended(self, board: Board, name: str) -> str | None:
        if _CONFIRMED not in board.log:
            return None
        assert board.root
        # Until the board has noted it, it would report it again.
        last = json.loads((board.root / STATE).read_bytes()).get("last", "")
        return "" if '"done"' in last else None


def publish(folder: Path) -> Path:
    """Create a channel with one version in `folder`/site; return the public key's file."""
    key = make_key(folder)
    channel = Channel.create(folder / "site", "P", key, 30)
    channel.publish(make_firmware(folder))
    return folder / "owner.pub"


@contextmanager
def lane(
    folder: Path, site: Path, buffer: int | None = None, certificate: str = ""
) -> Iterator[ChannelLane]:
    """Provide a lane; `buffer` is the size of the link's own buffers, in bytes.

    With `certificate`, as of `nginx`, boards use TLS and need the file /root.pem.
    """
    with (
        nginx(site, folder / "nginx", certificate) as port,
        Proxy("127.0.0.1", port, buffer=buffer) as proxy,
    ):
        yield ChannelLane(folder, proxy, bool(certificate))
