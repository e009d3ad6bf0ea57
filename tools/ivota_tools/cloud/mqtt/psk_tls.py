"""Serve TLS with pre-shared keys, without certificates, for the vendor's C SDKs.

The SDKs offer only `TLS_PSK_WITH_AES_128_CBC_SHA` and `…_256_CBC_SHA` on TLS 1.2. Python's `ssl`
supports pre-shared keys from 3.13 on; pyOpenSSL makes OpenSSL usable on every Python.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from ..cloud_error import CloudError
from ..tls_certificate import Certificate
from .device_sign_in import Known

log = logging.getLogger("ivota.cloud")

HANDSHAKE_S = 10.0
PIECE = 65536
KEY_MOST = 256  # bytes; OpenSSL accepts 512
# The suites of the SDKs, and those that newer clients with a key offer.
CIPHERS = "PSK-AES128-CBC-SHA:PSK-AES256-CBC-SHA:PSK+AESGCM:ECDHE-PSK-CHACHA20-POLY1305"
CERTIFICATE_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

# Returns the device that signs in with this identity, or None; can block.
Find = Callable[[str], "Known | None"]

_binding = Binding()


class _Handshake(Protocol):
    identity: str | None
    device: Known | None


class PskContext:
    """The context of a server. With a `certificate` it also serves clients without a key.

    They are asked for a certificate that one of the authorities in the files `trusted` has signed.
    """

    def __init__(
        self,
        find: Find,
        certificate: Certificate | None = None,
        trusted: Sequence[Path] = (),
    ) -> None:
        if not _binding.lib.Cryptography_HAS_PSK:
            raise CloudError("the installed Python package cryptography does not support TLS-PSK")
        self._find = find
        self._current = threading.local()  # the connection whose handshake called the callback
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        # No tickets: a client that reconnects proves again that it has the key.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        ciphers = CIPHERS
        if certificate:
            certificate.context()  # reports errors in the certificate
            context.use_certificate_chain_file(str(certificate.chain))
            context.use_privatekey_file(str(certificate.key))
            ciphers = f"{CERTIFICATE_CIPHERS}:{CIPHERS}"
            for path in trusted:
                context.load_verify_locations(str(path))
            if trusted:
                context.set_verify(SSL.VERIFY_PEER)
                store = context.get_cert_store()
                assert store
                store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        context.set_cipher_list(ciphers.encode())
        # A reference: OpenSSL keeps none.
        self._callback = _binding.ffi.callback(
            "unsigned int (*)(SSL *, const char *, unsigned char *, unsigned int)",
            self._give_key,
            error=0,
        )
        _binding.lib.SSL_CTX_set_psk_server_callback(context._context, self._callback)
        self._context = context

    def connection(self) -> SSL.Connection:
        """A connection on memory buffers: the caller feeds it bytes and collects its output."""
        made = SSL.Connection(self._context, None)
        made.set_accept_state()
        return made

    def step(self, connection: SSL.Connection, handshake: _Handshake) -> bool:
        """Continue the handshake with the bytes received so far; return whether it is finished.

        Blocks while the key is looked up. Raises SSL.Error.
        """
        self._current.handshake = handshake
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def _give_key(self, _ssl: object, identity: Any, buffer: Any, most: int) -> int:
        name = _binding.ffi.string(identity).decode(errors="replace")
        device = self._find(name)
        key = device.key if device else b""
        if not 0 < len(key) <= min(most, KEY_MOST):
            # The response must not reveal whether the identity is known.
            key = secrets.token_bytes(16)
        handshake = self._current.handshake
        handshake.identity, handshake.device = name, device
        _binding.ffi.memmove(buffer, key, len(key))
        return len(key)


class PskProtocol(asyncio.Protocol):
    """Terminate TLS for `inner`, which is connected after the handshake.

    `failed()` is called if the connection ends before that.
    """

    def __init__(
        self,
        context: PskContext,
        inner: asyncio.Protocol,
        failed: Callable[[], None] = lambda: None,
        handshake_s: float | None = None,
    ) -> None:
        self._context, self._inner = context, inner
        self._not_connected, self._handshake_s = failed, handshake_s or HANDSHAKE_S
        self.identity: str | None = None
        self.device: Known | None = None  # the device that proved to have its key, once connected
        self._tls = context.connection()
        self._done = self._lost = False
        self._received = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lower: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.lower = transport
        self._task = asyncio.get_running_loop().create_task(self._shake_hands())

    def data_received(self, data: bytes) -> None:
        try:
            self._tls.bio_write(data)
            if self._done:
                self._read()
        except SSL.Error as error:
            self._failed(error)
        self._received.set()

    def eof_received(self) -> bool | None:
        self._received.set()
        if self._done:
            self._inner.eof_received()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._received.set()
        if self._task:
            self._task.cancel()
        if self._done:
            self._inner.connection_lost(error)
        else:
            self._not_connected()

    def pause_writing(self) -> None:
        if self._done:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._done:
            self._inner.resume_writing()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.send(view) :]
        except SSL.Error as error:
            self._failed(error)
        self._flush()

    def abort(self) -> None:
        if self.lower:
            self.lower.abort()

    def end(self) -> None:
        try:
            self._tls.shutdown()
        except SSL.Error:
            pass  # it never started, or has ended
        self._flush()
        if self.lower:
            self.lower.close()

    def certificate(self) -> bytes | None:
        """Return the client's verified certificate as DER."""
        found = self._tls.get_peer_certificate(as_cryptography=True)
        return found.public_bytes(serialization.Encoding.DER) if found else None

    async def _shake_hands(self) -> None:
        assert self.lower
        loop = asyncio.get_running_loop()
        ends = loop.call_later(self._handshake_s, self.lower.abort)
        try:
            over = False
            while not over and not self._lost:
                await self._received.wait()
                self._received.clear()
                # Only this thread uses it meanwhile; received bytes are fed in afterwards.
                self.lower.pause_reading()
                over = await loop.run_in_executor(None, self._context.step, self._tls, self)
                self._flush()
                self.lower.resume_reading()
        except SSL.Error as error:
            self._failed(error)
            return
        except RuntimeError:
            return  # it was closed meanwhile
        finally:
            ends.cancel()
        if not self._lost:
            self._done = True
            self._inner.connection_made(_PskTransport(self))
            self._read()

    def _read(self) -> None:
        while not self._lost:
            try:
                data = self._tls.recv(PIECE)
            except SSL.WantReadError:
                break
            except (SSL.ZeroReturnError, SSL.SysCallError):
                self._inner.eof_received()
                break
            self._inner.data_received(data)
        self._flush()

    def _flush(self) -> None:
        """Send the pending output of TLS."""
        while self.lower and not self._lost:
            try:
                self.lower.write(self._tls.bio_read(PIECE))
            except SSL.Error:
                return  # no output left

    def _failed(self, error: SSL.Error) -> None:
        self._flush()  # the alert with the reason
        log.info("TLS connection from %s rejected: %s", self.identity or "a client", _words(error))
        if self.lower:
            self.lower.close()


class _PskTransport(asyncio.Transport):
    """The transport for the protocol above TLS."""

    def __init__(self, tls: PskProtocol) -> None:
        assert tls.lower
        self._tls, self._lower = tls, tls.lower
        super().__init__({"device": tls.device, "certificate": tls.certificate()})

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        own = super().get_extra_info(name)
        return self._lower.get_extra_info(name, default) if own is None else own

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._tls.write(bytes(data))

    def close(self) -> None:
        self._tls.end()

    def abort(self) -> None:
        self._tls.abort()

    def is_closing(self) -> bool:
        return self._lower.is_closing()

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._lower.pause_reading()

    def resume_reading(self) -> None:
        self._lower.resume_reading()

    def is_reading(self) -> bool:
        return self._lower.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._lower.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._lower.get_write_buffer_size()


def _words(error: SSL.Error) -> str:
    stack = error.args[0] if error.args else None
    return (
        str(stack[0][-1]) if isinstance(stack, list) and stack else "the client has disconnected"
    )
