"""`math`."""

import math as host

NAMES = """
    acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh degrees e erf erfc exp expm1
    fabs factorial floor fmod frexp gamma inf isclose isfinite isinf isnan ldexp lgamma log log10
    log2 modf nan pi pow radians sin sinh sqrt tan tanh tau trunc
""".split()


def make(world):
    return {name: getattr(host, name) for name in NAMES}
