"""Choose the initial files of a simulated board: this checkout's files and its own."""

import json
from collections.abc import Mapping
from pathlib import Path

from ivota_tools.common.project_files import root
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.toolchain import umqtt


def contents(
    factory: bool,
    mpy: bool,
    config: Mapping[str, object] | None,
    files: Mapping[str, bytes | Path],
) -> dict[str, bytes]:
    """Return a map from paths on the board to bytes; the parameters are those of Board."""
    result = _factory() if factory else {}
    if mpy:
        result = dict(_compiled(path, data) for path, data in result.items())
    if config is not None:
        result["/ivota.json"] = json.dumps(config, ensure_ascii=False).encode()
    for name, given in files.items():
        name = "/" + name.lstrip("/")
        if isinstance(given, bytes):
            result[name] = given
        elif given.is_dir():
            for path in sorted(p for p in given.rglob("*") if p.is_file()):
                inner = path.relative_to(given).as_posix()
                result[f"{name.rstrip('/')}/{inner}"] = path.read_bytes()
        else:
            result[name] = given.read_bytes()
    return result


def _factory() -> dict[str, bytes]:
    top = root()
    paths = [top / "boot.py", top / "main.py", *sorted((top / "lib").rglob("*.py"))]
    result = {"/" + path.relative_to(top).as_posix(): path.read_bytes() for path in paths}
    result["/bundlefs.py"] = result["/lib/bundlefs.py"]
    result["/lib/umqtt/simple.py"] = Path(umqtt(), "umqtt", "simple.py").read_bytes()
    return result


def _compiled(path: str, data: bytes) -> tuple[str, bytes]:
    # boot.py and main.py are found by name and must stay source; the rest is imported.
    if path in ("/boot.py", "/main.py"):
        return path, data
    return path.removesuffix(".py") + ".mpy", compile_mpy(data, path)
