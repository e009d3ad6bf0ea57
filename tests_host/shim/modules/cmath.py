"""`cmath`."""

import cmath as host

NAMES = "cos e exp log log10 phase pi polar rect sin sqrt".split()


def make(world):
    return {name: getattr(host, name) for name in NAMES}
