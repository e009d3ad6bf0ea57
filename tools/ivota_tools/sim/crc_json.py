"""Create a board's small JSON files on the host."""

import binascii
import json
from collections.abc import Mapping
from typing import Any


def kept(values: Mapping[str, Any]) -> bytes:
    """Encode `values` like `ivota.json_file`, with the CRC at the end; they must not be empty."""
    head = (json.dumps(values)[:-1] + ", ").encode()
    return head + b'"crc": "%08x"}' % binascii.crc32(head)
