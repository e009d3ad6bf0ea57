"""SWUpdate as Debian ships it: keys, signed updates, and its processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from ivota_tools.toolchain import openssl, swupdate

from .ddi_stage import TENANT, WAIT_S, Stage

BOARD = "ivota-test"
STOP_S = 5.0  # it may ignore SIGTERM: then it is killed
PAYLOAD = "payload.bin"
SUCCESS = "2"  # of `swupdate -u "-c …"`: the new system has started and works


class Signer:
    """A private key and its certificate, in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key, self.certificate = folder / f"{name}.key", folder / f"{name}.pem"
        _run(
            *openssl(),
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"),
            *("-subj", f"/CN={name}", "-keyout", str(self.key), "-out", str(self.certificate)),
        )

    def sign(self, path: Path) -> bytes:
        """Return the CMS signature of a file."""
        signature = path.with_suffix(".sig")
        _run(
            *openssl(),
            *("cms", "-sign", "-binary", "-nosmimecap", "-outform", "DER", "-in", str(path)),
            *("-signer", str(self.certificate), "-inkey", str(self.key), "-out", str(signature)),
        )
        return signature.read_bytes()


def make_swu(folder: Path, signer: Signer, payload: bytes, target: Path) -> bytes:
    """Return an update that writes `payload` to the file `target`."""
    description = (
        "software =\n{\n"
        '  version = "1.0";\n'
        f'  hardware-compatibility = [ "1.0" ];\n'
        f'  files: ( {{ filename = "{PAYLOAD}"; path = "{target}";'
        f' sha256 = "{hashlib.sha256(payload).hexdigest()}"; }} );\n'
        "}\n"
    )
    path = folder / "sw-description"
    path.write_text(description)
    files = {
        path.name: description.encode(),
        "sw-description.sig": signer.sign(path),
        PAYLOAD: payload,
    }
    archive = b"".join(_entry(number, *each) for number, each in enumerate(files.items(), 1))
    archive += _entry(0, "TRAILER!!!", b"")
    return archive + bytes(-len(archive) % 512)


def _entry(inode: int, name: str, data: bytes) -> bytes:
    """Return a member of a cpio archive with checksums (newc with CRC)."""
    fields = (inode, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, sum(data))
    head = b"070702" + b"".join(b"%08X" % (field & 0xFFFFFFFF) for field in fields)
    head += name.encode() + b"\0"
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


class Device:
    """A Linux device with SWUpdate, whose files are in `folder`."""

    def __init__(self, stage: Stage, name: str, trusted: Signer) -> None:
        self.stage, self.name, self.trusted = stage, name, trusted
        self.folder = stage.folder / name
        self.folder.mkdir()
        self.target = self.folder / "installed.bin"
        self.log = self.folder / "swupdate.log"

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run SWUpdate; `options` are for its client of hawkBit."""
        words: Sequence[str] = (
            *("-S", "hawkbit", "-t", TENANT, "-u", self.stage.cloud.public_url, "-i", self.name),
            *("-g", self.stage.token, "-p", "1", "-r", "20", "-w", "1", *options),
        )
        command = [
            *swupdate(),
            *("-l", "4", "-H", f"{BOARD}:1.0", "-k", str(self.trusted.certificate)),
            *("-u", " ".join(words)),
        ]
        # Its sockets and its temporary files are in TMPDIR.
        environment = {"TMPDIR": str(self.folder), "PATH": "/usr/bin:/bin"}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            _stop(process)

    def state(self) -> str:
        return str(self.stage.device(self.name)["state"])

    def wait_for(self, *states: str) -> str:
        return str(self.stage.wait(lambda: (now := self.state()) in states and now, f"{states}"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the process and its children, even if it ignores signals."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(WAIT_S)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)
