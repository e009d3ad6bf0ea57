from .update_client import Client as Client
from .update_client import Firmware as Firmware
from .update_client import Push as Push

__version__: str

class OtaError(Exception):
    code: int
    message: str
    again: bool
    after_s: float
    reject: bool
    version: str | None
    def __init__(
        self,
        code: int,
        message: str,
        again: bool = False,
        after_s: float = 0,
        reject: bool = False,
    ) -> None: ...

def describe(error: BaseException) -> str: ...
