"""Decide by a bundle's first file whether this board's boot files can start the bundle.

The version of `bundlefs` on the board counts, not the version of this package: an update replaces
the package, but not `bundlefs`.
"""

import json

from micropython import const

from ivota import OtaError

_FAILED = const(-5)
_MOST = const(1024)  # bytes of ivota.json
# Its name and the kind of its content, before the content's size.
_FIRST = const(b"\x0aivota.json\x02")
_HEAD = const(32)  # bytes that contain all of this, and two bytes of the size


def check_beginning(file, length):
    """Check the bundle whose first `length` bytes are in `file`.

    Raises OtaError(-5) for a bundle that this board can't start. `bundle_check` rejects
    damaged bundles and other files once they are complete.
    """
    file.seek(0)
    head = file.read(_HEAD)
    at = head.find(_FIRST) + len(_FIRST)
    if not len(_FIRST) <= at <= len(head) - 2:
        return
    size = head[at]
    at += 1
    if size > 127:
        size = (size & 127) << 7 | head[at]
        at += 1
    if at + size > length or size > _MOST:
        return
    file.seek(at)
    try:
        facts = json.loads(file.read(size))
    except ValueError:
        return
    if isinstance(facts, dict):
        try:
            check(facts)
        except ValueError as error:
            # Not permanently: the board may get newer boot files.
            raise OtaError(_FAILED, "the bundle can't be used: %s" % error)


def check(facts):
    """Raise ValueError with the reason for a bundle that this board can't start."""
    try:
        from bundlefs import FORMATS, VERSION
    except ImportError:
        raise ValueError("this board has no bundlefs.py to start it")
    if facts.get("format") not in FORMATS:
        known = ", ".join(str(each) for each in FORMATS)
        raise ValueError(
            "it has format %s, but this board's boot files support %s"
            % (facts.get("format"), known)
        )
    least = facts.get("updater_min")
    if least is None:
        return
    try:
        older = _numbers(VERSION) < _numbers(least)
    except (ValueError, AttributeError):
        older = True
    if older:
        raise ValueError("it needs ivota %s, but this board has %s" % (str(least)[:32], VERSION))


def _numbers(version):
    return [int(part) for part in version.split(".")]
