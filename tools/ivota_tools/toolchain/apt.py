"""Debian's packages without root and without touching the system: apt-get, its state elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


class AptError(Exception):
    """One suite did not give what was asked of it."""


@dataclass(frozen=True)
class Apt:
    """apt-get with all of its state in a folder of our own, for one suite and architecture."""

    state: Path
    options: tuple[str, ...]

    @classmethod
    @contextlib.contextmanager
    def private(cls, mirror: str, suite: str, architecture: str) -> Iterator[Apt]:
        """An apt-get that has the suite's index, for as long as it is needed. Raises AptError."""
        with tempfile.TemporaryDirectory(prefix="ivota-apt-") as name:
            state = Path(name)
            for needed in ("lists/partial", "cache/archives/partial", "debs"):
                (state / needed).mkdir(parents=True)
            (state / "status").touch()  # nothing is installed, so everything needed is listed
            keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
            signed = f"[signed-by={keyring}] " if keyring.exists() else ""
            (state / "sources.list").write_text(f"deb {signed}{mirror} {suite} main\n")
            settings = {
                "Dir::State": state,
                "Dir::State::Lists": state / "lists",
                "Dir::State::status": state / "status",
                "Dir::Etc::sourcelist": state / "sources.list",
                "Dir::Etc::sourceparts": "/dev/null",
                "Dir::Etc::preferences": "/dev/null",
                "Dir::Etc::preferencesparts": "/dev/null",
                "Dir::Cache": state / "cache",
                "APT::Architecture": architecture,
                "APT::Architectures": architecture,
                # root's apt would else become a user who may not write here.
                "APT::Sandbox::User": "",
                # A part that did not download is an error, not a warning.
                "APT::Update::Error-Mode": "any",
                "Acquire::Languages": "none",
                "Acquire::Retries": "2",
                "Acquire::http::Timeout": "30",
                "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
                "Acquire::IndexTargets::deb::CNF::DefaultEnabled": "false",
            }
            options = [
                word for key, value in settings.items() for word in ("-o", f"{key}={value}")
            ]
            apt = cls(state, tuple(options))
            apt.run("update")
            yield apt

    def run(self, *words: str) -> str:
        """What `apt-get words…` prints. Raises AptError with its own complaint."""
        return _checked(["apt-get", "-q", *self.options, *words], self.state / "debs")

    def unpack(
        self,
        program: str,
        root: Path,
        parts: str | None = None,
        also: Sequence[str] = (),
        keep: Sequence[str] = (),
        own_libc: bool = True,
    ) -> str:
        """Unpacks a program and the libraries it needs into `root`; its version.

        `parts` is how the names of packages begin that hold the program itself, where that of its
        name only depends on them. `also` are further packages, `keep` folders of /usr/share.
        Without `own_libc` it is to run on this machine's C library.
        """
        versions = {}
        # "Inst libc6 (2.43-7 Debian:testing [amd64])"
        for line in self.run(
            "-s", "install", "--no-install-recommends", program, *also
        ).splitlines():
            words = line.split()
            if words[:1] == ["Inst"]:
                versions[words[1]] = words[2].lstrip("(")
        if program not in versions:
            raise AptError(f"apt finds no {program}")
        # The rest (users, init scripts, locales) is for a system, not for an unpacked program.
        wanted = [
            name
            for name in versions
            if name == program
            or name in also
            or (parts and name.startswith(parts))
            # A just-in-time compiler of a hundred megabytes, which is loaded when it is there.
            or name.startswith(("lib", "zlib1g"))
            and not name.endswith("-dbg")
            and not name.startswith("libllvm")
            and (own_libc or name != "libc6")
        ]
        self.run("download", *wanted)
        root.mkdir(parents=True)
        for package in sorted((self.state / "debs").glob("*.deb")):
            _checked(["dpkg", "-x", str(package), str(root)], root)
        shared = root / "usr/share"  # manuals, translations
        for folder in shared.glob("*"):
            if folder.name not in keep and (parts is None or folder.name != program):
                shutil.rmtree(folder, ignore_errors=True)
        if shared.exists() and not any(shared.iterdir()):
            shared.rmdir()
        return versions[program]


def _checked(command: Sequence[str], folder: Path) -> str:
    # C: the lines that are parsed are in English.
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise AptError((complaints or [done.stderr.strip() or f"exit {done.returncode}"])[0])
    return done.stdout
