"""The last update's events, for the log hook and for the report of a failure."""

from micropython import const

_MOST = const(2048)  # characters kept


class Journal:
    """Passes events on to `hook(level, event, **fields)`, which may be None, and keeps them.

    `lines` are the events of the last update, the oldest dropped beyond 2 KiB.
    """

    def __init__(self, hook=None):
        self._hook = hook
        self._size = 0
        self._open = False  # whether an update is under way
        self.lines = []
        self._retries = {}

    def __call__(self, level, event, **fields):
        if event == "update":
            self._open = True
            self.lines = []
            self._size = 0
            self._retries = {}
        if self._open:
            self._keep(event, fields)
        if event in ("failed", "handed_over"):
            self._open = False
        if self._hook:
            self._hook(level, event, **fields)

    def _keep(self, event, fields):
        line = event
        for key in sorted(fields):
            line += " %s=%s" % (key, fields[key])
        self.lines.append(line[:200])
        self._size += len(self.lines[-1])
        while self._size > _MOST:
            self._size -= len(self.lines.pop(0))
        if event == "retry" and (len(self._retries) < 8 or fields["why"] in self._retries):
            self._retries[fields["why"]] = self._retries.get(fields["why"], 0) + 1

    def summary(self):
        """What was retried in this update, such as "5x no block in 60 s"; "" for nothing."""
        return ", ".join(
            "%dx %s" % (count, why)
            for why, count in sorted(self._retries.items(), key=lambda item: -item[1])
        )[:200]
