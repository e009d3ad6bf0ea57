"""Topics that begin otherwise than with `$ota`, for brokers that keep `$` to themselves.

Only what passes through the session to the broker is changed: within the cloud, and in its
database, all topics begin with `$ota`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..cloud_error import CloudError

OWN = "$ota"
PREFIX_MOST = 64  # characters


@dataclass(frozen=True)
class TopicPrefix:
    """What stands before `/report/…` and `/update/…`. Raises CloudError where it cannot."""

    text: str = OWN

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\$?[0-9A-Za-z_-]+(/[0-9A-Za-z_-]+)*", self.text):
            raise CloudError(
                f"--topic-prefix {self.text!r} cannot begin a topic: it has letters, digits, "
                "- and _, with / between them, as in fleet/ota"
            )
        if len(self.text) > PREFIX_MOST:
            raise CloudError(f"--topic-prefix has at most {PREFIX_MOST} characters")
        if self.text.startswith(("$SYS", "$share")):
            raise CloudError(f"--topic-prefix {self.text!r}: brokers use these topics themselves")

    def outward(self, topic: str) -> str:
        """A topic as the broker knows it."""
        return self.text + topic[len(OWN) :] if topic.startswith(OWN + "/") else topic

    def inward(self, topic: str) -> str:
        """A topic of the broker's as the cloud knows it."""
        return OWN + topic[len(self.text) :] if topic.startswith(self.text + "/") else topic
