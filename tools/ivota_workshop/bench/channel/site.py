"""A web server of static files: a real nginx over one folder."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ivota_tools.toolchain import web_servers

_START_S = 60.0
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_TLS = "ssl; ssl_certificate {certificate}.pem; ssl_certificate_key {certificate}.key"
_CONFIG = """\
daemon off;
master_process off;
pid {work}/nginx.pid;
error_log {work}/nginx.log;
events {{}}
http {{
    access_log off;
    {temporary}
    server {{ listen 127.0.0.1:{port} {tls}; root {folder}; }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, work: Path, certificate: str = "") -> Iterator[int]:
    """Serve `folder` on the port of this machine that it yields; `work` is for nginx's files.
    With `certificate`, the path of a file without its ending, it serves over TLS with that .pem
    and .key.

    Raises ToolchainError without nginx, RuntimeError if it does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    work.mkdir(parents=True)
    config = work / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            work=work,
            temporary=" ".join(f"{name}_temp_path {work}/{name};" for name in _TEMPORARY),
            port=port,
            tls=_TLS.format(certificate=certificate) if certificate else "",
            folder=folder,
        )
    )
    log = work / "nginx.log"
    process = subprocess.Popen([*web_servers.nginx(), "-c", str(config), "-e", str(log)])
    try:
        deadline = time.monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx does not start: {log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False
