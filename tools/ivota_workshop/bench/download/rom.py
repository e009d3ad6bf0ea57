"""A board whose package is in a ROMFS image outside the heap, for the measurement of its heap.

MicroPython runs such code in place. The image also stands for a firmware that contains the
package, because none of the interpreters here has frozen modules of ours.
"""

from __future__ import annotations

from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware import romfs
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.toolchain import umqtt

_PACKAGE = "ivota/__init__.py"
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


def files(frozen: bool) -> dict[str, bytes | Path]:
    """Return the files of the board; `frozen`: the package takes the image for the firmware."""
    library = CHECKOUT / "lib"
    sources = {str(path.relative_to(library)): path.read_bytes() for path in library.rglob("*.py")}
    sources["umqtt/simple.py"] = (umqtt() / "umqtt" / "simple.py").read_bytes()
    if frozen:
        sources[_PACKAGE] = _in_image(sources[_PACKAGE], b'__path__[:7] == ".frozen"')
    image = romfs.build(
        {
            name.removesuffix(".py") + ".mpy": compile_mpy(source, name)
            for name, source in sources.items()
        }
    )
    boot, main = (
        _in_image((CHECKOUT / name).read_bytes(), b'".frozen"') for name in ("boot.py", "main.py")
    )
    return {"/boot.py": _MOUNT + boot, "/main.py": main, "/rom.img": image}


def _in_image(source: bytes, place: bytes) -> bytes:
    """Return code that looks in the image for what it finds at `place` in a firmware."""
    if place not in source:
        raise ValueError(f"the code does not contain {place.decode()}")
    here = place.replace(b"7", b"4").replace(b".frozen", b"/rom")
    return source.replace(place, here)
