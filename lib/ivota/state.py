"""The one state file: which firmware runs, its trial, the outbox, counters."""

from ivota import jsonfile

PATH = "/ivota-state.json"
_REJECTED = 4  # how many refused firmwares are remembered


class State:
    """What must survive a power cut; each method is one atomic write.

    Attributes are the file's keys (docs/formats.md): `active` and `previous` are paths of
    bundles, `trial` is None or what the trial's reports need, `outbox` a final report that the
    cloud has not acknowledged.
    """

    def __init__(self, path=PATH):
        self._path = path
        found = jsonfile.load(path) or {}
        self.active = _text(found.get("active"))
        self.previous = _text(found.get("previous"))
        self.trial = _dict(found.get("trial"))
        self.ended = _dict(found.get("ended"))
        self.outbox = _text(found.get("outbox"))
        rejected = found.get("rejected")
        rejected = rejected if isinstance(rejected, list) else ()
        self.rejected = [entry for entry in rejected if _pair(entry)]
        failures = found.get("failures")
        self.failures = failures if _pair(failures) and type(failures[1]) is int else None
        self.sequence = _number(found.get("sequence"))
        # boot.py counts these; a report sent during the trial must not set them back.
        self.starts = _number(found.get("starts"))
        self.power_boots = _number(found.get("power_boots"))

    def save(self):
        """Write all of it."""
        values = {key: getattr(self, key) for key in ("sequence", "starts", "power_boots")}
        for key in ("active", "previous", "trial", "ended", "outbox", "rejected", "failures"):
            value = getattr(self, key)
            if value:
                values[key] = value
        jsonfile.save(self._path, values)

    def activate(self, path, trial):
        """Let `path` run from the next start on, as a trial; what ran becomes `previous`."""
        self.previous = self.active
        self.active = path
        self._set_trial(trial)

    def confirm(self, outbox):
        """End the trial for good, with its `done` report in the outbox."""
        self.failures = None
        self.rejected = []
        self.outbox = outbox
        self._set_trial(None)

    def _set_trial(self, trial):
        self.trial = trial
        self.starts = self.power_boots = 0
        self.save()

    def roll_back(self, why):
        """Let `previous` run from the next start on; it reports why."""
        self.ended = dict(self.trial)
        self.ended["why"] = why
        self.active, self.previous, self.trial = self.previous, None, None
        self.save()

    def post(self, outbox, md5=None, reject=None):
        """Keep a final report until it is acknowledged; count a failure of `md5`.

        With a `reject` text the firmware is refused from now on, for that reason.
        """
        self.outbox = outbox
        self.ended = None
        if reject:
            self.rejected = [entry for entry in self.rejected if entry[0] != md5]
            self.rejected = self.rejected[1 - _REJECTED :] + [[md5, reject]]
            self.failures = None
        elif md5:
            self.failures = [md5, self.count(md5) + 1]
        self.save()

    def sent(self):
        """The outbox was acknowledged."""
        self.outbox = None
        self.save()

    def count(self, md5):
        """How often this firmware has failed in a row."""
        return self.failures[1] if self.failures and self.failures[0] == md5 else 0

    def reason(self, md5):
        """Why this firmware is refused, or None."""
        for known, why in self.rejected:
            if known == md5:
                return why
        return None


def _number(value):
    return value if type(value) is int else 0


def _text(value):
    return value if isinstance(value, str) else None


def _dict(value):
    return value if isinstance(value, dict) else None


def _pair(value):
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
