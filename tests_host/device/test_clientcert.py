"""The board's own certificate, as a server sees it that asks for one."""

import os

import tls
from doubles import pki
from test_secure import Time, pem

from ivota import OtaError, tls_client
from support import Listener, patched, raises, tmp_dir, wait_until, write_file

CURVE = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def shown(path, own, root=pki.CA):
    """Whether a byte passes to a server that serves nobody without a certificate by `root`."""
    with Listener() as server:
        client, peer = server.pair()
        client.setblocking(False)
        context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.CERT, pki.KEY)
        context.verify_mode = tls.CERT_REQUIRED
        context.load_verify_locations(root)
        far = context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
        near = tls_client.wrap(client, "board.test", path + "/ca", own)

        def passes():
            near.write(b"x")
            return far.read(1) == b"x"

        try:
            wait_until(passes)
        finally:
            near.close()
            far.close()


def test_a_server_that_asks_for_one_is_reached():
    clock = Time()
    clock.year = 2026
    chain = pem(pki.CERT_BY_MIDDLE) + b"by\n" + pem(pki.MIDDLE)
    sec1, pkcs8 = pem(pki.KEY, b"EC PRIVATE KEY"), pem(pki.KEY_PKCS8, b"PRIVATE KEY")
    for cert, key, root in (
        (pki.CERT, pki.KEY, pki.CA),
        (pem(pki.CERT), sec1, pki.CA),
        (b"mine\n" + pem(pki.CERT), CURVE + sec1, pki.CA),
        (chain, sec1, pki.ROOT),
        (chain, pki.KEY_PKCS8, pki.ROOT),
        (chain + pem(pki.ROOT), pkcs8, pki.ROOT),
        (chain + pkcs8, chain + pkcs8, pki.ROOT),
    ):
        with tmp_dir() as path, patched(tls_client, time=clock):
            for name, data in (("/ca", pki.CA), ("/cert", cert), ("/key", key)):
                write_file(path + name, data)
            shown(path, {"cert": path + "/cert", "key": path + "/key"}, root)
            with raises(OSError):
                shown(path, None, root)


def test_files_that_are_none():
    clock = Time()
    clock.year = 2026
    with tmp_dir() as path, patched(tls_client, time=clock):
        own = {"cert": path + "/cert", "key": path + "/key"}
        write_file(path + "/ca", pki.CA)
        for cert, key, words in (
            (None, pki.KEY, "cannot read a certificate from " + own["cert"]),
            (pki.CERT, None, "cannot read a key from " + own["key"]),
            (pki.CERT, b"nothing", "is not the key of"),
            (pki.CERT, pem(pki.CERT), "is not the key of"),
            (pki.CERT[:-9], pki.KEY, "one file is damaged"),
            (pem(pki.CERT) + pem(pki.MIDDLE[:-9]), pki.KEY, "one file is damaged"),
            (pem(pki.CERT) + pem(pki.MIDDLE)[:-40], pki.KEY, "certificate 2 of"),
            (b"-----BEGIN CERTIFICATE-----\n%%%", pki.KEY, "certificate 1 of"),
        ):
            for name, data in (("/cert", cert), ("/key", key)):
                if data is None:
                    continue
                write_file(path + name, data)
            with raises(OtaError) as caught:
                tls_client.wrap(None, "board.test", path + "/ca", own)
            assert words in caught.value.message, caught.value.message
            for name, data in (("/cert", cert), ("/key", key)):
                if data is not None:
                    os.remove(path + name)
