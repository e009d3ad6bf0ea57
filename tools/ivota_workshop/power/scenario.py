"""An update whose power is cut: the board before it, the pushed firmware, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ivota_tools.sim.filesystem import BLOCK

FACTORY, OLD, NEW = "0", "0.1", "0.2"  # versions
CONFIRMED = 3  # the sequence number of the version before, if firmware is signed


@dataclass(frozen=True)
class Scenario:
    """An update, and how it must end.

    `storage` and `payload` say where the firmware goes and what it is. `ends`: "done", or "fail"
    with a `reason` (a part of the report's text). `bundle`: a bundle runs before the update,
    otherwise the factory package, or an image if the board has slots. `files` are additional files
    of the new bundle, beside app.py. `source` is what the new image runs after it has reported its
    version. `size`: of the new version, in bytes. `cuts`: the maximum number of operations to cut
    at; 0 for all. `sequence`: the number with which it is signed; 0 on a board without keys.
    `patch`: what is pushed instead of a whole version: "delta" or "compressed"; "wrong base", a
    delta for another base; or "false", a patch with the header of another. `shared`: bytes that
    are nearly equal in the bundles of both versions. `channel`: the board reads a channel, without
    a broker, and posts its reports; its firmware must be signed.
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
    fat: int = 0  # blocks of a second flash with FAT, on which the firmware is staged
    spare: int = 0  # bytes of a third bundle, which must be removed for the new one
    lacks: int = 0  # how many blocks are missing for the firmware
    sequence: int = 0
    patch: str = ""
    shared: int = 0
    channel: bool = False
    stranger: bool = False  # whether its key is one that the board does not trust
    # Whether the board's reports reach the cloud only when the board waits for the answer.
    late: bool = False
    damaged: bool = False  # whether the bundle claims a different version
    refused: bool = False  # whether it never starts
    proof: str = ""  # what the final version must print

    @property
    def old(self) -> str:
        """Return the version that runs before the update."""
        return OLD if self.bundle or self.slots else FACTORY

    @property
    def again(self) -> str:
        """Return part of a `fail` text that is true after a power cut and leads to another push.

        The boot loader rolls back every image whose trial is interrupted by a power cut.
        """
        went_back = "the boot loader rolled back"
        return went_back if self.slots and self.reason != went_back else ""

    @property
    def confirmed(self) -> int:
        """Return the sequence number that is confirmed in the end."""
        return self.sequence if self.ends == "done" else CONFIRMED if self.sequence else 0

    @property
    def slots(self) -> int:
        """Return the blocks of an OTA slot; 0 on a board without slots."""
        return -(-self.size // BLOCK) + 1 if self.storage == "partition" else 0

    @property
    def new_file(self) -> str:
        """Return the path of the active new bundle: the result of a patch is next to the patch."""
        return f"/firmware/{NEW}.{'new' if self.patch else 'bin'}"

    @property
    def last(self) -> str:
        """Return the version that must run in the end."""
        return NEW if self.ends == "done" else self.old
