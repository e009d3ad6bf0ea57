"""Write the log: a line for each event, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from .plain_text import plain
from .repeated_log_lines import Bounded

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)
ACCESS = "ivota.access"  # the logger of the access log
FIELDS = "ivota_fields"  # attribute of a record: more fields of its JSON object


class LogOutput:
    """Sends the log of the whole process to stderr, once it is created.

    On a terminal, text is coloured and wrapped; anywhere else each event is one line.
    """

    def __init__(self, console: Console, format_name: str = TEXT, *, access: bool = False) -> None:
        self._filter = Bounded(unlimited=(ACCESS,))
        self._handler: logging.Handler
        if format_name == TEXT and console.is_terminal:
            self._handler = RichHandler(
                console=console, show_path=False, log_time_format="%Y-%m-%dT%H:%M:%S%z"
            )
        else:
            self._handler = logging.StreamHandler(sys.stderr)
            self._handler.setFormatter(_Text() if format_name == TEXT else _Json())
        self._handler.addFilter(self._filter)
        logging.basicConfig(
            level=logging.WARNING, format="%(message)s", handlers=[self._handler], force=True
        )
        logging.getLogger("ivota").setLevel(logging.INFO)
        set_access(access)

    def tell(self, *, all_of_them: bool = False) -> None:
        """Write how often lines were repeated; call this from time to time, and at the end."""
        for record in self._filter.counted(all_of_them=all_of_them):
            self._handler.acquire()
            try:
                self._handler.emit(record)
            finally:
                self._handler.release()


def set_access(on: bool) -> None:
    """Turn the access log on or off."""
    logging.getLogger(ACCESS).setLevel(logging.INFO if on else logging.WARNING)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return f"{_time(record)} {record.levelname} {plain(text)}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)
