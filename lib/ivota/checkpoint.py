"""What is done with a firmware file between its downloads and after them."""

import binascii

from micropython import const

from ivota import OtaError, once

_MISMATCH = const(-4)


def keep(target, key, value):
    """Have this in the checkpoint, which is written only for another value; OSError."""
    known = once("json_file").load(target.checkpoint) or {}
    if known.get(key) != value:
        known[key] = value
        once("json_file").save(target.checkpoint, known)


def note(target, etag):
    """Keep the server's name for these bytes, for the next request's If-Range; OSError."""
    if etag and etag != target.etag:
        target.etag = etag
        keep(target, "etag", etag)


def drop(target):
    """Make all that was written durable, say so in the checkpoint, and close; OSError."""
    close(target)
    if target.kind:
        keep(target, "position", target.position)


def finish(target, md5, fetched):
    """Compare with the pushed MD5 and end the download; OtaError(-4) if they differ.

    What was not fetched by now lay there from before: another try is worth while.
    """
    found = binascii.hexlify(target.digest.digest()).decode()
    if found != md5:
        raise OtaError(_MISMATCH, "the MD5 is " + found, not fetched)
    close(target)
    # A slot's is needed until the image has proved itself: then it need not come again.
    if not target.slot:
        once("json_file").remove(target.checkpoint)


def close(target):
    """Close the file; more than once is fine."""
    file, target.file = target.file, None
    if file:
        file.close()


def discard(target):
    """Close, and leave nothing of this firmware behind."""
    try:
        close(target)
    except OSError:
        pass
    once("json_file").remove(target.path)
    once("json_file").remove(target.checkpoint)
