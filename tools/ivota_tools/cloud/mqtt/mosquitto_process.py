"""Run the built-in MQTT broker: mosquitto as a child process that ends with this process."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ...toolchain import mosquitto
from ..cloud_error import CloudError
from ..store.folder_lock import Alone
from ..tls_certificate import Certificate
from .topic_prefix import TopicPrefix

log = logging.getLogger("ivota.cloud")

START_S = 15.0
STOP_S = 5.0
ENDING_S = 30.0  # for the broker of a killed process, which may have many messages to write
PORTS_MOST = 5  # free ports to try: another program may take one before mosquitto does
PATH_MOST = 100  # bytes, of a Unix socket
RESERVE = 16 << 20  # bytes that mosquitto has for its file when it stops

# mosquitto runs under a shell that stops it when our end of the pipe closes. The pipe closes
# however we exit, even on signal 9; an orphaned mosquitto would keep the port. (Linux's
# parent-death signal depends on the thread that started the child.) mosquitto inherits neither
# the pipe nor our standard input.
#
# While mosquitto runs, a reserved file keeps some space. It is deleted first, so that mosquitto
# can write the messages that it holds in memory also on a full disk.
_SUPERVISE = """
reserve=$1 number=$2; shift 2
exec 3<&0
"$@" </dev/null 3<&- & broker=$!
echo "$broker" >"$number"
{ cat <&3 >/dev/null; rm -f "$reserve"; kill "$broker" 2>/dev/null; } & watch=$!
wait "$broker"; status=$?
kill "$watch" 2>/dev/null
exit $status
"""

_CONFIG = """\
{listeners}
allow_anonymous true
{user}{rules}persistence true
persistence_location {folder}/
autosave_interval 60
# Reports wait here while no cloud reads them; the default drops all beyond 1,000.
max_queued_messages 200000
max_queued_bytes 268435456
# The session of a device that has not come back for so long.
persistent_client_expiration 14d
# Reports are acknowledged in batches, once they are stored: the default of 20 would pace them.
max_inflight_messages 1000
message_size_limit 65536
set_tcp_nodelay true
connection_messages false
log_dest stderr
log_type error
log_type warning
log_type notice
"""

_LOCAL = "listener 0 {path}"
_LISTENER = "listener {port} {host}"
_TLS = """
certfile {certificate.chain}
keyfile {certificate.key}"""

_RULES = """\
user {console}
topic readwrite {prefix}/#

pattern write {prefix}/report/%u
pattern read {prefix}/update/%u
"""


class _PortTakenError(CloudError):
    """Another program has the port."""


class Broker:
    """A mosquitto that listens on (host, port), and on the Unix socket `path` for this user only.

    With `host` None, only the socket is used. `port` 0 chooses a free port. With `certificate`,
    the port uses TLS.

    With `console`, only this user name has access to all topics; the others have access to topics
    that end in their own name.

    `folder` contains its configuration, log and stored sessions.

    `on_death(reason)` is called from another thread if the broker exits without `stop()`.
    """

    def __init__(
        self,
        folder: Path,
        host: str | None,
        port: int,
        on_death: Callable[[str], None],
        console: str | None = None,
        certificate: Certificate | None = None,
        prefix: TopicPrefix = TopicPrefix(),  # noqa: B008 (immutable)
    ) -> None:
        self.host = host
        self.port = 0 if host is None else port or _free_port(host)
        self._ports_left = 1 if port or host is None else PORTS_MOST
        self.path = folder / "broker.sock"
        self._short: tempfile.TemporaryDirectory[str] | None = None
        self._certificate = certificate
        self._folder = folder
        self._log = folder / "mosquitto.log"
        self._on_death = on_death
        self._console = console
        self._number = folder / "mosquitto.pid"
        self._lock: Alone | None = None
        self._prefix = prefix.text
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._watch: threading.Thread | None = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start mosquitto and wait until it is ready; raises CloudError, ToolchainError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        # A second broker would replace the socket.
        taken = (
            f"another process runs its broker in {self._folder}: start both with the same --broker"
        )
        self._lock = Alone(self._folder, taken)
        with self._previous_ended() as running:
            self._start_at_port(running)
        self._watch = threading.Thread(target=self._wait_death, name="broker", daemon=True)
        self._watch.start()

    def _start_at_port(self, running: IO[str]) -> None:
        while True:
            self._ports_left -= 1
            try:
                self._launch(running)
                return self._wait_accepting()
            except _PortTakenError as error:
                if self._process:
                    assert self._process.stdin is not None
                    self._process.stdin.close()
                if self.host is None or not self._ports_left:
                    raise CloudError(str(error)) from None
                self.port = _free_port(self.host)

    def _previous_ended(self) -> IO[str]:
        """Wait until the broker of a process that was killed has ended, and return a lock that the
        next broker inherits.

        Such a broker writes its messages, which the next one reads, and deletes its socket, which
        has the same path.
        """
        running = (self._folder / "running.lock").open("a")
        deadline = time.monotonic() + ENDING_S
        while True:
            try:
                fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > deadline:
                    running.close()
                    raise CloudError(
                        f"the broker that last ran in {self._folder} has not stopped within "
                        f"{ENDING_S:.0f} s: stop that mosquitto, and start the cloud again"
                    ) from None
                time.sleep(0.05)
            else:
                return running

    def _launch(self, running: IO[str]) -> None:
        if len(str(self.path)) > PATH_MOST and self._short is None:
            self._short = tempfile.TemporaryDirectory(prefix="ivota-")  # for this user alone
            self.path = Path(self._short.name) / self.path.name
        self.path.unlink(missing_ok=True)
        listeners = _LOCAL.format(path=self.path)
        if self.host is not None:
            listeners += "\n" + _LISTENER.format(port=self.port, host=self.host)
        if self._certificate:
            self._certificate.context()  # gives a clearer error message
            listeners += _TLS.format(certificate=self._certificate)
        config = self._folder / "mosquitto.conf"
        # If started as root, mosquitto switches to a user without access to a private folder.
        user = "user root\n" if os.geteuid() == 0 else ""
        rules = ""
        if self._console is not None:
            # Devices use QoS 0 and 1. The broker would keep messages with QoS 2 whose sender
            # never releases them.
            listeners += "\nmax_qos 1"
            file = self._folder / "rules"
            file.touch(mode=0o600)
            file.write_text(_RULES.format(console=self._console, prefix=self._prefix))
            rules = f"acl_file {file}\n"
        config.write_text(
            _CONFIG.format(listeners=listeners, user=user, rules=rules, folder=self._folder)
        )
        argv = [*mosquitto(), "-c", str(config)]
        if self.host is not None:
            self._refuse_taken_port(self.host)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("/bin/sh", "-c", _SUPERVISE, "ivota-broker"),
                    *(str(self._reserved()), str(self._number), *argv),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches the process group, but we stop the broker.
                start_new_session=True,
                pass_fds=(running.fileno(),),
            )

    def stop(self) -> None:
        """Stop mosquitto and wait until the port is free."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
        if self._watch:
            self._watch.join()
        if self._short:
            self._short.cleanup()
        if self._lock:
            self._lock.close()

    def reload(self) -> None:
        """Let mosquitto read the certificate's files again, for new connections."""
        if self._process and self._process.poll() is None:
            os.kill(int(self._number.read_text()), signal.SIGHUP)

    def _reserved(self) -> Path:
        """Reserve disk space for the broker's messages, as much as is free."""
        path = self._folder / "reserved"
        try:
            with path.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, RESERVE)
                else:
                    file.write(bytes(RESERVE))
        except OSError as error:
            path.unlink(missing_ok=True)
            log.warning("cannot reserve disk space for MQTT messages: %s", error.strerror or error)
        return path

    def _refuse_taken_port(self, host: str) -> None:
        # Otherwise the wait below could succeed with another program on the port.
        with socket.socket(_family(host)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, self.port))
            except OSError as error:
                raise _PortTakenError(
                    f"cannot listen on MQTT port {self.port} of {host} ({error.strerror}): "
                    "choose another with --mqtt-port, or use the broker on this port with --broker"
                ) from None

    def _wait_accepting(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while True:
            if self._process.poll() is not None:
                said = self._last_words()
                kind = _PortTakenError if "Address already in use" in said else CloudError
                raise kind(f"mosquitto did not start: {said}")
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.path))
                if self.host is not None:
                    where = _within(self.host), self.port
                    socket.create_connection(where, timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise CloudError(
                        f"mosquitto accepted no connection within {START_S:.0f} s: "
                        f"{self._last_words()}"
                    ) from None
            time.sleep(0.02)

    def _wait_death(self) -> None:
        assert self._process is not None
        code = self._process.wait()
        if not self._stopping:
            how = f"by signal {code - 128}" if code > 128 else f"with exit code {code}"
            self._on_death(f"mosquitto ended {how}: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-3:]
        return " | ".join(lines) or "no output"


def _free_port(host: str) -> int:
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _within(host: str) -> str:
    """Return the address at which this machine reaches a server on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
