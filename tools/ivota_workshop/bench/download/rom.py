"""A board whose firmware contains the package, for the measurement of its heap.

The package is in a ROMFS image outside the heap, from which MicroPython runs the code in place.
"""

from __future__ import annotations

from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware import romfs
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.toolchain import umqtt

# In front of the real boot.py. Only the image's object stays in the heap.
_MOUNT = b"""
import ffi, os, sys, uctypes, vfs
_ = os.stat("/rom.img")[6]
_ = uctypes.bytearray_at(ffi.open(None).func("P", "malloc", "L")(_), _)
with open("/rom.img", "rb") as file:
    file.readinto(_)
vfs.mount(vfs.VfsRom(_), "/rom")
sys.path.insert(1, "/rom")
del ffi, os, sys, uctypes, vfs, file, _
"""


def files() -> dict[str, bytes | Path]:
    """Return the files of the board."""
    library = CHECKOUT / "lib"
    sources = {str(path.relative_to(library)): path for path in library.rglob("*.py")}
    sources["umqtt/simple.py"] = umqtt() / "umqtt" / "simple.py"
    image = romfs.build(
        {
            name.removesuffix(".py") + ".mpy": compile_mpy(path.read_bytes(), name)
            for name, path in sources.items()
        }
    )
    boot, main = (_frozen(name) for name in ("boot.py", "main.py"))
    return {"/boot.py": _MOUNT + boot, "/main.py": main, "/rom.img": image}


def _frozen(name: str) -> bytes:
    """Return a boot file that finds frozen modules in the image."""
    return (CHECKOUT / name).read_bytes().replace(b'".frozen"', b'"/rom"')
