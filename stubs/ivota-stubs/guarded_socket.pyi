from collections.abc import Callable

feed: Callable[[], object]
online: Callable[[], object]
