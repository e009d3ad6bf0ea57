"""manifest.py: what it freezes into a firmware is all that a board needs, and compiles."""

import re
from pathlib import Path

import manifests
import pytest

from ivota_tools.common import project_files
from ivota_tools.firmware.mpy_compiler import compile_mpy

ROOT = Path(__file__).parents[2]
LIBRARY = {path: ROOT / "lib" / path for path in project_files.library_files(ROOT)}


def test_the_updater_is_frozen_whole():
    frozen = manifests.evaluate(ROOT / "manifest.py")
    assert {name: path for name, (path, _) in frozen.files.items()} == LIBRARY
    assert {opt for _, opt in frozen.files.values()} == {2}
    assert frozen.required == ["umqtt.simple", "requests"]


def test_the_manifest_of_the_guide(tmp_path):
    """With the boot files, and the image's version."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    text = re.search(r"```python\n(include\(.*?)```", guide, re.DOTALL)[1]
    assert "/path/to/ivota/manifest.py" in text
    (tmp_path / "manifest.py").write_text(text.replace("/path/to/ivota", str(ROOT)))
    version = re.search(r"```python\n(VERSION = .*?)```", guide, re.DOTALL)[1]
    (tmp_path / "ivota_image.py").write_text(version)
    port = tmp_path / "port" / "boards"
    port.mkdir(parents=True)
    # As esp32's: the libraries are there already, and frozen once all the same.
    (port / "manifest.py").write_text('require("requests")\nrequire("umqtt.simple")\n')
    frozen = manifests.evaluate(tmp_path / "manifest.py", {"PORT_DIR": tmp_path / "port"})
    assert set(frozen.files) == {*LIBRARY, "boot.py", "main.py", "ivota_image.py"}
    assert sorted(frozen.required) == ["requests", "umqtt.simple"]
    for name, (path, _) in frozen.files.items():
        assert compile_mpy(path.read_bytes(), name).startswith(b"M\x06")


def test_the_evaluator_misses_nothing(tmp_path):
    (tmp_path / "a.py").write_text("")
    for text, error in (
        ('module("b.py")', FileNotFoundError),
        ('package("b")', FileNotFoundError),
        ('module("a.py")\nfreeze(".")', ValueError),
    ):
        (tmp_path / "manifest.py").write_text(text)
        with pytest.raises(error):
            manifests.evaluate(tmp_path / "manifest.py")
