"""Fetch a channel's index, verify its signature, and choose a release from it."""

import binascii
import hashlib
import json

from micropython import const

from ivota import OtaError, again, once

_FAILED = const(-5)
_MOST = const(4096)  # bytes of the file
_HOPS = const(6)  # maximum number of requests, including redirects
_POLLIN = const(1)
_SIGNATURE = const(384)  # bytes: RSA-3072


def fetch(link, client):
    """Fetch the index, and return a message for `message_handler`: with a push if there is an
    update.

    Raises `OtaError`.
    """
    message = {"running": client.version}
    data = _get(link)
    if data is not None:
        state = client.state
        index = read(data, client.config, state.serial)
        if index["serial"] > state.serial:
            state.serial = index["serial"]
            once("state").save(state)
        release, later = choose(index, client)
        if release:
            message["push"] = _push(client, release)
        if release or later:
            link.etag = None  # this index has to be read again
    return json.dumps(message)


def _get(link):
    """Return the index's bytes, or None if it is unchanged and has no update for this board."""
    config = link.config
    url = config["channel"]["url"]
    longest = config["mqtt"]["max_message_bytes"]
    for _ in range(_HOPS):
        headers = {"If-None-Match": link.etag} if link.etag else {}
        # An import at the top would keep the module in the heap.
        stream = once("http_request").open_request("GET", url, config["http"], headers)
        try:
            stream.begin()
            fields = {
                b"location": b"",
                b"etag": b"",
                b"transfer-encoding": b"",
                b"content-length": b"",
                b"retry-after": b"",
                b"date": b"",
            }
            status = once("response_check").read_head(stream, fields, longest)
            if status in (300, 301, 302, 303, 307, 308) and fields[b"location"]:
                url = once("url").follow(url, fields[b"location"].decode())
                continue
            if status == 304 and link.etag:
                return None
            if status not in (200, 203):  # 203 is a 200 from a proxy
                raise once("http_status").refusal(status, 0, fields)
            data = _body(stream, fields)
            etag = fields[b"etag"].decode()
            link.etag = etag if len(etag) <= 80 else None
            return data
        finally:
            stream.close()
    raise again("too many redirects")


def _body(stream, fields):
    raw = stream.raw
    if fields[b"transfer-encoding"].lower() == b"chunked":
        raw = once("chunked_body").Body(raw)
    length = fields[b"content-length"]
    most = min(int(length), _MOST + 1) if length.isdigit() else _MOST + 1
    buffer = bytearray(most)
    view = memoryview(buffer)
    at = 0
    stream.begin()
    while at < most:
        n = raw.readinto(view[at:], most - at)
        stream.wait(_POLLIN if n is None else 0)
        if n == 0:
            break
        at += n or 0
    if at > _MOST:
        raise OtaError(_FAILED, "the channel's index has more than %d bytes" % _MOST)
    return bytes(view[:at])


def read(data, config, serial):
    """Verify the index and return it as a dictionary.

    Raises `OtaError` unless one of the channel's keys signed it, it is for this product, it has
    not expired, and its serial number is not lower than `serial`, the highest one read before.
    """
    body, _, signature = data.rstrip().rpartition(b"\n")
    try:
        signature = binascii.a2b_base64(signature)
    except ValueError:
        signature = b""
    if len(signature) != _SIGNATURE:
        raise OtaError(_FAILED, "the channel's index is truncated or invalid")
    keys = config["channel"]["keys"]
    lost = once("owner_signature").distrust(body, int.from_bytes(signature, "big"), keys)
    if lost is not None:
        raise OtaError(_FAILED, "the channel's index is not signed by a trusted key" + lost)
    # From here on, the index is trusted.
    index = json.loads(body)
    if index.get("channel") != 1:
        raise OtaError(_FAILED, "the channel's index needs a newer ivota on the board")
    if index["product"] != config["product_id"]:
        raise OtaError(_FAILED, "the channel is for the product %s" % index["product"])
    if index["serial"] < serial:
        raise OtaError(
            _FAILED,
            "the channel's index is outdated: serial %d, but the board has already read %d"
            % (index["serial"], serial),
        )
    now = once("clock").unix_time()
    expires = index.get("expires")
    if expires and now and now >= expires:
        raise OtaError(_FAILED, "the channel's index has expired")
    return index


def choose(index, client):
    """Return (the release to install or None, whether this index may offer one later)."""
    config = client.config
    track = config["channel"]["track"]
    if track not in index["tracks"]:
        raise OtaError(_FAILED, "the channel has no track " + track)
    now = once("clock").unix_time()
    wanted = None
    later = False
    for release in index["tracks"][track]:
        if release["target"] != config["target"]:
            continue
        since = release.get("not_before")
        if since and not (now and now >= since):
            later = True
        elif is_covered(config["device_name"], release):
            wanted = release
    if (
        not wanted
        or wanted["version"] == client.version
        or wanted["sequence"] <= client.state.sequence
        or once("failure_record").reason(client.state, wanted["md5"], wanted["version"])
    ):
        return None, later
    return wanted, later


def is_covered(name, release):
    """Return whether the release's share of the boards includes the board with this name.

    The order in which boards get a release differs from release to release.
    """
    drawn = hashlib.sha256((release["md5"] + "/" + name).encode()).digest()
    return (drawn[0] << 8 | drawn[1]) * 100 < release.get("share", 100) << 16


def _push(client, release):
    """Create a push: of a delta from the running version, or of the full firmware."""
    failure_record = once("failure_record")
    state = client.state
    file = release
    for delta in release.get("deltas", ()):
        md5 = delta["md5"]
        # After a failed delta, the full firmware may still work: it needs less.
        if (
            delta["from"] == client.version
            and not failure_record.count(state, md5)
            and not failure_record.reason(state, md5, release["version"])
        ):
            file = delta
    return {
        "type": "update_firmware",
        "version": release["version"],
        "url": once("url").follow(client.config["channel"]["url"], file["file"]),
        "file_size": file["size"],
        "md5sum": file["md5"],
    }
