"""`random`: no shuffle, no sample, 32 bits at most."""

import random as host


def make(world):
    source = host.Random()

    def getrandbits(n):
        if not 0 <= n <= 32:
            raise ValueError("bits must be 32 or less")
        return source.getrandbits(n) if n else 0

    return {
        "choice": source.choice,
        "getrandbits": getrandbits,
        "randint": source.randint,
        "random": source.random,
        "randrange": source.randrange,
        "seed": source.seed,
        "uniform": source.uniform,
    }
