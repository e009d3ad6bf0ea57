"""Try a publication before it happens: a simulated board updates from a copy of the channel."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from ..firmware import release as releases
from ..sim import Board, BoardError
from .folder import Channel
from .index import NAME, ChannelError, Release

if TYPE_CHECKING:  # cryptography is slow to import
    from ..firmware.signing_keys import PrivateKey

PATIENCE_S = 300.0
RUNS_S = 5.0  # that an application must run after its trial
_FACTORY = "0"  # the version of a board that has never updated


class RehearsalError(Exception):
    """The simulated board did not confirm a version; the text has the end of its output."""


def rehearse(
    folder: Path,
    key: PrivateKey,
    firmware: Path,
    *,
    track: str,
    version: str | None,
    target: str | None,
    say: Callable[[str], object],
) -> None:
    """Publish on a copy of the channel, and let a simulated board follow it.

    The board first updates to the release that the track offers now, if any, and then to the new
    one, usually by a delta. It confirms each after a trial, like a real board, and the application
    must then run for some seconds. Nothing in `folder` changes.

    Raises RehearsalError, ChannelError, ReleaseError, ToolchainError or OSError.
    """
    if releases.inspect(firmware).kind != "bundle":
        raise ChannelError(f"{firmware} is not a bundle: only bundles run on a simulated board")
    with tempfile.TemporaryDirectory(prefix="ivota-rehearsal-") as name:
        site = Path(name) / "site"
        shutil.copytree(folder, site)
        channel = Channel(site, key)
        now = _offered(channel, track, target)
        with _served(site) as url:
            config = {
                "product_id": channel.index.product,
                "device_name": "rehearsal",
                "version": _FACTORY,
                "target": target,
                "keys": ["/owner.pub"],
                "channel": {"url": f"{url}/{NAME}", "track": track},
                "retry": {"first_s": 1, "most_s": 10},
            }
            files = {"/owner.pub": key.public.der}
            board = Board(
                Path(name) / "board", config=config, files=files, turns=True, blocks=2048
            )
            board.install()
            with board:
                if now:
                    _update(board, now.version)
                    say(f"a board without a release updates to {now.version}")
                new = channel.publish(firmware, track=track, version=version, target=target)
                _update(board, new.version)
                before = now.version if now else "the factory version"
                say(f"a board with {before} updates to {new.version} and confirms it")


def _offered(channel: Channel, track: str, target: str | None) -> Release | None:
    """Return the release that the track offers now, after offering it to all boards at once."""
    offered = channel.index.tracks.get(track, ())
    found = [each for each in offered if each.target == target]
    if not found:
        return None
    now = dataclasses.replace(found[-1], share=100, not_before=None)
    others = tuple(each for each in offered if each.target != target)
    tracks = {**channel.index.tracks, track: (*others, now)}
    channel.index = dataclasses.replace(channel.index, tracks=tracks)
    channel.refresh()
    return now


def _update(board: Board, version: str) -> None:
    """Start the board, which immediately reads the channel; wait until it confirms the version."""
    start = len(board.log)
    if board.on:
        board.power_cut()
    board.power_on()
    try:
        line = board.wait_log(f"ivota: (confirmed version={version}$|failed )", PATIENCE_S, start)
    except BoardError as error:
        raise RehearsalError(f"the board did not confirm {version}: {error}") from None
    if "failed" in line[0]:
        raise RehearsalError(f"the update to {version} failed\n{board.tail()}")
    # On a fast link the trial may end before the application has done anything.
    with contextlib.suppress(BoardError):
        board.wait_log("ivota: application_died", RUNS_S, start)
        raise RehearsalError(f"the application of {version} ended\n{board.tail()}")


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing: the output is for the board's log."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
