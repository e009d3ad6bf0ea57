"""`heapq`."""

import heapq as host


def make(world):
    return {name: getattr(host, name) for name in ("heapify", "heappop", "heappush")}
