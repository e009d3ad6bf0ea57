"""A small JSON file that is replaced atomically."""

import json
import os


def load(path):
    """The dictionary kept at `path`, or None where none can be read.

    On FAT a rename removes its target first, so a cut can leave only the temporary: it is
    looked for too.
    """
    for name in (path, path + "~"):
        try:
            with open(name) as file:
                value = json.load(file)
        except (OSError, ValueError):
            continue
        if isinstance(value, dict):
            return value
    return None


def save(path, value):
    """Replace the file: after a power cut at any instant the old or the new one is read."""
    temporary = path + "~"
    with open(temporary, "w") as file:
        json.dump(value, file)
    os.rename(temporary, path)


def remove(path):
    """Remove the file, and a temporary that a cut may have left, where they are."""
    for name in (path + "~", path):
        try:
            os.remove(name)
        except OSError:
            pass
