"""The cloud's result codes (docs/protocol.md), for applications.

The package itself has private copies where it needs them, because a `const` costs no heap.
"""

TIMED_OUT = -1  # the retries are used up: no route, stalls, resets, 5xx
NOT_FOUND = -2  # 404, 410
EXPIRED = -3  # 401, 403, after one fresh push did not help
MISMATCH = -4  # the finished file's MD5 or length differs from the push
FAILED = -5  # after the download, or the board cannot use the firmware
