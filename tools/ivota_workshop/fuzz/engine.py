"""Fuzz a target in one process, with atheris if it is installed.

python -m ivota_workshop.fuzz.engine NAME --runs 100000 --seed 1 --work FOLDER [--mistake 0]

`FOLDER/found/` receives the inputs that reached new code, `FOLDER/crash-…` the input at which the
check raised; that ends the run with a non-zero exit status. A planted fault has to be found from
the valid inputs alone. Without atheris there is no coverage to follow, and the same seeds are
changed at random. The same arguments and corpus produce the same inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random as Chance
from typing import Any

from ivota_tools.common.project_files import CHECKOUT

from . import mutate, target, worlds
from .target import Mistake, Target

# For one input, by the clock: a safety net for hangs that a busy machine must not reach. The work
# itself is limited in lines.
TIMEOUT_S = 300
MEMORY_MB = 2048
_DONE = re.compile(r"^(?:stat::number_of_executed_units:\s*|ran )(\d+)", re.MULTILINE)
_CPU = re.compile(r"^after (\S+) s of the processor$", re.MULTILINE)
_FILE = re.compile(r"Test unit written to (\S+)")
_CHANGED = 5  # of 10 inputs, those that are changed within their format


@dataclass(frozen=True)
class Outcome:
    """The result of a run: the number of `inputs`, the `crash` input at which the check raised,
    the process's output `said`, its duration `seconds`, and the CPU time `cpu_s` that it used
    until a crash."""

    inputs: int
    crash: bytes | None
    said: str
    seconds: float
    cpu_s: float = 0

    @property
    def why(self) -> str:
        """Return the last line of a crash's traceback."""
        found = re.findall(
            r"^(?:\w+\.)*(\w*(?:Error|Exit|Exception|Hang|Iteration)\b.*)$", self.said, re.M
        )
        return found[-1] if found else self.said.strip()[-200:]


def guided() -> bool:
    """Return whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def run(
    name: str,
    runs: int,
    seed: int = 1,
    work: Path | None = None,
    mistake: int | None = None,
    seconds: float = 0,
) -> Outcome:
    """Fuzz in a separate process, for at most `seconds` if given.

    Raises RuntimeError if it ends other than by a crash or by completing its runs.
    """
    with tempfile.TemporaryDirectory(prefix="ivota-fuzz-") as temporary:
        folder = work or Path(temporary)
        command = [sys.executable, "-m", f"{__package__}.engine", name]
        command += ["--runs", str(runs), "--seed", str(seed), "--work", str(folder)]
        if mistake is not None:
            command += ["--mistake", str(mistake)]
        if seconds:
            command += ["--seconds", str(seconds)]
        started = time.monotonic()
        done = subprocess.run(
            command,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        took = time.monotonic() - started
        file = _FILE.search(done.stdout)
        crash = Path(file[1]).read_bytes() if file else None
        count, cpu = _DONE.search(done.stdout), _CPU.search(done.stdout)
        if crash is None and (done.returncode or not count):
            raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}")
        inputs, cpu_s = int(count[1]) if count else 0, float(cpu[1]) if cpu else 0
        return Outcome(inputs, crash, done.stdout, took, cpu_s)


def _fuzz(
    name: str, found: Target, mistake: Mistake | None, given: argparse.Namespace, folder: Path
) -> None:
    """Fuzz with atheris; this ends the process."""
    import atheris

    def patch(code: Any) -> Any:
        return atheris.patch_code(code, found.compares)

    check = worlds.check_of(name, found, mistake, patch)
    valid = _valid(name)

    def one(data: bytes) -> None:
        try:
            check(data)
        except BaseException:
            print(f"after {time.process_time():.1f} s of the processor", flush=True)
            raise

    def change(data: bytes, most: int, seed: int) -> bytes:
        chance = Chance(seed)
        if found.mutate and chance.randrange(10) < _CHANGED:
            return _changed_within(bytes(data), found, valid, chance)[:most]
        mutated: bytes = atheris.Mutate(data, most)
        return mutated

    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for seed, data in _inputs(name, mistake).items():
        (corpus / seed).write_bytes(data)
    words = folder / "words"
    words.write_text("".join(f'"{_quoted(word)}"\n' for word in found.words))
    options = [
        f"-runs={given.runs}",
        f"-seed={given.seed}",
        f"-max_len={found.most}",
        f"-max_total_time={int(given.seconds)}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-len_control=0",
        "-verbosity=1",
    ]
    if found.words:
        options.append(f"-dict={words}")
    atheris.Setup(
        [sys.argv[0], *options, str(folder / "found"), str(corpus)],
        one,
        custom_mutator=change,
    )
    atheris.Fuzz()


def _inputs(name: str, mistake: Mistake | None) -> dict[str, bytes]:
    """Return the inputs from which a run starts."""
    found = target.corpus(name)
    return {n: data for n, data in found.items() if n.startswith("good") or not mistake}


def _quoted(word: str) -> str:
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in word.encode()
    )


def _valid(name: str) -> list[bytes]:
    return [data for n, data in target.corpus(name).items() if n.startswith("good")]


def _changed_within(data: bytes, found: Target, valid: list[bytes], chance: Chance) -> bytes:
    """Change an input within its format; a valid one instead of one that does not have it.

    Otherwise the inputs that random changes have broken would soon be most of all.
    """
    assert found.mutate
    made = found.mutate(data, chance)
    return found.mutate(chance.choice(valid), chance) if made == data else made


def _random(
    name: str, found: Target, mistake: Mistake | None, given: argparse.Namespace, folder: Path
) -> None:
    """Fuzz without atheris."""
    check = worlds.check_of(name, found, mistake)
    inputs = list(_inputs(name, mistake).values())
    valid = _valid(name)
    chance = Chance(given.seed)
    until = time.monotonic() + given.seconds if given.seconds else None
    ran = 0
    for ran in range(1, given.runs + 1):
        data = inputs[ran - 1] if ran <= len(inputs) else changed(inputs, found, valid, chance)
        try:
            check(data)
        except BaseException:
            path = folder / f"crash-{hashlib.sha1(data).hexdigest()}"
            path.write_bytes(data)
            traceback.print_exc()
            print(f"Test unit written to {path}\nran {ran}")
            sys.exit(77)
        if until and time.monotonic() > until:
            break
    print(f"ran {ran}")


def changed(inputs: list[bytes], found: Target, valid: list[bytes], chance: Chance) -> bytes:
    """Return one of the inputs, changed at random."""
    data = chance.choice(inputs)
    if found.mutate and chance.randrange(10) < _CHANGED:
        return _changed_within(data, found, valid, chance)[: found.most]
    return mutate.any_bytes(data, chance, found.most)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.fuzz.engine")
    parser.add_argument("name", choices=target.names())
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--mistake", type=int)
    given = parser.parse_args()
    found = target.load(given.name)
    mistake = None if given.mistake is None else found.mistakes[given.mistake]
    (given.work / "found").mkdir(parents=True, exist_ok=True)
    (_fuzz if guided() else _random)(given.name, found, mistake, given, given.work)


if __name__ == "__main__":
    main()
