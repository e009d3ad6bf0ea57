"""One of the updates whose power is cut: what is on the board, what is pushed, how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ivota_tools.sim.filesystem import BLOCK

FACTORY, OLD, NEW = "0", "0.1", "0.2"  # versions
CONFIRMED = 3  # the number of what runs before, where firmware is signed


@dataclass(frozen=True)
class Scenario:
    """An update, and how it has to end.

    `storage` and `payload` name where the firmware goes and what it is. `ends`: "done", or
    "fail" with a `reason` (a part of the report's text). `bundle`: what runs before is a bundle,
    else the factory package, of an image where the board has slots. `files` are the new bundle's,
    beside app.py. `source` is what the new image runs, once it has said who it is. `size`: of the
    new version, in bytes. `cuts`: at so many places at most, 0 for everywhere. `sequence`: the
    number under which it is signed; 0 on a board without keys. `patch`: what comes in its place,
    "delta" or "compressed", or "wrong base", a delta for something else, or "false", one whose
    header is of another. `shared`: bytes that the bundles of both versions have, nearly.
    """

    name: str
    storage: str = "littlefs"
    payload: str = "bundle"
    ends: str = "done"
    reason: str = ""
    bundle: bool = True
    body: str = "pass"
    files: Mapping[str, bytes] = field(default_factory=dict)
    source: str = ""
    chip: int = 0
    size: int = 0
    cuts: int = 0
    fat: int = 0  # blocks of a second flash with FAT, which the firmware is staged on
    spare: int = 0  # bytes of a third bundle, which has to go for the new one
    lacks: int = 0  # blocks that the firmware would need more than there are
    sequence: int = 0
    patch: str = ""
    shared: int = 0
    stranger: bool = False  # whether it is signed by a key that the board does not trust
    # Whether what the board says reaches the cloud only when the board looks for the answer.
    late: bool = False
    damaged: bool = False  # whether the bundle says that it is another version
    refused: bool = False  # whether it never starts
    proof: str = ""  # what the version that runs in the end has to say

    @property
    def old(self) -> str:
        """The version that runs before."""
        return OLD if self.bundle or self.slots else FACTORY

    @property
    def again(self) -> str:
        """Part of a `fail` that is true after a power cut, and after which it is pushed again.

        The boot loader takes every image back that the power left in its trial.
        """
        went_back = "the boot loader went back"
        return went_back if self.slots and self.reason != went_back else ""

    @property
    def confirmed(self) -> int:
        """The number of the firmware that is confirmed in the end."""
        return self.sequence if self.ends == "done" else CONFIRMED if self.sequence else 0

    @property
    def slots(self) -> int:
        """Blocks of an OTA slot; 0 on a board without."""
        return -(-self.size // BLOCK) + 1 if self.storage == "partition" else 0

    @property
    def new_file(self) -> str:
        """Where the new bundle lies once it is active: what a patch makes lies beside it."""
        return f"/firmware/{NEW}.{'new' if self.patch else 'bin'}"

    @property
    def last(self) -> str:
        """The version that has to run in the end."""
        return NEW if self.ends == "done" else self.old
