"""`errno`: the unix port's two dozen names."""

from ..errors import NAMES


def make(world):
    return dict({name: number for number, name in NAMES.items()}, errorcode=dict(NAMES))
