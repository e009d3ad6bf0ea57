"""What a board runs: the package without assertions, applications as they are."""

import subprocess
from pathlib import Path

from ivota_tools import toolchain
from ivota_tools.firmware.mpy_compiler import compile_mpy


def traceback_of(path: str, source: bytes, folder: Path) -> str:
    """What a board prints when `source`, compiled to lie at `path`, is imported."""
    (folder / "broken.mpy").write_bytes(compile_mpy(source, path))
    done = subprocess.run(
        [*toolchain.micropython(32), "-c", "import broken"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_a_traceback_names_module_line_and_function_of_the_package(tmp_path: Path) -> None:
    source = b"def first():\n    pass\n\ndef second():\n    raise ValueError\nsecond()\n"
    shown = traceback_of("/lib/ivota/mine.py", source, tmp_path)
    assert 'File "ivota.mine", line 5, in second' in shown


def test_the_package_has_no_assertions(tmp_path: Path) -> None:
    assert "AssertionError" not in traceback_of("lib/ivota/mine.py", b"assert 1 == 2", tmp_path)


def test_an_application_keeps_its_assertions(tmp_path: Path) -> None:
    shown = traceback_of("app.py", b"assert 1 == 2", tmp_path)
    assert 'File "app.py", line 1' in shown
    assert "AssertionError" in shown
