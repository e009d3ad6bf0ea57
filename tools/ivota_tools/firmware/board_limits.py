"""The limits of a board that a firmware or a configuration can exceed, in one place.

Each is a constant in `lib/`, and a test compares the two. All code that creates or accepts a file
for a board checks these limits, so that no board downloads a file that it must reject.
"""

from __future__ import annotations

import json

FILES = 256  # files and folders in a bundle, besides ivota.json
FILE_SIZE = (1 << 28) - 1  # bytes of a file in a bundle
FACTS_SIZE = 1024  # bytes of a bundle's ivota.json
NAME_SIZE = 255  # bytes of a file's or folder's own name
FOLDERS_DEEP = 8  # maximum depth of nested folders
# Bytes of a module's path in a bundle. The esp32 port builds "/app/" and this path in a buffer of
# 128 bytes, which ends with a zero (MICROPY_ALLOC_PATH_MAX); import fails with an empty
# RuntimeError if it is too small.
MODULE_PATH = 128 - len("/app/") - 1
JSON_SIZE = 16384  # bytes of config.json and of /ivota.json
PUSHED_VERSION = 64  # characters
BASE_VERSION = 255  # bytes, in a patch
SIGNED_HEADER = 512  # bytes
CHANNEL_INDEX = 4096  # bytes of channel.json
SIGNATURE = 384  # bytes: RSA-3072

# For MicroPython 1.25 and newer.
MPY_VERSION = 6
MPY_NATIVE_VERSION = 3  # the sub-version, which only native code must match
SMALL_INT_BITS = 31

# Bytes that the board adds when it saves a copy of /ivota.json.
_KEPT = ', "mark": [4294967295, 4294967295], "crc": "00000000"}'


def config_problem(data: bytes, settings: object) -> str | None:
    """Return why a board cannot read the configuration `data` or save its `settings`, or None."""
    kept = json.dumps({"config": settings}, ensure_ascii=False)[:-1] + _KEPT
    size = max(len(data), len(kept.encode(errors="replace")))
    if size > JSON_SIZE:
        return f"it has {size:,} bytes, but a board reads at most {JSON_SIZE:,}"
    return None
