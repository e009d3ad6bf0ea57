"""Replace the `$ota` of topics, for brokers that reserve `$` for themselves.

Topics change only between the session and the broker; in the cloud and in its database, all topics
begin with `$ota`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..cloud_error import CloudError

OWN = "$ota"
PREFIX_MOST = 64  # characters


@dataclass(frozen=True)
class TopicPrefix:
    """The part before `/report/…` and `/update/…`. Raises CloudError if it is not valid."""

    text: str = OWN

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\$?[0-9A-Za-z_-]+(/[0-9A-Za-z_-]+)*", self.text):
            raise CloudError(
                f"--topic-prefix {self.text!r} is not valid: use letters, digits, - and _, "
                "with / between parts, as in fleet/ota"
            )
        if len(self.text) > PREFIX_MOST:
            raise CloudError(f"--topic-prefix must have at most {PREFIX_MOST} characters")
        if self.text.startswith(("$SYS", "$share")):
            raise CloudError(
                f"--topic-prefix {self.text!r} is reserved by brokers: choose another prefix"
            )

    def outward(self, topic: str) -> str:
        """Return a topic as the broker knows it."""
        return self.text + topic[len(OWN) :] if topic.startswith(OWN + "/") else topic

    def inward(self, topic: str) -> str:
        """Return a topic of the broker as the cloud knows it."""
        return OWN + topic[len(self.text) :] if topic.startswith(self.text + "/") else topic
