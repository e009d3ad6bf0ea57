"""Deliberate faults: the boards' code with one mistake in it, which the proof must detect.

Each fault replaces text in the sources when a board's files are installed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.mpy_compiler import compile_mpy

from .bench import Bench
from .campaign import PROCESSES
from .cases import Result, complete, flip, full, starts
from .cuts import Images
from .plan import QUICK, singles
from .played import Played, play
from .processes import processes
from .scenarios import scenarios

SINGLES = 250  # maximum cuts after which a fault must be detected
_START = 12  # number of a start's operations at which the power is cut


@dataclass(frozen=True)
class Mistake:
    """`changes`: (file, text, its replacement). `scenario` must reveal it: by single cuts, by cuts
    in five starts in a row, by flashes that are full after a cut, or by flipped bits."""

    name: str
    scenario: str
    changes: tuple[tuple[str, str, str], ...]
    by: str = "cut"  # or "starts", "full", "flip"


@dataclass(frozen=True)
class Caught:
    """How a mistake was detected: in which case, at which attempt, with which finding. `case` is
    "" if it was not."""

    name: str
    case: str
    cases: int
    text: str


_END_BLOCK = "    target.end_block()\n"
_CHECKPOINT = """    known = once("json_file").load(target.checkpoint)
    known["position"] = target.position
    once("json_file").save(target.checkpoint, known)
"""
_CONFIRM = """            confirm(state, text)
            client.enqueue("final", text)
"""
_CONFIRM_LATE = """            client.enqueue("final", text)
            client.send()
            confirm(state, text)
"""
_PUBLISH = "        self.publish(self._sending[1], 1, self._sending[0])\n"
_PHASE = '                job.enter("owner_signature")  # which returns to this phase\n'
_EARLY = """                taker = once("activation").Installer(client)
                while not taker.check(push):
                    pass
"""
_ACTIVATE = '        into = once("image_trial").activate if firmware.slot else activate\n'
_TOO_EARLY = '        once("json_file").remove(firmware.path[:-4] + ".bin")\n'

MISTAKES = (
    Mistake(
        "no block is flushed",
        "few",
        (("lib/ivota/file_target.py", "            self.file.flush()\n", ""),),
    ),
    Mistake(
        "the checkpoint runs ahead of the data",
        "few",
        (
            ("lib/ivota/body_download.py", _END_BLOCK, _CHECKPOINT + _END_BLOCK),
            (
                "lib/ivota/download_preparation.py",
                "max(firmware_folder.size_of(path), 0),",
                'checkpoint["position"],',
            ),
        ),
    ),
    Mistake(
        "a resume writes from the first byte",
        "few",
        (("lib/ivota/file_target.py", "        self.file.seek(position)\n", ""),),
    ),
    Mistake(
        "small files are written in place",
        "few",
        (
            ("lib/ivota/json_file.py", 'temporary = path + "~"', "temporary = path"),
            (
                "lib/ivota/json_file.py",
                "            file.write(part)\n",
                "            file.flush()\n            file.write(part)\n"
                "            file.flush()\n",
            ),
            ("lib/ivota/json_file.py", "    os.rename(temporary, path)\n", ""),
        ),
    ),
    Mistake(
        "the checkpoint stays",
        "few",
        (
            (
                "lib/ivota/target_base.py",
                "        if not self.slot:\n",
                "        if False:\n",
            ),
        ),
    ),
    Mistake(
        "a bundle is not examined",
        "refused",
        (
            (
                "lib/ivota/activation.py",
                "        for _ in self._work:\n            return False\n",
                "",
            ),
        ),
    ),
    Mistake(
        "the version before is not kept",
        "crash",
        (("lib/ivota/activation.py", "state.previous = state.active", "state.previous = None"),),
    ),
    Mistake(
        "a new version runs without a trial",
        "limit",
        (("lib/ivota/activation.py", "    state.trial = trial\n", "    state.trial = None\n"),),
    ),
    Mistake(
        "confirmation and report are two writes",
        "one",
        (
            (
                "lib/ivota/trial.py",
                '    once("state").save(state)\n',
                '    state.outbox = None\n    once("state").save(state)\n'
                '    state.outbox = outbox\n    once("state").save(state)\n',
            ),
        ),
    ),
    Mistake(
        "done is said before it is confirmed",
        "few",
        (("lib/ivota/trial.py", _CONFIRM, _CONFIRM_LATE),),
    ),
    Mistake(
        "the outbox is emptied at the publish",
        "one",
        (
            (
                "lib/ivota/report_queue.py",
                _PUBLISH,
                _PUBLISH + '        if self._sending[0] == "final":\n'
                '            once("state").sent(self.state)\n',
            ),
        ),
    ),
    Mistake(
        "a report is dropped before it is posted",
        "channel",
        (
            (
                "lib/ivota/http_channel.py",
                "        found = None\n        if topic",
                "        found = None\n        if message == owner.state.outbox:\n"
                "            owner.state.last = message\n            owner.on_acked()\n"
                "        if topic",
            ),
        ),
    ),
    Mistake(
        "the outbox is never emptied",
        "one",
        (("lib/ivota/state.py", "    state.outbox = None\n    save(state)\n", ""),),
    ),
    Mistake(
        "going back is not written",
        "limit",
        (
            (
                "lib/ivota/trial_rollback.py",
                'state.previous, None, None\n    once("state").save(state)\n',
                "state.previous, None, None\n",
            ),
        ),
    ),
    Mistake(
        "a slot is not erased where a download goes on",
        "image few",
        (
            (
                "lib/ivota/slot_target.py",
                "        self.position = self.durable = position\n",
                "        self.position = self.durable = position\n"
                "        self.begun = position or -1\n",
            ),
            (
                "lib/ivota/slot_target.py",
                "        if not at % _BLOCK:\n            part",
                "        if not at % _BLOCK and at != self.begun:\n            part",
            ),
        ),
    ),
    Mistake(
        "the position in a slot runs ahead",
        "image few",
        (("lib/ivota/slot_target.py", '"position", position)', '"position", position + 4096)'),),
    ),
    Mistake(
        "the boot loader knows before the state",
        "image one",
        (
            (
                "lib/ivota/image_trial.py",
                '    once("activation").activate(state, None, trial)\n    try:',
                "    try:",
            ),
            (
                "lib/ivota/image_trial.py",
                ".set_boot()\n    except",
                '.set_boot()\n        once("activation").activate(state, None, trial)\n    except',
            ),
        ),
    ),
    Mistake(
        "an image for another chip is taken",
        "image refused",
        (
            (
                "lib/ivota/image_trial.py",
                "    if found[12:14] != own[12:14]:  # esp_image_header_t's chip_id\n",
                "    if False:\n",
            ),
        ),
    ),
    Mistake(
        "an image is not marked as valid",
        "image one",
        (
            (
                "lib/ivota/image_trial.py",
                "        Partition.mark_app_valid_cancel_rollback()\n",
                "",
            ),
        ),
    ),
    Mistake(
        "starts of a trial are not counted",
        "crash",
        (("boot.py", "state[key] = state.get(key, 0) + 1", "state[key] = state.get(key, 0)"),),
    ),
    Mistake(
        "power-on counts as a crash",
        "one",
        (
            (
                "lib/bundlefs.py",
                '    return reset("WDT_RESET")\n',
                "    return True\n",
            ),
        ),
        by="starts",
    ),
    Mistake(
        "the signature is not compared",
        "signed stranger",
        (
            (
                "lib/ivota/owner_signature.py",
                "signature < modulus and (",
                "signature < modulus or (",
            ),
        ),
    ),
    Mistake(
        "the payload is looked into before the signature",
        "signed stranger",
        (("lib/ivota/verification.py", _PHASE, _EARLY + _PHASE),),
    ),
    Mistake(
        "the number rises before the confirmation",
        "signed crash",
        (
            (
                "lib/ivota/activation.py",
                '        once("state").save(state)\n',
                '        state.sequence = trial["sequence"]\n        once("state").save(state)\n',
            ),
        ),
    ),
    Mistake(
        "what an image is signed by is not asked",
        "image stranger",
        (("lib/ivota/verification.py", 'if client.config["keys"]:', "if False:"),),
    ),
    Mistake(
        "the base of a delta is not compared",
        "delta wrong",
        (
            (
                "lib/ivota/patch_preparation.py",
                "if lacks or header.base_size and digest.digest()",
                "if b'' and digest",
            ),
        ),
    ),
    Mistake(
        "what a delta makes is not compared",
        "delta false",
        (("lib/ivota/patcher.py", "if target.digest.digest()", "if b'' and target.digest"),),
    ),
    # A patch that is larger than the block that may be fetched again.
    Mistake(
        "a patch goes before what it made is active",
        "compressed",
        (("lib/ivota/activation.py", _ACTIVATE, _TOO_EARLY + _ACTIVATE),),
    ),
    Mistake(
        "a bundle is not compared with its sum",
        "few",
        (("lib/bundlefs.py", "if md5 and md5 != md5_of(path):", "if False:"),),
        by="flip",
    ),
    Mistake(
        "a report that can't be written ends the client",
        "image few",
        (
            (
                "lib/ivota/trial.py",
                "except OSError as error:",
                "except MemoryError as error:",
            ),
        ),
        by="full",
    ),
)


def changed(mistake: Mistake) -> dict[str, bytes]:
    """Return a board's files with the fault. Raises ValueError if a text to replace is gone."""
    sources: dict[str, str] = {}
    for name, old, new in mistake.changes:
        source = sources.get(name) or (CHECKOUT / name).read_text()
        if source.count(old) != 1:
            raise ValueError(f"{mistake.name}: {name} has {source.count(old)} times: {old}")
        sources[name] = source.replace(old, new)
    files = {}
    for name, source in sources.items():
        path = f"/{name}"
        if name == "boot.py":
            files[path] = source.encode()
        else:
            files[path.removesuffix(".py") + ".mpy"] = compile_mpy(source.encode(), path)
    if "/lib/bundlefs.mpy" in files:
        files["/bundlefs.mpy"] = files["/lib/bundlefs.mpy"]
    return files


def catch(mistake: Mistake, good: Played, folder: Path) -> Caught:
    """Try cuts, in shuffled order, until one shows that something is wrong."""
    files = changed(mistake)
    scenario = scenarios()[mistake.scenario]
    played, wrong = play(scenario, folder, files)
    played = replace(played, files=good.files | files)
    name = scenario.name
    if wrong:
        return Caught(mistake.name, f"{name} undisturbed", 0, wrong[0])
    tried = 0
    with Bench(folder / "bench", played.stage) as bench:
        for result in _cases(mistake, played, bench):
            tried += 1
            if result.faults:
                return Caught(mistake.name, result.case, tried, result.faults[0].text)
    return Caught(mistake.name, "", tried, "")


def _cases(mistake: Mistake, played: Played, bench: Bench) -> Iterator[Result]:
    if mistake.by == "starts":
        # Begin with the last operations, where the trial is; a start has few early ones.
        for first in reversed(range(len(played.recording.operations))):
            yield from (starts(played, bench, first, again) for again in range(4, _START))
        return
    cuts = singles(played, QUICK, 0)
    random.Random(mistake.name).shuffle(cuts)
    for seed, cut in enumerate(cuts[:SINGLES]):
        if mistake.by == "full":
            yield full(played, bench, cut)
        elif mistake.by == "flip":
            if result := flip(played, bench, cut, seed):
                yield result
        else:
            image, _ = Images(played.recording).cut(cut)
            yield complete(played, bench, (cut,), image, played.recording.known_at(cut.at))


def catch_all(
    mistakes: Sequence[Mistake], good: Mapping[str, Played], folder: Path
) -> list[Caught]:
    """Try all mistakes, in as many processes as there are cores."""
    goods = [good[each.scenario] for each in mistakes]
    folders = [folder / f"mistake-{n}" for n in range(len(mistakes))]
    with processes(PROCESSES) as pool:
        return list(pool.map(catch, mistakes, goods, folders))
