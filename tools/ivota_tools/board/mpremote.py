"""Control the board at a serial port by running mpremote as a process."""

from __future__ import annotations

import ast
import inspect
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from ivota_tools.board.errors import BoardError, SilentError
from ivota_tools.board.serial_ports import check_port, in_use, need_mpremote

ANSWER = "ivota-answer: "
QUIET_S = 60
"""mpremote can wait forever for a response; a board that is silent this long is stuck."""
RESET_S = 0.5
"""The time that a board needs to reset."""


def call_source(function: Callable[..., Any], **arguments: Any) -> str:
    """Return code that calls a function of an on_board module and prints its result."""
    home = sys.modules[function.__module__]
    names = [function.__name__]
    parts: list[str] = []
    for name in names:
        source = _bare(inspect.getsource(getattr(home, name)))
        parts.insert(0, source)
        for called in re.findall(r"\b(\w+)\(", source):
            if called not in names and inspect.isfunction(getattr(home, called, None)):
                names.append(called)
    call = f"{function.__name__}(**{arguments!r})"
    # The stopped program may still use most of the heap.
    first = "import gc\ngc.collect()"
    return "\n".join([first, *parts, "import json", f"print({ANSWER!r}+json.dumps({call}))"])


def _bare(source: str) -> str:
    """Remove comments, docstrings and annotations, because the board compiles in its heap."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            if ast.get_docstring(node):
                del node.body[0]
        elif isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(tree)


class Mpremote:
    """Run mpremote's commands on the board at `port`."""

    def __init__(self, port: str, quiet_s: float = QUIET_S) -> None:
        self.port = port
        self.quiet_s = quiet_s

    def run(
        self, *command: str, resume: bool = True, on_line: Callable[[str], None] | None = None
    ) -> str:
        """Run a command (or several, joined by "+") and return its output.

        With `resume`, the program on the board is stopped without a soft reset: boot.py does not
        run, so that this does not count as a start. Raises BoardError.
        """
        need_mpremote()
        check_port(self.port)
        arguments = [sys.executable, "-m", "mpremote", "connect", self.port]
        arguments += ["resume", *command] if resume else command
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                encoding="utf-8",
                errors="replace",
            )
            lines, stuck = self._follow(process, on_line)
            errors.seek(0)
            said = errors.read()
        output = "".join(lines)
        if stuck:
            raise SilentError(
                f"the board at {self.port} has not answered for {self.quiet_s:g} s. Press its "
                "reset button and try again"
            )
        if process.returncode:
            raise self._error(output, said)
        return output

    def ask(self, function: Callable[..., Any], *, resume: bool = True, **arguments: Any) -> Any:
        """Call a function of an on_board module on the board and return its result."""
        output = self.run("exec", call_source(function, **arguments), resume=resume)
        # A thread of the application or a driver may print in between.
        for line in output.splitlines():
            if ANSWER in line:
                try:
                    return json.loads(line.partition(ANSWER)[2])
                except ValueError:
                    break
        raise BoardError(
            f"the board at {self.port} sent an invalid response: {_last(output)!r}. Its "
            "program may have printed into the response: try again"
        )

    def go_on(self) -> None:
        """Restart main.py without a reset, because in a trial a reset would count as a start."""
        self.run("exec", "--no-follow", "exec(open('/main.py').read(), {'__name__': '__main__'})")

    def reset(self, settle: bool = True) -> None:
        """Reset the board without waiting for boot.py and main.py to end.

        Data sent to a board that is about to reset is lost, and mpremote would wait for a
        response. With `settle`, this returns when the board accepts data again.
        """
        # The pause lets mpremote exit before the port of a board with native USB disappears.
        # Without `settle`, it also lets a reader open the port before the first line, because
        # opening a port drops earlier data.
        pause_ms = 100 if settle else 1000
        code = f"import time, machine\ntime.sleep_ms({pause_ms})\nmachine.reset()"
        self.run("exec", "--no-follow", code)
        if settle:
            time.sleep(RESET_S)

    @contextmanager
    def restart_on_failure(self) -> Iterator[None]:
        """Restart the stopped program if the work fails or is interrupted."""
        try:
            yield
        except BaseException:
            with suppress(BoardError):
                self.reset()
            raise

    def _follow(
        self, process: subprocess.Popen[str], on_line: Callable[[str], None] | None
    ) -> tuple[list[str], bool]:
        """Return the process's output lines, and whether it was killed because of a timeout."""
        assert process.stdout
        arriving: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, arriving), daemon=True)
        reader.start()
        lines = []
        stuck = False
        try:
            while (line := arriving.get(timeout=self.quiet_s)) is not None:
                lines.append(line)
                if on_line:
                    on_line(line.rstrip())
            process.wait(timeout=self.quiet_s)
        except (queue.Empty, subprocess.TimeoutExpired):
            stuck = True
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
        return lines, stuck

    def _error(self, output: str, said: str) -> BoardError:
        if "failed to access" in said or "multiple access" in said:
            return in_use(self.port)
        if "could not enter raw repl" in said:
            return BoardError(
                f"no MicroPython responds at {self.port}. If MicroPython is installed on the "
                "board, press its reset button and try again"
            )
        if re.search(r"Errno 5\b|device disconnected|device reports readiness", said, re.I):
            return BoardError(
                f"lost the connection to the board at {self.port}. Check the cable; if the board "
                "reset itself, try again"
            )
        if "MemoryError" in output:
            return BoardError("the board is out of memory. Press its reset button and try again")
        return BoardError(f"mpremote failed: {_last(said) or _last(output) or 'no message'}")


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
