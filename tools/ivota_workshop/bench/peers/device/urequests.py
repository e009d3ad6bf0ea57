"""The old name of `requests`, which boards still have."""

from requests import *  # noqa: F403
