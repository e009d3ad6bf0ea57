"""hashlib, binascii, struct and random: what they do, and what boards lack."""

import binascii
import hashlib
import random
import struct

from support import raises

SUMS = {
    "md5": b"900150983cd24fb0d6963f7d28e17f72",
    "sha1": b"a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha256": b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
}


def test_digests():
    for name, expected in SUMS.items():
        new = getattr(hashlib, name)
        assert binascii.hexlify(new(b"abc").digest()) == expected
        assert binascii.hexlify(new("abc").digest()) == expected
        made = new()
        assert made.update(b"a") is None
        made.update(memoryview(b"abc")[1:])
        assert binascii.hexlify(made.digest()) == expected


def test_a_hash_is_final_after_digest():
    for name in SUMS:
        made = getattr(hashlib, name)(b"abc")
        made.digest()
        with raises(ValueError):
            made.update(b"d")
        with raises(ValueError):
            made.digest()


def test_a_hash_has_update_and_digest_alone():
    made = hashlib.md5()
    for name in "hexdigest copy name digest_size block_size".split():
        assert not hasattr(made, name), name
    for name in "new sha512 sha224 blake2b pbkdf2_hmac algorithms_available".split():
        assert not hasattr(hashlib, name), name
    with raises(TypeError):
        hashlib.md5().update(5)
    with raises(TypeError):
        hashlib.md5(data=b"")


def test_hexlify():
    assert binascii.hexlify(b"\x01\xab") == b"01ab"
    assert binascii.hexlify("ab") == b"6162"
    assert binascii.hexlify(memoryview(b"abc")[1:], ":") == b"62:63"
    assert binascii.unhexlify("01ab") == b"\x01\xab"
    for bad in (b"0", b"zz"):
        with raises(ValueError):
            binascii.unhexlify(bad)
    assert b"\x01\xab".hex() == "01ab"
    assert bytes.fromhex("01 ab") == b"\x01\xab"


def test_base64():
    assert binascii.b2a_base64(b"ab") == b"YWI=\n"
    assert binascii.b2a_base64(b"ab", newline=False) == b"YWI="
    for text in ("YWI=", b"YWI=\n", b"Y!WI=", b"YWI=YWI="):
        assert binascii.a2b_base64(text) == b"ab"
    assert binascii.a2b_base64("") == b""
    for bad in (b"YW", b"Y", b"YWI"):
        with raises(ValueError):
            binascii.a2b_base64(bad)


def test_crc32():
    assert binascii.crc32(b"ab") == 2659403885
    assert binascii.crc32(b"b", binascii.crc32(b"a")) == 2659403885


def test_struct_cuts_numbers_to_their_field():
    assert struct.pack("!H", 70000) == b"\x11\x70"
    assert struct.pack("!H", -1) == b"\xff\xff"
    assert struct.pack("!h", 40000) == b"\x9c\x40"
    assert struct.pack("B", 256) == b"\0"
    assert struct.pack("!I", (1 << 33) + 5) == b"\0\0\0\x05"
    assert struct.pack("<Q", 1 << 64) == bytes(8)
    buffer = bytearray(4)
    struct.pack_into("!BH", buffer, 1, 300, 70000)
    assert buffer == b"\0\x2c\x11\x70"


def test_struct_fills_up_and_ignores():
    assert struct.pack("!H") == b"\0\0"
    assert struct.pack("<2H", 1) == b"\x01\0\0\0"
    assert struct.pack("!H", 1, 2) == b"\0\x01"
    assert struct.pack("4s2s", b"ab", "wxyz") == b"ab\0\0wx"
    assert struct.unpack("!H", b"abc") == (0x6162,)
    assert struct.unpack("<8s2H", b"12345678abcd") == (b"12345678", 25185, 25699)
    assert struct.unpack_from("!H", b"abcd", -2) == (0x6364,)


def test_struct_raises_valueerror():
    assert not hasattr(struct, "error")
    assert not hasattr(struct, "Struct")
    for call in (
        lambda: struct.unpack("!H", b"a"),
        lambda: struct.unpack_from("!H", b"abcd", 3),
        lambda: struct.pack_into("!H", bytearray(2), 1, 5),
        lambda: struct.pack("Z", 1),
        lambda: struct.calcsize("Z"),
    ):
        with raises(ValueError):
            call()
    for bad in ("a", 1.5):
        with raises(TypeError):
            struct.pack("!H", bad)


def test_struct_sizes():
    assert struct.calcsize("!HBI") == 7
    assert struct.calcsize("<HBI") == 7
    assert struct.calcsize("HBI") == 8


def test_random():
    assert random.getrandbits(0) == 0
    assert 0 <= random.getrandbits(32) < 1 << 32
    for bad in (33, -1):
        with raises(ValueError):
            random.getrandbits(bad)
    assert random.randrange(1, 5, 2) in (1, 3)
    assert random.randint(7, 7) == 7
    assert random.choice([5]) == 5
    assert 0 <= random.random() < 1
    assert 2 <= random.uniform(2, 3) <= 3
    random.seed(5)
    first = [random.getrandbits(16) for _ in range(5)]
    random.seed(5)
    assert [random.getrandbits(16) for _ in range(5)] == first
    with raises(ValueError):
        random.randrange(0)
    with raises(IndexError):
        random.choice([])
    assert not hasattr(random, "shuffle")
    assert not hasattr(random, "sample")
