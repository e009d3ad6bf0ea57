"""Render the results of `ivota board`: sentences, rows, board output and a progress bar."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from ivota_tools.board.acceptance.results import Result
from ivota_tools.board.removal import Removal
from ivota_tools.board.serial_output import parse, printable
from ivota_tools.cli.terminal import cell, err, out, say


def _say(text: str) -> None:
    say(printable(text))


def show_install(result: dict[str, Any]) -> None:
    _say(f"{_about(result['board'])} at {result['port']}")
    copied, kept = result["copied"], result["kept"]
    if copied:
        rest = f"; {_files(result['unchanged'])} unchanged" if result["unchanged"] else ""
        _say(f"Copied {_files(len(copied))}{rest}.")
    else:
        _say(f"Nothing to copy: {_files(result['unchanged'])} already up to date.")
    for name in result["removed"]:
        _say(f"Removed {name} from an older installation.")
    for name in kept:
        _say(f"Saved your own file as {name}.")
    if result["active"]:
        _say(f"Update {result['active']} keeps running; the installed files are its fallback.")
    _warn_of_fat(result["board"])
    if not result["reset"]:
        return _say("The board is stopped. Reset the board to start ivota.")
    _say(
        f"The board is starting. Look for {result['device']} in the cloud, or watch the board "
        f"connect: ivota board watch --port {result['port']}"
    )


def show_status(result: dict[str, Any]) -> None:
    board = result["board"]
    package = {
        "current": "same version as on this computer",
        "other": "not the version on this computer",
        "none": "not installed",
        "frozen": f"version {result['frozen']}, in the board's firmware",
    }
    rows = [("board", _about(board)), ("port", result["port"])]
    rows += [("flash", f"{_kib(board['free'])} free of {_kib(board['size'])}")]
    rows += [("ivota", package[result["package"]])]
    boot = result["boot"]
    if boot:
        formats = ", ".join(map(str, boot["formats"]))
        rows += [("boot files", f"version {boot['version']}, for bundles of format {formats}")]
    if result["version"] is not None:
        rows += [("runs", f"{result['version']} (from the {result['version_from']})")]
    rows += [("device", result["device"] or "no configuration")]
    if result["broker"]:
        rows += [("broker", result["broker"])]
    rows += state_rows(result["state"], result["cleared"])
    for each in result["checkpoints"]:
        at, size = each["position"], each["file_size"] or 1
        share = f"{at} of {size} bytes ({100 * at // size} %)"
        rows += [("download", f"{each['version']}: {share}")]
    for each in result["partitions"]:
        marks = [word for word in ("running", "boot") if each[word]]
        rows += [("partition", " ".join([f"{each['label']} {_kib(each['size'])}", *marks]))]
    for name, value in rows:
        _say(f"{name:<11}{value}")
    _warn_of_fat(board)


def show_removal(plan: Removal) -> None:
    """List what will be deleted, on stderr because a prompt follows."""
    for path in plan.files:
        err.print(cell(f"  {printable(path)}"), soft_wrap=True)
    for old, new in plan.back:
        err.print(cell(f"  restore {old} as {new}"), soft_wrap=True)


def show_removed(gone: list[str]) -> None:
    if not gone:
        return _say("ivota is not installed on the board.")
    _say(f"Removed {_files(len(gone))}. The board now runs without ivota.")


def show_line(line: str | None, as_json: bool) -> None:
    """Show a line of board output; None means that there was none for a while."""
    if line is None:
        nothing = "No output from the board yet. If the board waits at a prompt, use --reset."
        err.print(cell(nothing, "dim"), soft_wrap=True)
        return
    event = parse(line)
    now = time.time()
    if as_json:
        found: dict[str, Any] = {"time": round(now, 3)}
        found |= {"event": event.name, **event.fields} if event else {"line": line}
        print(json.dumps(found), flush=True)
        return
    text = cell("")
    text.append(time.strftime("%H:%M:%S  ", time.localtime(now)), style="dim")
    if event is None:
        text.append(line, style="dim")
    else:
        bad = any(word in event.name for word in ("fail", "lost", "error", "refused"))
        text.append(f"{event.name:<16}", style="bold red" if bad else "bold green")
        for key, value in event.fields.items():
            text.append(f" {key}=", style="dim")
            text.append(value)
    out.print(text, soft_wrap=True)


_OUTCOMES = {"PASS": "green", "SKIP": "yellow", "FAIL": "bold red"}


def show_step(told: Result | str) -> None:
    """Show the start of a step on stderr, and its result on stdout."""
    if isinstance(told, str):
        err.print(cell(f"{told} …", "dim"), soft_wrap=True)
        return
    text = cell(f"{told.outcome}  ", _OUTCOMES[told.outcome])
    text.append(f"{told.title} ({told.seconds:.1f} s): ", style="not bold default")
    text.append(printable(" ".join(told.seen.split())), style="not bold default")
    out.print(text, soft_wrap=True)


def ask_person(what: str) -> bool:
    """Ask at the terminal; return False if there is none."""
    if not (sys.stdin.isatty() and err.is_terminal):
        return False
    err.print(
        cell(f"{what}, then press Enter here. To skip this step, type s first."), soft_wrap=True
    )
    return input().strip().lower() != "s"


def show_test(result: dict[str, Any], paths: tuple[Path, Path]) -> None:
    failed = [each["title"] for each in result["steps"] if each["outcome"] == "FAIL"]
    _say(f"Report: {paths[1]} and {paths[0]}")
    _say(f"Failed: {', '.join(failed)}" if failed else "No step failed.")


def show_restored(back: bool) -> None:
    _say(
        "The board has its own files again."
        if back
        else "This board has no files that a test moved aside."
    )


def state_rows(state: dict[str, Any], cleared: bool) -> list[tuple[str, str]]:
    """Return the state file as rows; `cleared` if rejected firmware was allowed again."""
    rows = []
    for key in ("active", "previous"):
        if state.get(key):
            rows.append((key, state[key]))
    trial = state.get("trial")
    if trial:
        rows.append(
            (
                "on trial",
                f"{trial.get('version', '?')}: {state.get('starts', 0)} starts after a crash, "
                f"{state.get('power_boots', 0)} other starts",
            )
        )
    if state.get("outbox"):
        rows.append(("unsent", str(state["outbox"])))
    if state.get("serial"):
        rows.append(("channel", f"index {state['serial']}{_last(state.get('last'))}"))
    for entry in state.get("rejected") or ():
        rows.append(("rejected", " ".join(str(part) for part in entry)))
    if cleared:
        rows.append(("rejected", "none (list cleared)"))
    return rows


def _last(report: Any) -> str:
    """Say how the last update from a channel ended."""
    try:
        found = json.loads(report)["report"]
        said = found["progress"]
        why = f": {said['result_msg']}" if said["result_msg"] else ""
        return f"; last update {found['version']} {said['state']}{why}"
    except (KeyError, TypeError, ValueError):
        return ""


def _about(board: dict[str, Any]) -> str:
    return f"MicroPython {board['version']} on {board['machine']}"


def _warn_of_fat(board: dict[str, Any]) -> None:
    if "Fat" in board["file_system"]:
        _say(
            "Warning: this board uses a FAT file system, and a power cut during a write can "
            "destroy all of it. Use littlefs instead: ivota is power-safe on littlefs."
        )


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def _kib(size: int) -> str:
    return f"{size // 1024} KiB"
