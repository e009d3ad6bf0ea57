"""The vendor's sign-in: vectors made with CPython's hmac, and no secret in sight."""

import hashlib

from ivota import clock as clock_module
from ivota import cloud_sign_in
from support import Clock, patched, raises

SECRET = "VEhJUyBJUyBBIFNFQ1JFVCE="

# (key, message, SHA-256, SHA-1): RFC 4231 and RFC 2202 among them; each made with CPython's hmac.
VECTORS = (
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "b617318655057264e28bc0b6fb378c8ef146be00",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
    ),
    (
        b"",
        b"",
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
        "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d",
    ),
    (
        b"k" * 63,
        b"x",
        "2c8e6c72fe7045b7a0a70b952f1c70abaa3951a6580a297f175296cb07b905c7",
        "79fca1b8e8c32e6ebcaa5383a7ac8adde648122f",
    ),
    (
        b"k" * 64,
        b"x",
        "f91c4c403625fb06910ef93999265bbd2d62baeaec6ff36455498cc124fe3e66",
        "2c31eadf68d9ba971ad29339d28ce725b03c11f6",
    ),
    (
        b"k" * 65,
        b"x",
        "75092ca3ee2b307470c227697b42b3e65376aa3bae98fb5a1f7b7536daa9588a",
        "7209aca75ec680871725fd309aa689746677dbd4",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        "90d0dace1c1bdc957339307803160335bde6df2b",
    ),
    (
        b"key",
        b"m" * 1000,
        "08f6850b02a5211c47dd3e4e192ba87dbae1b218770695b0e86845a786676932",
        "abba5e15bd8afbde58878df4d6c6be4d1b49fb87",
    ),
)


class Esp32Time:
    """Seconds since 2000; a board without a battery begins there each time."""

    def __init__(self, seconds):
        self._seconds = seconds

    def time(self):
        return self._seconds

    def gmtime(self, seconds=None):
        seconds = self._seconds if seconds is None else seconds
        return (2000 + seconds // 31557600, 1, 1, 0, 0, 0, 5, 1)

    def ticks_ms(self):
        return 5


def sign_in(*args, secret=SECRET, product="PROD123456", name="dev-1"):
    config = {"dialect": "tencent", "product_id": product, "device_name": name}
    config["device_secret"] = secret
    return cloud_sign_in.sign_in(config, *args)


def test_hmac_vectors():
    for key, message, sha256, sha1 in VECTORS:
        assert cloud_sign_in.hmac(key, message) == sha256
        assert cloud_sign_in.hmac(key, message, hashlib.sha256) == sha256
        assert cloud_sign_in.hmac(key, message, hashlib.sha1) == sha1


def test_sign_in_sha256():
    assert sign_in("abcde", 1700000000) == (
        "PROD123456dev-1",
        "PROD123456dev-1;12010126;abcde;1700000000",
        "653d95dd745757081887094d4b75a22267d13639b3daf8747fb48449001fef4b;hmacsha256",
    )


def test_sign_in_sha1():
    found = sign_in("abcde", 1700000000, "sha1")
    assert found[2] == "eba6249268670404951387d89d695ce44e22463b;hmacsha1"


def test_a_connection_has_its_own_five_characters():
    seen = set()
    with Clock(ms=123456).put_into(cloud_sign_in) as clock:
        for _ in range(5):
            user = sign_in()[1]
            name, app, connection, expiry = user.split(";")
            assert (name, app, len(connection)) == ("PROD123456dev-1", "12010126", 5)
            seen.add(connection)
            clock.advance_ms(7)
    assert len(seen) == 5


def test_expiry_is_a_month_ahead():
    with Clock(unix_time=1800000000).put_into(clock_module):
        user = sign_in()[1]
    assert user.split(";")[3] == str(1800000000 + 30 * 86400)


def test_boards_count_from_2000():
    with patched(clock_module, time=Esp32Time(1800000000 - 946684800)):
        user = sign_in()[1]
    assert user.split(";")[3] == str(1800000000 + 30 * 86400)


def test_a_clock_that_was_never_set_makes_no_password_of_the_past():
    """Power came a minute ago: a month from then was over long ago, and the cloud refuses that."""
    with patched(clock_module, time=Esp32Time(60)):
        user = sign_in()[1]
    assert user.split(";")[3] == str((1 << 31) - 1)


def test_a_secret_that_is_not_base64_is_a_value_error_without_it():
    with raises(ValueError) as caught:
        sign_in("abcde", 1, secret="hunter2é!")
    assert "hunter2" not in str(caught.value)
