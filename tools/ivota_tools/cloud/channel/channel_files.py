"""The files of a channel that the cloud serves, in `channel/PRODUCT` of the data directory.

Firmware is durable before the index that names it, and each file is replaced in one step. So a
kill or a power cut at any moment leaves the old channel or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...channel.index import NAME, ChannelError, Index, decode, files_of, verify
from ...common import atomic_write
from ...common.mapped_file import digests
from ...firmware.signing_keys import PrivateKey, PublicKey
from ..cloud_error import CloudError
from ..store.file_store import remove_leftovers
from ..store.firmware_store import storing

log = logging.getLogger("ivota.cloud")

PREFIX = "/channel/"  # of the paths
FOLDER = "channel"  # in the data directory
FILE = re.compile(r"[0-9a-f]{32}\.bin")
PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNUSED_S = 86400.0  # for which a file stays that no index names: a board may be downloading it


@dataclass(frozen=True)
class ChannelSetting:
    """A channel to serve: `keys` verify its firmware and its index.

    `signing` is the key with which the cloud signs the index of a channel that it fills itself;
    None for a mirror.
    """

    product: str
    keys: tuple[PublicKey, ...]
    signing: PrivateKey | None = None


@dataclass(frozen=True)
class Served:
    """An index to serve to boards: its bytes, content and ETag. `ours`: the cloud has signed it,
    with the key of --channel-key.
    """

    data: bytes
    index: Index
    ours: bool
    etag: str


class ServedChannel:
    """A channel's folder. Raises CloudError if the product cannot be part of a URL."""

    def __init__(self, data_directory: Path, setting: ChannelSetting) -> None:
        if not PRODUCT.fullmatch(setting.product):
            raise CloudError(
                f"the product {setting.product!r} in --channel cannot be part of a URL: use up to "
                "64 letters, digits, dots, - and _, and begin with a letter or digit"
            )
        self.product = setting.product
        self.keys = setting.keys
        self.signing = setting.signing
        self.folder = data_directory / FOLDER / setting.product
        self.sign_after = float("-inf")  # monotonic time, after a failure to sign the index again
        self._served: Served | None = None

    def url(self, public_url: str) -> str:
        """Return the URL of the index, for the configuration of boards."""
        return f"{public_url}{PREFIX}{self.product}/{NAME}"

    def prepare(self) -> None:
        """Create the folder, and remove what interrupted uploads left. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(self.folder, time.time())
        self.remove_unused()
        if self.signing and self.signing.public in self.keys:
            log.warning(
                "the key in --channel-key for %s can also sign firmware: whoever controls this "
                "machine can make boards run any code. Use a key that boards have only in "
                "channel.keys",
                self.product,
            )

    def served(self) -> Served | None:
        """Return the index, or None if nothing was published yet.

        Raises ChannelError if it is damaged, or if none of the keys has signed it.
        """
        try:
            data = (self.folder / NAME).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ChannelError(f"{self.folder / NAME}: {error.strerror}") from None
        served = self._served
        if served is None or served.data != data:
            etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            served = self._served = Served(data, *self._verify(data), etag)
        return served

    def _verify(self, data: bytes) -> tuple[Index, bool]:
        own = self.signing and self.signing.public
        if own:
            with contextlib.suppress(ChannelError):
                return verify(data, [own]), True
        return verify(data, self.keys), False

    def serial(self) -> int:
        """Return the serial number of the index without checking its signature; 0 if there is
        none.
        """
        try:
            return decode((self.folder / NAME).read_bytes()).serial
        except (OSError, ChannelError):
            return 0

    def path(self, name: str) -> Path | None:
        """Return the path of a firmware file, or None for any other name."""
        return self.folder / name if FILE.fullmatch(name) else None

    def missing(self, index: Index) -> list[str]:
        """Return the files that the index names and that are missing or have another size."""
        return [file.file for file in files_of(index) if not self._has(file.file, file.size)]

    def _has(self, name: str, size: int) -> bool:
        path = self.path(name)
        try:
            return path is not None and path.stat().st_size == size
        except OSError:
            return False

    def names(self, md5s: set[str]) -> bool:
        """Return whether the index names a file with one of these MD5s."""
        try:
            index = decode((self.folder / NAME).read_bytes())
        except (OSError, ChannelError):
            return False
        return any(file.md5 in md5s for file in files_of(index))

    def keep(self, names: Iterable[str]) -> None:
        """Keep these files for another day, even if no index names them."""
        for name in names:
            if path := self.path(name):
                with contextlib.suppress(OSError):
                    os.utime(path)

    def link(self, source: Path, md5: str) -> None:
        """Add a file of the cloud's store, which never changes. Raises FirmwareError."""
        target = self.folder / f"{md5}.bin"
        with storing():
            if not target.is_file() or digests(target).md5 != md5:
                handle, name = tempfile.mkstemp(prefix="upload-", suffix=".part", dir=self.folder)
                os.close(handle)
                try:
                    _copy(source, Path(name))
                    os.replace(name, target)
                finally:
                    Path(name).unlink(missing_ok=True)
            os.utime(target)

    def replace(self, data: bytes) -> None:
        """Serve another index, whose files are complete. Raises FirmwareError on a full disk."""
        with contextlib.suppress(OSError, ChannelError):
            before = decode((self.folder / NAME).read_bytes())
            self.keep(file.file for file in files_of(before))
        with storing():
            _sync(self.folder)  # the names of the firmware reach the disk first
            atomic_write.write(self.folder / NAME, data)
            _sync(self.folder)
        self.remove_unused()

    def remove_unused(self) -> None:
        """Delete files that no index has named for a day."""
        try:
            named = {file.file for file in files_of(decode((self.folder / NAME).read_bytes()))}
        except FileNotFoundError:
            named = set()
        except (OSError, ChannelError):
            return
        before = time.time() - UNUSED_S
        # Another server may be writing a new index at this moment.
        for path in (*self.folder.glob("*.bin"), *self.folder.glob(f".{NAME}.*")):
            with contextlib.suppress(OSError):
                if path.name not in named and path.stat().st_mtime < before:
                    path.unlink()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(source: Path, to: Path) -> None:
    """Make `to` a durable copy of a file that never changes; a link, if possible."""
    to.unlink()
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)
        with to.open("rb") as file:
            os.fsync(file.fileno())
