from collections.abc import Callable

class Hooks:
    feed: Callable[[], object]
    online: Callable[[], object]
    ntp_host: str | None

hooks: Hooks
