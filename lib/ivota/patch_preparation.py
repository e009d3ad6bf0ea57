"""Verify the base of a patch, and open the target for its result.

A separate module, so that it leaves the heap before the result is built.
"""

import hashlib

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_CHUNK = const(1024)


def next_slot(is_image):
    """Return the partition for an image; None for a bundle, which goes into a file."""
    if not is_image:
        return None
    try:
        slot = once("slot_finder").next_slot()
    except ImportError:  # all ports but one
        slot = None
    if not slot:
        raise OtaError(_FAILED, "this board has no slot for an ESP32 image", reject=True)
    return slot


def open_base(client, header, slot):
    """Open the base of the patch; None if it has no base."""
    if not header.base_size:
        return None
    if slot:
        if header.base_size > slot.info()[3]:
            raise _wrong(header)
        return once("slot_reader").Running()
    try:
        return open(client.state.active or "", "rb")
    except OSError:
        raise _wrong(header)


def _wrong(header):
    return OtaError(
        _FAILED, "wrong base: the patch is for version " + header.base_version, reject=True
    )


def compare(base, header):
    """Digest the part of the base that the patch refers to, in bounded steps."""
    digest = hashlib.md5()
    lacks = yield from once("flash_digest").update(digest, base, header.base_size)
    if lacks or header.base_size and digest.digest() != header.base_md5:
        raise _wrong(header)


def begin_slot(header, path, state, slot):
    """Return the `SlotTarget` for the result. Delete older checkpoints, which are no longer true
    about the slot.
    """
    once("slot_finder").fits(slot, header.result_size)
    once("firmware_folder").clear(path, (state.active, state.previous, path))
    return once("slot_target").SlotTarget(path, None, header.result_size, hashlib.sha256(), slot)


def begin_file(header, path, state, _slot):
    """Return the `FileTarget` of an empty file for the result, with room for all of it."""
    firmware_folder = once("firmware_folder")
    result = firmware_folder.stem_of(path) + ".new"
    spare = state.previous if state.previous != path else None
    firmware_folder.make_room(result, header.result_size, (state.active, path), spare)
    target = once("file_target").FileTarget(result, None, header.result_size)
    target.open(hashlib.sha256(), firmware_folder.block_layout(path), _CHUNK)
    return target
