"""Sign-in before the broker: checks each CONNECT, then only passes bytes on.

The broker behind is told `{product_id}/{device_name}` as the user name, so that its rules can keep
devices to their own topics.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading

from ..cloud_error import CloudError
from .connect_packet import BAD_PASSWORD, Refused, read_connect, read_first
from .device_credentials import Authenticate

log = logging.getLogger("ivota.cloud")

CONNECT_S = 10.0  # from the connection to a whole CONNECT
PIECE = 16384


class Front:
    """Listens on (host, port) at once, passes on to the broker at (host, port) from `start()`.

    `tls` is the context of a server that devices reach over TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        authenticate: Authenticate,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._authenticate = authenticate
        self._tls = tls
        self._broker = ("", 0)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=1000)
        except OSError as error:
            raise CloudError(
                f"MQTT port {port} on {host} cannot be used ({error.strerror}): choose another "
                "with --mqtt-port"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)

    def start(self, broker_host: str, broker_port: int) -> None:
        self._broker = (broker_host, broker_port)
        self._thread.start()

    def stop(self) -> None:
        """Cuts every connection and returns once the port is free."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(
            self._accept,
            sock=self._socket,
            ssl=self._tls,
            ssl_handshake_timeout=CONNECT_S if self._tls else None,
        )
        server = self._loop.run_until_complete(serving)
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.TimeoutError):
            pass  # a link that was cut, on either side
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            body = await asyncio.wait_for(read_first(reader), CONNECT_S)
            connect = read_connect(body)
            words = connect.client_id, connect.user, connect.password
            user = await asyncio.to_thread(self._authenticate, *words)
            if user is None:
                raise Refused(f"{connect.client_id!r} is not signed", BAD_PASSWORD)
        except Refused as refused:
            log.warning("sign-in refused: %s", refused)
            if refused.code is not None:
                writer.write(bytes([0x20, 2, 0, refused.code]))
                with contextlib.suppress(OSError):
                    await writer.drain()
            return
        from_broker, to_broker = await asyncio.open_connection(*self._broker)
        to_broker.write(connect.as_user(user))
        pumps = [
            asyncio.ensure_future(_pump(reader, to_broker)),
            asyncio.ensure_future(_pump(from_broker, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            to_broker.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
