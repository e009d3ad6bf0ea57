from collections.abc import Callable, Mapping
from typing import Any, Protocol

from . import OtaError

class Push(Protocol):
    """What the cloud wants installed: `md5` in lower case, `size` in bytes.

    The name is only for annotations: boards don't have it.
    """

    version: str
    url: str
    md5: str
    size: int

class Firmware(Push, Protocol):
    """A push whose bytes are on flash and verified.

    `path` is the file; `payload_size` says how many of its bytes are the application's, without
    a signature. `slot` is the partition's label of an image in an OTA slot, otherwise None. The
    name is only for annotations.
    """

    path: str
    slot: str | None
    payload_size: int

class Client:
    config: dict[str, Any]
    version: str
    restart: bool
    exiting: bool
    events: list[str]
    def __init__(
        self,
        config: Mapping[str, Any] | tuple[Mapping[str, Any], ...],
        version: str | None,
        on_firmware: Callable[[Firmware], object] | None = None,
        on_failure: Callable[[OtaError], object] | None = None,
        defer: Callable[[str, Push], float] | None = None,
        log: Callable[..., object] | None = None,
        firmware_dir: str | None = None,
        state: Any = None,
    ) -> None: ...
    def step(self) -> bool: ...
    def run(self) -> None: ...
    def start(self) -> None: ...
    async def serve(self) -> None: ...
    def exit(self) -> None: ...
    def may_sleep_ms(self) -> int: ...
    def next_step_ms(self) -> int: ...
    def wait(self) -> None: ...
    def close(self) -> None: ...
    def update_progress(self, state: str, code: int = 0, message: str = "") -> None: ...
    def confirm(self) -> None: ...
