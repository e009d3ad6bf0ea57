"""Keep, finish or discard a firmware file and its checkpoint."""

import binascii

from micropython import const

from ivota import OtaError, once

_MISMATCH = const(-4)


def keep(target, key, value):
    """Set a value in the checkpoint; write the file only if the value changes. Raises OSError."""
    known = once("json_file").load(target.checkpoint) or {}
    if known.get(key) != value:
        known[key] = value
        once("json_file").save(target.checkpoint, known)


def note(target, etag):
    """Save the server's ETag of these bytes, for If-Range in the next request. Raises OSError."""
    if etag and etag != target.etag:
        target.etag = etag
        keep(target, "etag", etag)


def drop(target):
    """Make all written data durable, save the position in the checkpoint, and close.

    Raises OSError.
    """
    close(target)
    if target.kind:
        keep(target, "position", target.position)


def finish(target, md5, fetched):
    """Compare with the pushed MD5 and end the download; OtaError(-4) if they differ.

    If some bytes were on flash before this download, a retry is worthwhile.
    """
    found = binascii.hexlify(target.digest.digest()).decode()
    if found != md5:
        raise OtaError(_MISMATCH, "the MD5 is " + found, not fetched)
    close(target)
    # A slot's checkpoint stays until the image is confirmed, so that it isn't downloaded again.
    if not target.slot:
        once("json_file").remove(target.checkpoint)


def close(target):
    """Close the file; can be called repeatedly."""
    file, target.file = target.file, None
    if file:
        file.close()


def discard(target):
    """Close the file, and delete everything of this firmware."""
    try:
        close(target)
    except OSError:
        pass
    once("json_file").remove(target.path)
    once("json_file").remove(target.checkpoint)
