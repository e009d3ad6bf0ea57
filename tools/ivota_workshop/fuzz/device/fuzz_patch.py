"""Read a whole patch: its header, and its compressed stream as far as its records refer to it."""

import io

from deflate import RAW, DeflateIO
from fuzz_delta import BASE, Base

from ivota import OtaError, patch_header
from ivota.delta_decoder import pieces

RESULT_MOST = 4096


def check(data):
    try:
        header = patch_header.parse(data[: patch_header.MOST])
    except OtaError as error:
        refused(error)
        return "refused"
    assert header.kind in (patch_header.BUNDLE, patch_header.IMAGE) and 9 <= header.window <= 12
    assert 0 < header.result_size < 1 << 32 and 0 <= header.base_size < 1 << 32
    assert type(header.base_version) is str and len(header.result_sha256) == 32
    assert len(header.base_md5) == len(header.result_md5) == 16
    assert 84 <= header.size <= min(len(data), patch_header.MOST)
    size = min(header.base_size, len(BASE))
    left = min(header.result_size, RESULT_MOST)
    source = io.BytesIO(data)
    source.seek(header.size)
    made = 0
    try:
        found = pieces(DeflateIO(source, RAW, header.window), size and Base(), size, left)
        next(found)
        for n in found:
            assert 0 < n <= 1024
            made += n
            assert made <= left
    except OtaError as error:
        refused(error)
        return "damaged"
    assert made == left
    return "%d" % made


def refused(error):
    assert error.code == -5 and error.reject and error.message[:7] == "patch: "
