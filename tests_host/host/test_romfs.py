"""ROMFS images against MicroPython's own writer and its own file system."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from mpremote.romfs import VfsRomWriter

from ivota_tools import toolchain
from ivota_tools.firmware import romfs

CASES = {
    "one file": {"app.py": b"print(1)\n"},
    "an empty file": {"empty": b""},
    "folders": {"a/b/c.txt": b"c" * 300, "a/d": b"d", "z": b"z" * 20_000},
    "an odd length": {"x": b"12"},
    "an even length": {"x": b"123"},
    "no file": {},
}


def as_mpremote_writes(contents: dict[str, bytes]) -> bytes:
    writer = VfsRomWriter()
    opened: list[str] = []
    for path, data in contents.items():
        *folders, name = path.split("/")
        while opened != folders[: len(opened)]:
            opened.pop()
            writer.closedir()
        for folder in folders[len(opened) :]:
            opened.append(folder)
            writer.opendir(folder)
        writer.mkfile(name, data)
    for _ in opened:
        writer.closedir()
    made = writer.finalise()
    assert isinstance(made, bytes)
    return made


@pytest.mark.parametrize("name", CASES)
def test_an_image_is_what_micropythons_own_writer_makes(name: str) -> None:
    image = romfs.build(CASES[name])
    assert image == as_mpremote_writes(CASES[name])
    assert dict(romfs.files(image)) == CASES[name]
    assert romfs.size(image) == len(image) and len(image) % 2 == 0


READ = """
import json, os, sys, vfs
with open(sys.argv[1], "rb") as file:
    image = file.read()
vfs.mount(vfs.VfsRom(image), "/rom")
def below(folder):
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000:
            yield from below(path)
        else:
            with open(path, "rb") as file:
                yield path[5:], list(file.read())
print(json.dumps(dict(below("/rom"))))
"""


@pytest.mark.parametrize("bits", [32, 64])
def test_the_real_file_system_mounts_it(bits: int, tmp_path: Path) -> None:
    """With names in UTF-8, and bytes behind the image, as a signature is."""
    contents = {
        "ivota.json": b"{}",
        "lib/Müller (1).txt": bytes(range(256)),
        "本/x.py": b"x = 1\n",
    }
    (tmp_path / "image").write_bytes(romfs.build(contents) + b"IVOTASIG")
    command = [*toolchain.micropython(bits), "-c", "import vfs; print(hasattr(vfs, 'VfsRom'))"]
    if "True" not in subprocess.run(command, capture_output=True, text=True).stdout:
        pytest.skip("this machine has no MicroPython with VfsRom in this width")
    (tmp_path / "read.py").write_text(READ)
    done = subprocess.run(
        [*toolchain.micropython(bits), str(tmp_path / "read.py"), str(tmp_path / "image")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {path: bytes(data) for path, data in json.loads(done.stdout).items()} == contents


def many(record: bytes, file: bytes = b"") -> bytes:
    """An image with more of these records than any board's bundle, perhaps inside a file."""
    payload = 5000 * record
    if file:
        payload = romfs._record(5, file + payload)
    return romfs.MAGIC + romfs._integer(len(payload)) + payload


@pytest.mark.parametrize(
    ("image", "why"),
    (
        (b"", "does not start like"),
        (b"ustar", "does not start like"),
        (romfs.MAGIC + b"\x05ab", "ends early"),
        (romfs.MAGIC + b"\xff\xff\xff\xff\xff\x01", "no length"),
        (romfs.MAGIC + b"\x02\x05\x09", "longer than its container"),
        (romfs.MAGIC + b"\x02\x02\x00", "unknown record kind 2"),
        (romfs.MAGIC + b"\x04\x05\x02\x01a", "has no data"),
        (romfs.MAGIC + b"\x06\x05\x04\x01/\x02\x00", "no name"),
        (romfs.MAGIC + b"\x06\x05\x04\x01\xff\x02\x00", "not UTF-8"),
        (romfs.MAGIC + b"\x06\x05\x04\x09a\x02\x00", "no name"),
        (many(b"\1\0"), "more than 4096 records"),
        (many(b"\4\2\1a"), "more than 4096 records"),
        (many(b"\5\4\1a\2\0"), "more than 4096 records"),
        (many(b"\2\0", b"\1a"), "more than 4096 records"),
    ),
)
def test_what_is_no_image_is_refused(image: bytes, why: str) -> None:
    with pytest.raises(romfs.RomfsError, match=why):
        list(romfs.files(image))


def test_a_path_that_is_a_file_and_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="a is a file"):
        romfs.build({"a": b"", "a/b": b""})
