"""The HTTP server: uvicorn in its own thread, with listeners that limit connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, OperationalError
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..common.campaign_options import OptionError
from ..common.unix_path import unix_path
from .accounts import authorization
from .accounts.users import UserError
from .api import validation_messages
from .cloud_error import CloudError
from .connection_limit import Connection, Table, accept
from .health_probes import no_database
from .http_deadlines import BoundedProtocol, ClosingServer, Deadlines
from .mqtt.device_sign_in import SecretError
from .network_addresses import Networks
from .rollout.campaign_actions import CampaignError
from .rollout.device_actions import MismatchError, TagError, UpdateStateError
from .rollout.device_query import QueryError
from .store.device_acceptance import StatusError
from .store.firmware_store import FirmwareError
from .tls_certificate import Certificate

log = logging.getLogger("ivota.cloud")

START_S = 15.0
OURS = ("/files/", "/channel/", "/healthz", "/readyz")
BACKLOG = 1000
SEND_BUFFER = 128 * 1024  # bytes
KEEP_ALIVE_S = 75  # some clients download slowly in 50 KiB pieces on one connection


def make_app(*routers: APIRouter) -> FastAPI:
    # FastAPI's documentation pages load scripts from other servers, so they are disabled.
    app = FastAPI(title="ivota", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)
    for router in routers:
        app.include_router(router)

    @app.exception_handler(FirmwareError)
    def refused(request: Request, error: FirmwareError) -> JSONResponse:
        words = error.on_page if authorization.is_by_page(request) else str(error)
        return JSONResponse({"detail": words}, error.status)

    @app.exception_handler(RequestValidationError)
    def not_understood(_request: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own list would contain the input, which JSON may be unable to represent.
        wrong = [
            (validation_messages.field(each) or "request body")
            + f": {validation_messages.text(each)}"
            for each in error.errors()
        ]
        detail = "; ".join(wrong).encode(errors="replace").decode()
        return JSONResponse({"detail": detail}, 422)

    @app.exception_handler(UserError)
    def no_user(_request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, error.status)

    @app.exception_handler(CampaignError)
    def conflicts(_request: Request, error: CampaignError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(MismatchError)
    @app.exception_handler(StatusError)
    @app.exception_handler(UpdateStateError)
    def no_part(_request: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    for kind in (OptionError, QueryError, SecretError, TagError):

        @app.exception_handler(kind)
        def cannot_be(_request: Request, error: ValueError) -> JSONResponse:
            return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(DataError)
    def cannot_be_held(request: Request, error: DataError) -> JSONResponse:
        # Only PostgreSQL rejects a text that contains a NUL or is too long for its column.
        log.warning("%s %s: %s", request.method, request.url.path, error.orig)
        return JSONResponse({"detail": "a string contains a NUL character or is too long"}, 422)

    @app.exception_handler(OperationalError)
    def cannot_be_asked(request: Request, error: OperationalError) -> JSONResponse:
        log.error("%s %s: %s", request.method, request.url.path, error.orig)
        return JSONResponse({"detail": no_database(error)}, 503)

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": "internal error: see the cloud's log"}, 500)

    return app


class Split:
    """Route requests that are not for the API or a download to the console's pages.

    `prefixes` are those of the API's paths.
    """

    def __init__(self, api: ASGIApp, pages: ASGIApp, prefixes: tuple[str, ...]) -> None:
        self._api, self._pages, self._prefixes = api, pages, prefixes + OURS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] != "http" or scope["path"].startswith(self._prefixes)
        await (self._api if ours else self._pages)(scope, receive, send)


class Server:
    """Listen immediately, so that `port` (0 = any free port) is known; serve after `start()`.

    With a `certificate` the port accepts only https; the Unix socket at the path `local` always
    accepts http. At most `most` connections are open at a time. X-Forwarded-For is trusted from
    proxies at the addresses `trusted`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        certificate: Certificate | None = None,
        *,
        most: int = 4096,
        trusted: Networks | None = None,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 (immutable)
    ) -> None:
        self._tls = certificate.context() if certificate else None  # raises CloudError
        self._trusted = trusted or Networks()
        self._deadlines = deadlines
        self.table = Table(most, trusted)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Specify the protocol: otherwise asyncio does not turn off Nagle's algorithm.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The kernel's send buffer for a peer that does not read; connections inherit its size.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            self._socket.bind((host, port))
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            raise CloudError(
                f"cannot listen on HTTP port {port} of {host} ({error.strerror}): choose another "
                "with --port"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        self._local: socket.socket | None = None
        self._server: ClosingServer | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, app: ASGIApp, local: Path | None = None) -> None:
        """Start the server and wait until it accepts requests; raises CloudError."""
        config = uvicorn.Config(
            app,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # make_app reports errors; the others are broken connections.
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            # Downloads and event streams can be long: they are closed when the cloud stops.
            timeout_graceful_shutdown=1,
            proxy_headers=True,
            forwarded_allow_ips=["127.0.0.1", "::1", *self._trusted.texts],
        )
        self._server = ClosingServer(config)
        self._local = _local_socket(local) if local else None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise CloudError("the HTTP server did not start")
            time.sleep(0.01)

    def _run(self) -> None:
        assert self._server
        asyncio.run(self._serve(self._server))

    async def _serve(self, server: ClosingServer) -> None:
        self._loop = asyncio.get_running_loop()

        def protocol(held: Connection) -> BoundedProtocol:
            return BoundedProtocol(
                held,
                self._deadlines,
                config=server.config,
                server_state=server.server_state,
                app_state={},
            )

        server.accepting = [
            asyncio.ensure_future(accept(self._socket, self.table, protocol, self._tls, "HTTP"))
        ]
        if self._local:
            server.accepting.append(
                asyncio.ensure_future(accept(self._local, self.table, protocol, None, "local"))
            )
        await server.serve(sockets=[])

    def reload(self, certificate: Certificate) -> None:
        """Use the certificate's new files for connections that follow."""
        if self._tls and self._loop:
            load = self._tls.load_cert_chain
            # Handshakes run there, so none is in progress.
            self._loop.call_soon_threadsafe(load, certificate.chain, certificate.key, "")

    def stop(self) -> None:
        """Close all connections and wait until the port is free."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()
        self._socket.close()
        if self._local:
            self._local.close()


def _local_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(unix_path(path))
        path.chmod(0o600)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise CloudError(f"cannot use {path}: {error.strerror or error}") from None
    return made
