"""The last measurements, in a ring that is allocated once."""

from array import array


class History:
    """At most `size` values; `mean()` of those that are there, None for none."""

    def __init__(self, size):
        self._values = array("f", (0 for _ in range(size)))
        self._count = 0

    def add(self, value):
        """Keep a value; the oldest goes when the ring is full."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def mean(self):
        """The arithmetic mean of what is kept."""
        n = min(self._count, len(self._values))
        return sum(self._values[i] for i in range(n)) / n if n else None
