"""Patches: what the host writes makes the same bytes on a board, and damage is noticed."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from device_files import device_world
from hypothesis import given, settings
from hypothesis import strategies as st
from shim.modules import deflate
from shim.streams import BytesIO

from ivota_tools.firmware import patch
from ivota_tools.firmware.patch import PatchError, Record
from ivota_tools.firmware.patch.format import GROUP, HEADER, PIECE
from ivota_tools.firmware.patch.writer import deflated


@pytest.fixture(scope="module")
def pieces() -> Callable[..., Iterator[Any]]:
    """The board's own reader of records."""
    world = device_world()
    found: Callable[..., Iterator[Any]] = world.import_(
        "ivota.delta_decoder", fromlist=("*",)
    ).pieces
    return found


def on_a_board(pieces: Callable[..., Iterator[Any]], base: bytes, data: bytes) -> bytes:
    header = patch.read(data)
    stream = deflate.DeflateIO(BytesIO(data[header.header_size :]), deflate.RAW, header.window)
    made = pieces(stream, BytesIO(base), header.base_size, header.result_size)
    words = next(made)
    return b"".join(words.tobytes()[:n] for n in made)


def changed(data: bytes, seed: int) -> bytes:
    """As a new build of the same sources: words that moved, parts put in, taken out and moved."""
    chance = random.Random(seed)
    out = bytearray(data)
    for _ in range(chance.randrange(60)):
        at = chance.randrange(len(out))
        kind = chance.randrange(4)
        size = chance.choice((1, 2, 3, 40, 700, 3000))
        if kind == 0:
            out[at:at] = chance.randbytes(size)
        elif kind == 1:
            del out[at : at + size]
        elif kind == 2:
            out[at : at + size] = bytes(b + 3 & 255 for b in out[at : at + size])
        else:
            out += out[at : at + size]
        if not out:
            out += b"x"
    return bytes(out)


@pytest.mark.parametrize("seed", range(12))
def test_a_board_makes_what_the_host_meant(
    pieces: Callable[..., Iterator[Any]], seed: int
) -> None:
    base = random.Random(seed).randbytes(20_000) + b"some text " * 900
    result = changed(base, seed)
    data = patch.make(base, result, base_version="0.1", window=9 + seed % 4)
    assert patch.apply(base, data) == result
    assert patch.apply(base + b"its trailer", data) == result
    assert on_a_board(pieces, base, data) == result
    whole = patch.make(b"", result)
    assert patch.apply(b"", whole) == result
    assert on_a_board(pieces, b"", whole) == result


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(min_size=1, max_size=300), st.integers(1, 60))
def test_any_two_byte_strings(base: bytes, result: bytes, times: int) -> None:
    result = result * times
    data = patch.make(base, result)
    assert patch.apply(base, data) == result


def test_the_limits_of_records(pieces: Callable[..., Iterator[Any]]) -> None:
    """Long copies and inserts, a piece in which all words differ, changes far apart, and more
    records than a group has."""
    chance = random.Random(1)
    base = chance.randbytes(200_000)
    dense = bytes(b ^ 0x55 for b in base[70_000 : 70_000 + 3 * PIECE])
    sparse = bytearray(base[80_000:130_000])
    for at in range(0, 50_000, 601):
        sparse[at] ^= 1
    result = base[:150_001] + chance.randbytes(70_000) + dense + bytes(sparse)
    data = patch.make(base, result)
    assert on_a_board(pieces, base, data) == patch.apply(base, data) == result
    found = list(patch.records(data))
    assert len(found) > GROUP
    assert all(len(record.inserted) <= 65_535 for record in found)
    assert all(len(record.changes) <= 255 for record in found)
    assert all(record.copy <= 65_535 for record in found)
    # Between changes that are more than 255 words apart is one that changes nothing.
    assert any(added == 0 for record in found for _, added in record.changes)


def test_what_a_patch_says() -> None:
    base, result = b"base " * 100, b"base " * 90 + b"result"
    data = patch.make(base, result, base_version="0.1", kind="esp32-image")
    found = patch.read(data)
    assert (found.kind, found.window, found.base_version) == ("esp32-image", 10, "0.1")
    assert (found.base_size, found.base_md5) == (500, hashlib.md5(base).hexdigest())
    assert (found.result_size, found.result_md5) == (456, hashlib.md5(result).hexdigest())
    assert found.result_sha256 == hashlib.sha256(result).hexdigest()
    assert found.header_size == 87
    assert patch.fits(found, base + b"more") and not patch.fits(found, base[:-1])
    assert list(patch.records(data)) == [Record(0, 450, (), b"result")]


def test_the_same_arguments_give_the_same_bytes() -> None:
    base = random.Random(3).randbytes(5000)
    assert patch.make(base, changed(base, 3)) == patch.make(base, changed(base, 3))


def test_what_can_not_be_made() -> None:
    for more, why in (
        ({"kind": "other"}, "a bundle or an ESP32 image"),
        ({"window": 15}, "9 to 12 bits"),
        ({"base_version": "\xe4" * 200}, "more than 255 bytes"),
    ):
        with pytest.raises(PatchError, match=why):
            patch.make(b"a", b"b", **more)  # type: ignore[arg-type]
    with pytest.raises(PatchError, match="1 to"):
        patch.make(b"a", b"")


def test_damage_is_noticed() -> None:
    base = random.Random(4).randbytes(3000)
    result = changed(base, 4)
    data = patch.make(base, result, base_version="0.1")
    with pytest.raises(PatchError, match="wrong base: the patch is for version 0.1"):
        patch.apply(result, data)
    # A flipped bit anywhere makes no other result: at most one that is the same after all.
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        try:
            assert patch.apply(base, bytes(damaged)) == result
        except PatchError:
            continue
    for end in range(0, len(data) - 8, 7):
        with pytest.raises(PatchError):
            patch.apply(base, data[:end])


def test_a_stream_is_not_unpacked_without_end() -> None:
    """Four megabytes of nothing in four kilobytes: they are never in memory together."""
    header = patch.make(b"", b"abc")[: HEADER.size]
    bomb = header + deflated(bytes(1 << 22), 10)
    assert len(bomb) < 5000
    tracemalloc.start()
    try:
        with pytest.raises(PatchError):
            patch.apply(b"", bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_records_of_a_byte_each_are_not_read_to_their_end() -> None:
    """Nine bytes of a stream for one of the result: 25 KB would keep a host at it for long."""
    groups = 20_000
    header = bytearray(patch.make(b"", b"abc")[: HEADER.size])
    header[32:36] = (32 * groups).to_bytes(4, "little")
    group = bytes([32]) + bytes([1, 0] * 32) + bytes(32 * 7)
    bomb = bytes(header) + deflated(group * groups, 10)
    assert len(bomb) < 30_000
    read: list[patch.Record] = []
    with pytest.raises(PatchError, match="more data than its result needs"):
        read.extend(patch.records(bomb))
    assert len(read) < 32 * groups / 4
