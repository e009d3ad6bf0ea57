"""Write tests_host/contract/VERSION: what boards of this release keep in the field.

`python -m ivota_workshop.contract_files`, before a release that changed these files. Afterwards
the folder stays as it is, because the boards of that release do, too.
"""

from __future__ import annotations

import hashlib

from ivota_tools.common import project_files
from ivota_tools.firmware import bundle, romfs
from ivota_tools.sim.crc_json import kept

FOLDER = project_files.CHECKOUT / "tests_host" / "contract"
BOOT_FILES = {"boot.py": "boot.py", "main.py": "main.py", "bundlefs.py": "lib/bundlefs.py"}

_APP = b"""\
def main():
    with open("/app/data.txt") as file:
        return file.read()
"""
_AGENT = b"""\
import sys


def run():
    import app

    print("contract:", __file__, sys.path, app.main())
"""


def files() -> dict[str, bytes]:
    """Return the folder's files: the boot files, a bundle, and the state of a board that tries it.

    The bundle's updater prints what tests_host/system/test_field_boards.py expects.
    """
    copied = {
        name: (project_files.CHECKOUT / path).read_bytes() for name, path in BOOT_FILES.items()
    }
    facts = b'{"application":"contract","format":2,"version":"0.2"}'
    image = romfs.build(
        {
            bundle.FACTS: facts,
            "app.py": _APP,
            "data.txt": f"a bundle of {project_files.version()}".encode(),
            "lib/ivota/__init__.py": b"",
            "lib/ivota/agent.py": _AGENT,
        }
    )
    md5 = hashlib.md5(image).hexdigest()
    state = {
        "active": "/firmware/0.2.bin",
        "previous": "/firmware/0.1.bin",
        "trial": {"version": "0.2", "md5sum": md5, "limits": [3, 10]},
        "sums": {"/firmware/0.2.bin": md5},
        "rejected": [["0" * 32, "why"]],
        "failures": ["1" * 32, 1],
        "tries": ["2" * 32, 1],
        "sequence": 7,
        "power_boots": 1,
        "worn_until": 1000,
        "armed": 1,
        "answered": True,
        "later": {"of": ["another release", None]},
    }
    return {**copied, "bundle.bin": image, "state.json": kept(state)}


def main() -> None:
    folder = FOLDER / project_files.version()
    folder.mkdir(exist_ok=True)
    for name, data in files().items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
