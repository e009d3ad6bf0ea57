"""`re`: the four calls of the unix port; its patterns are a subset of the host's."""

import re as host


def make(world):
    return {
        "compile": host.compile,
        "match": host.match,
        "search": host.search,
        "sub": host.sub,
    }
