"""The file list of a bundle, read in pieces of 64 bytes: the same entries as read whole."""

import io

from ivota.filelist import entries

reference = None  # (entries, the rest) as the host's library reads them; None for other shapes


class Counted:
    """A file that counts what was asked of it."""

    def __init__(self, data):
        self._file = io.BytesIO(data)
        self.reads = 0

    def read(self, n):
        assert 0 < n <= 64
        self.reads += 1
        return self._file.read(n)


def check(data):
    file = Counted(data)
    found = []
    whole = 0
    try:
        for entry in entries(file, len(data)):
            found.append(entry)
            whole += 1
            assert whole <= len(data) // 2 + 1
        outcome = "%d" % whole
    except ValueError:
        outcome = "refused"
    except MemoryError:
        return "MemoryError"
    assert file.reads <= len(data) // 64 + 1
    right = reference(data) if reference else None
    if right is not None:
        assert outcome != "refused" and found[:-1] == right[0] and found[-1] == right[1]
    return outcome
