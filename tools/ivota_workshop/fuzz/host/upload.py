"""Read an upload of any kind, with the cloud and with `ivota inspect`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from ivota_tools.firmware import bundle, patch, release

_FOLDER = tempfile.TemporaryDirectory(
    prefix="ivota-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
)
_FILE = Path(_FOLDER.name, "upload")


def check(data: bytes) -> str:
    _FILE.write_bytes(data)
    try:
        found = release.inspect(_FILE)
    except release.ReleaseError as error:
        assert len(str(error)) < 2000
        return "refused"
    assert found.size == len(data) and found.sha256 == hashlib.sha256(data).hexdigest()
    assert 0 <= found.payload_size <= len(data)
    assert found.kind in ("bundle", "esp32-image", "esp32-flash", "patch", "compressed", "other")
    payload = data[: found.payload_size]
    if found.signed:
        assert found.signed.sha256 == hashlib.sha256(payload).hexdigest()
        assert found.signed.size == len(payload) and found.signed.kind == found.kind
    if found.kind == "patch":
        assert found.patch and found.does and 0 < found.patch.result_size < 1 << 32
        for record in patch.records(payload):
            assert all(0 <= 2 * word < record.copy for word, _ in record.changes), "out of a copy"
            assert 0 < record.copy + len(record.inserted) <= 2 * 65535
        assert found.does.copied + found.does.inserted == found.patch.result_size
        return "patch"
    if found.kind != "bundle":
        return found.kind
    assert found.version and found.archive_size and found.archive_size <= len(payload)
    release.check_version(found.version)
    names = [file.path for file in found.files]
    for file in found.files:
        bundle.check_path(file.path)
        parts = file.path.split("/")
        assert ".." not in parts and "" not in parts, "escaped: " + file.path
    assert len(set(names)) == len(names)
    assert sum(file.size for file in found.files) <= len(payload)
    return f"bundle of {len(names)}"
