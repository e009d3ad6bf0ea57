"""`collections`: a deque always has a length, and its flags say what happens beyond it."""

import collections as host


class Deque:
    def __init__(self, iterable, maxlen, flags=0):
        self._items = host.deque(iterable, maxlen)
        self._check = flags & 1

    def __len__(self):
        return len(self._items)

    def __iter__(self):
        return iter(self._items)

    def __getitem__(self, index):
        return self._items[index]

    def __setitem__(self, index, value):
        self._items[index] = value

    def _room(self):
        if self._check and len(self._items) == self._items.maxlen:
            raise IndexError("full")

    def append(self, value):
        self._room()
        self._items.append(value)

    def appendleft(self, value):
        self._room()
        self._items.appendleft(value)

    def extend(self, values):
        for value in values:
            self.append(value)

    def pop(self):
        return self._items.pop()

    def popleft(self):
        return self._items.popleft()


def make(world):
    return {
        "OrderedDict": host.OrderedDict,
        "deque": Deque,
        "namedtuple": host.namedtuple,
    }
