"""`hashlib`: update and digest, and after the digest nothing more."""

import hashlib as host

from ..streams import data_of


class Hash:
    _new = None

    def __init__(self, data=b"", /):
        self._hash = type(self)._new(data_of(data))

    def _open(self):
        if self._hash is None:
            raise ValueError("hash is final")
        return self._hash

    def update(self, data, /):
        self._open().update(data_of(data))

    def digest(self):
        value = self._open().digest()
        self._hash = None
        return value


def make(world):
    return {
        name: type(name, (Hash,), {"_new": staticmethod(getattr(host, name))})
        for name in ("md5", "sha1", "sha256")
    }
