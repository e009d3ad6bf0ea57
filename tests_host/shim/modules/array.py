"""`array`."""

import array as host


class Array(host.array):
    """What does not fit an element is cut off, and no error."""

    def __setitem__(self, index, value):
        if isinstance(value, int):
            value &= (1 << 8 * self.itemsize) - 1
            if self.typecode.islower() and value >> 8 * self.itemsize - 1:
                value -= 1 << 8 * self.itemsize
        super().__setitem__(index, value)


def make(world):
    return {"array": Array}
