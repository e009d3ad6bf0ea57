"""Run apt-get with a private state, without root and without changing the system."""

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
    """A suite lacks a package or could not be read."""


@dataclass(frozen=True)
class Apt:
    """apt-get with all of its state in a private folder, for a suite and an architecture."""

    state: Path
    options: tuple[str, ...]

    @classmethod
    @contextlib.contextmanager
    def private(cls, mirror: str, suite: str, architecture: str) -> Iterator[Apt]:
        """Create an apt-get with the suite's index, temporarily. Raises AptError."""
        with tempfile.TemporaryDirectory(prefix="ivota-apt-") as name:
            state = Path(name)
            for needed in ("lists/partial", "cache/archives/partial", "debs"):
                (state / needed).mkdir(parents=True)
            (state / "status").touch()  # nothing is installed, so all dependencies are listed
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
                # Otherwise root's apt would switch to a user without write access.
                "APT::Sandbox::User": "",
                # A failed download is an error, not a warning.
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
        """Run `apt-get` and return its output. Raises AptError with its error message."""
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
        """Unpack a program and its libraries into `root`; return its version.

        `parts` are prefixes of the packages that contain the program if the package of its name
        only depends on them. `also` are more packages, `keep` are folders of /usr/share. Without
        `own_libc`, the program uses this machine's C library.
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
            raise AptError(f"apt cannot find {program}")
        # Skip packages for a whole system (users, init scripts, locales).
        wanted = [
            name
            for name in versions
            if name == program
            or name in also
            or (parts and name.startswith(parts))
            # Remove an optional just-in-time compiler of 100 MB.
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
    # Use the C locale, so that the parsed lines are in English.
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise AptError(
            (
                complaints
                or [done.stderr.strip() or f"{command[0]} failed with exit code {done.returncode}"]
            )[0]
        )
    return done.stdout
