"""Keep the last measurements in a ring buffer that is allocated once."""

from array import array


class History:
    """The last `size` values and their mean."""

    def __init__(self, size):
        self._values = array("f", (0 for _ in range(size)))
        self._count = 0

    def add(self, value):
        """Store a value; when the ring is full, replace the oldest."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def mean(self):
        """Return the mean of the stored values, or None if there are none."""
        n = min(self._count, len(self._values))
        return sum(self._values[i] for i in range(n)) / n if n else None
