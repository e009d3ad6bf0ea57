"""The steps that update the board: complete, cut, reset, broken, forged, and as a delta."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

from ivota_tools.board import on_board
from ivota_tools.board.acceptance import applications, on_board_measure
from ivota_tools.board.acceptance.measuring_steps import Seen
from ivota_tools.board.acceptance.results import Failed, Skipped
from ivota_tools.board.acceptance.rig import APPLICATION, PUBLIC_KEY, SEQUENCE, Rig
from ivota_tools.board.errors import BoardError
from ivota_tools.board.install import install as install_on
from ivota_tools.board.install_files import STATE
from ivota_tools.common.project_files import root
from ivota_tools.firmware import esp32_image
from ivota_tools.firmware.release import (
    Release,
    ReleaseError,
    Signer,
    inspect,
    make_patch,
    patch_out,
    sign,
)
from ivota_tools.firmware.signing_keys import generate, load_private
from ivota_tools.sim.link_proxy import Cut

_FILLED = 196_608  # size of the releases whose download is cut or interrupted by a reset
_PACE_S = 6  # minimum duration of such a download, so that there is time to interrupt it
_WATCHDOG_S = 8
_MORE = 1.4  # maximum traffic of a resumed download, relative to its size
_BLOCK = 4096
_BLOCKS_AT_ONCE = 64


def install(rig: Rig) -> Seen:
    """Install the package, the test's configuration and its public key, and wait for a report."""
    if not rig.found["sockets"]:
        raise Skipped("this board has no network: its firmware lacks the module socket")
    key = rig.folder / "board-test.pub"
    key.write_bytes(rig.public_key)
    given = json.dumps(rig.settings()).encode()
    begun = time.time()
    with rig.console.released():
        rig.board.run("fs", "cp", key.as_posix(), f":{PUBLIC_KEY}")
        result = install_on(rig.board, given, root=root(), reset=False)
        for source, path in rig.put:
            rig.board.run("fs", "cp", "-f", source.as_posix(), f":{path}")
        rig.board.reset()
    rig.console.start()
    rig.wait_report(
        lambda each: each["kind"] == "report_version", begun, "a report from the board"
    )
    kind = "source" if result["source"] else "compiled"
    values = {"files": len(result["copied"]), "source": result["source"]}
    return f"{len(result['copied'])} files, {kind}; the board reached the cloud", values


def wifi(rig: Rig) -> Seen:
    """Measure the time from a reset to the cloud over Wi-Fi."""
    if "WLAN" not in (rig.found["interfaces"] or ()):
        raise Skipped("this board has no Wi-Fi")
    if not rig.network.get("wifi"):
        raise Skipped("the configuration has no wifi: the board does not use Wi-Fi")
    begun = time.time()
    rig.restart()
    report = rig.wait_report(
        lambda each: each["kind"] == "report_version", begun, "a report after a reset"
    )
    took = report["at"] - begun
    return f"reported to the cloud {took:.1f} s after a reset", {"seconds": round(took, 1)}


def update(rig: Rig) -> Seen:
    """Update application and updater, signed, over a link without faults."""
    release = _measuring(rig, "update")
    rig.update(release)
    rig.filled_size = max(_FILLED, -(-(release.size + _BLOCK) // _BLOCK) * _BLOCK)
    return f"{release.size:,} bytes; {release.version} runs and is confirmed", _size(release)


def cut(rig: Rig) -> Seen:
    """Cut a download with an end of file, a reset and silence, and MQTT with a reset.

    The board must resume the download, not repeat it.
    """
    release = _measuring(rig, "cut", rig.filled_size)
    part = release.size // 5
    rig.http.schedule([Cut(part, "fin"), Cut(part, "rst"), Cut(part, "silence")])
    cuts = len(rig.http.cuts)
    received = rig.http.received
    rig.http.pace(release.size / _PACE_S)
    rig.api.upload(release.path)
    assert release.version
    begun = rig.push(release.version)
    rig.wait(lambda: len(rig.http.cuts) > cuts, "the first cut")
    rig.mqtt.cut_now()
    rig.finish(release, begun)
    made = len(rig.http.cuts) - cuts
    if made < 3:
        raise Failed(f"the download ended after only {made} of 3 cuts")
    return _resumed(rig, release, received, f"cut the download {made} times and MQTT once")


def reset(rig: Rig) -> Seen:
    """Reset the board in the middle of a download, which it must resume."""
    release = _measuring(rig, "reset", rig.filled_size)
    received = rig.http.received
    rig.http.pace(release.size / _PACE_S)
    rig.api.upload(release.path)
    assert release.version
    begun = rig.push(release.version)
    rig.wait(lambda: rig.http.received - received > release.size // 2, "half of the download")
    rig.http.stall()  # a person may take any time
    rig.http.cut_now()
    rig.resets.reset()
    rig.http.resume()
    rig.finish(release, begun)
    return _resumed(
        rig, release, received, f"{rig.resets.by} reset the board halfway through the download"
    )


def crash(rig: Rig) -> Seen:
    """Push an application that raises an exception; the board must roll back."""
    folder = applications.write_crashing(rig.folder / "crash")
    return _rolled_back(rig, folder, "crash")


def hang(rig: Rig) -> Seen:
    """Push an application that hangs; the watchdog must reset the board, which rolls back."""
    if not rig.found.get("watchdog"):
        raise Skipped("this port has no machine.WDT")
    folder = applications.write_hanging(rig.folder / "hang", _WATCHDOG_S)
    return _rolled_back(rig, folder, "hang")


def _rolled_back(rig: Rig, folder: Path, word: str) -> Seen:
    release = rig.pack(folder, rig.next_version(word), signer=rig.signer())
    said = rig.expect_rollback(release)
    return f"reported {said}; {rig.version} runs again", {"reported": said}


def signatures(rig: Rig) -> Seen:
    """Push firmware without a signature, with an unknown key, and with an old sequence."""
    generate(rig.folder / "stranger.key", None)
    stranger = Signer(load_private(rig.folder / "stranger.key", str), SEQUENCE * 2)
    signers = {
        "unsigned": None,
        "stranger": stranger,
        "old": rig.signer(1),
    }
    said = {}
    for word, signer in signers.items():
        version = rig.next_version(word)
        folder = applications.write_measuring(rig.folder / word / "app", version)
        release = rig.pack(folder, version, signer=signer)
        said[word] = rig.expect_rejection(release)
    return "; ".join(f"{word}: {text}" for word, text in said.items()), {"reported": said}


def delta(rig: Rig) -> Seen:
    """Push a delta from the running version."""
    base = rig.running
    if base is None:
        raise Skipped("no earlier update was confirmed")
    release = _measuring(rig, "delta")
    out = patch_out(release.path, base.version)
    patch = make_patch(release, base.path, out=out, signer=rig.signer())
    if patch is None:
        raise Skipped("the delta is not smaller than the full file")
    received = rig.http.received
    rig.update(release, patch)
    came = rig.http.received - received
    if came > patch.size * _MORE + 2048:
        raise Failed(f"the board received {came:,} bytes, but the delta has {patch.size:,}")
    values = {"delta": patch.size, "whole": release.size, "received": came}
    return f"{patch.size:,} bytes instead of {release.size:,}; {release.version} runs", values


def image(rig: Rig) -> Seen:
    """Push an ESP32 image for the inactive slot; the board must roll back a copy of the running
    one.
    """
    running, slot = rig.found.get("running"), rig.found.get("slot")
    if not slot:
        raise Skipped("this board has no OTA slots")
    before = rig.version
    assert before
    source = rig.image or _copy_of_running(rig, running)
    rig.restart()  # an earlier step, or the copy, has stopped the program
    version = (rig.image and rig.image_version) or rig.next_version("image")
    out = rig.folder / f"{version}.bin"
    release = sign(source, rig.signer(), out=out, version=version)
    rig.api.upload(release.path, version, APPLICATION)
    begun = rig.push(version)
    if rig.image is None:
        said = rig.wait_rollback(version, begun, before)
        words = f"the board started a copy of {running} from {slot}, and rolled back: {said}"
        return words, _size(release)
    rig.finish(release, begun)
    # Return to the slot that ran: only the inactive slot may be left changed.
    rig.ask(on_board_measure.choose_slot, label=running)
    rig.restart()
    rig.ask(on_board_measure.keep_slot)
    return f"{version} ran from {slot} and was confirmed; {running} runs again", _size(release)


def flash(rig: Rig) -> Seen:
    """Check the flash at the end: the state, and the running version's file."""
    if rig.running is None:
        raise Skipped("no update was confirmed")
    rig.ask(on_board.feed_watchdog, state=STATE)
    state = rig.ask(on_board.load, path=STATE) or {}
    active = state.get("active")
    found = rig.ask(on_board.digest, path=active) if active else None
    wanted = [rig.running.size, rig.running.sha256]
    if found != wanted:
        raise Failed(f"size and SHA-256 of {active} are {found}, but the release has {wanted}")
    if state.get("trial"):
        raise Failed(f"the state file still contains a trial: {state['trial']}")
    return f"{active} has the SHA-256 of {rig.running.version}", {}


def _measuring(rig: Rig, word: str, size: int | None = None) -> Release:
    version = rig.next_version(word)
    folder = applications.write_measuring(rig.folder / f"app-{word}", version)
    try:
        return rig.pack(folder, version, signer=rig.signer(), size=size)
    except ReleaseError as error:
        raise BoardError(str(error)) from None


def _resumed(rig: Rig, release: Release, received: int, words: str) -> Seen:
    came = rig.http.received - received
    if came > release.size * _MORE:
        raise Failed(
            f"the board received {came:,} bytes for a file of {release.size:,}: it did not resume "
            "the download"
        )
    share = 100 * (came - release.size) / release.size
    values = {**_size(release), "received": came}
    return f"{words}; resumed, and received {share:.1f} % more bytes than the file size", values


def _size(release: Release) -> dict[str, Any]:
    return {"bytes": release.size}


def _copy_of_running(rig: Rig, label: Any) -> Path:
    """Read the application in the running partition over the serial line."""
    data = bytearray()
    rig.ask(on_board.feed_watchdog, state=STATE)
    size = next(each["size"] for each in rig.ask(on_board.partitions) if each["label"] == label)
    while len(data) < size:
        count = min(_BLOCKS_AT_ONCE, (size - len(data)) // _BLOCK)
        with rig.console.released():
            text = rig.board.run("exec", _print_source(label, len(data) // _BLOCK, count))
        blocks = [line for line in text.splitlines() if len(line) > _BLOCK]
        if len(blocks) != count:
            raise Failed(
                f"only {len(blocks)} of {count} blocks of {label} arrived over the serial line"
            )
        data += b"".join(map(base64.b64decode, blocks))
        try:
            found = esp32_image.read(bytes(data))
        except ReleaseError:
            continue  # not all of it has arrived yet
        if found:
            path = rig.folder / "running.bin"
            path.write_bytes(bytes(data[: found.size]))
            inspect(path)
            return path
    raise Failed(f"the partition {label} does not contain a complete image")


def _print_source(label: Any, first: int, count: int) -> str:
    from ivota_tools.board.mpremote import call_source

    return call_source(on_board_measure.print_partition, label=label, first=first, count=count)
