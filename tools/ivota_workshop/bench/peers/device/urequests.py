"""The old name of `requests`, which boards still provide."""

from requests import *  # noqa: F403
