"""Suggest a key for an unknown one."""


def nearest(key, keys):
    """Return the known key that shares most pairs of neighbouring letters."""
    pairs = {key[i : i + 2] for i in range(len(key) - 1)}

    def likeness(other):
        theirs = {other[i : i + 2] for i in range(len(other) - 1)}
        return 2 * len(pairs & theirs) / (len(pairs) + len(theirs) or 1)

    return max(sorted(keys), key=likeness)
