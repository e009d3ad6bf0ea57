"""Parse a message from the cloud, and act on it: a push, or an answer (docs/protocol.md)."""

import binascii
import json

from micropython import const

from ivota import OtaError, describe, once, tencent
from ivota.firmware_offer import Push

_FAILED = const(-5)

# Fields that a newer cloud adds to a push and wants back in every report about it.
_ECHOED = const(("fw_type", "task_id"))
_MOST = const(256)  # bytes of each value: the state may contain it three times, escaped
# Seconds between two reports of the version, as an ivota cloud may set them.
_OFTEN, _RARELY = const(10), const(86400)


def take(client, payload):
    """Act on a message: note an answer; reject a push, renew the current URL, or queue it."""
    try:
        message = load(payload)
        answered(client, message)
        push = read(message, client.dialect)
    except OtaError as error:
        client.log("warning", "push_refused", why=error.message)
        if error.version:
            push = Push(error.version, "", "", 0)
            client.report("fail", push, error.code, error.message, "refused")
        else:
            client.tell(error.message)
        return
    except MemoryError:  # the cloud pushes again
        client.log("error", "no_heap")
        return
    except Exception as error:
        why = describe(error)
        client.log("warning", "message_ignored", why=why)
        client.tell("the message is not JSON: " + why)
        return
    if not push or push.version == client.version:
        return
    rejected = client.state.rejected
    why = rejected and once("failure_record").reason(client.state, push.md5, push.version)
    if why:
        client.report("fail", push, _FAILED, why, "refused")
    elif client.job and push.same_firmware(client.job.push):
        client.job.renew(push)
        client.next = None
    elif not push.same_firmware(client.burning):
        client.next = push
        if client.awaits_application():
            why = "the application has not reported a result for " + client.burning.version
            client.tell(why, push)


def skipped(client, size):
    """Report that a message of this size was too long."""
    most = client.config["mqtt"]["max_message_bytes"]
    why = "the message has %d bytes, but mqtt.max_message_bytes is %d" % (size, most)
    client.log("warning", "message_ignored", why=why)
    client.tell(why)


def load(payload):
    """Parse JSON into a dictionary, which is empty for any other value. Raises ValueError."""
    return _join(json.loads(payload))


def answered(client, message):
    """Note in `client` what the cloud has answered, if the message answers a version report."""
    dialect = client.dialect
    if not dialect.is_answer(message, client.version, client.asked):
        return
    client.ivota_cloud = dialect is tencent and message.get("cloud") == "ivota"
    if client.ivota_cloud:
        seconds = message.get("report_interval_s")
        fits = type(seconds) is int and _OFTEN <= seconds <= _RARELY
        client.report_interval_s = seconds if fits else 0
        client.introduce()
    if client.trial:
        client.trial.answered = True
    if not client.state.answered:
        once("state").answered(client.state)


def read(message, dialect=tencent):
    """Return the `Push` in a parsed message, or None if it is not about an update.

    Another dialect is first translated into that of `tencent`. Raises `OtaError` (with the
    attribute `version`, if it is readable) for an invalid `update_firmware`.
    """
    if dialect is not tencent:
        message = _join(dialect.update_firmware(message))
    if message.get("type") != "update_firmware":
        return None
    version = message.get("version")
    try:
        return _push(message, version)
    except OtaError as error:
        error.version = version if _is_version(version) else None
        raise


def _join(message):
    """Join the two halves of each character that the JSON parser has left apart.

    Returns an empty dictionary if the message is anything else.
    """
    if not isinstance(message, dict):
        return {}
    for key in ("version",) + _ECHOED:
        value = message.get(key)
        if isinstance(value, str) and not _can_be_sent(value):
            try:
                message[key] = _with_pairs_joined(value)
            except ValueError:  # a single half, on an interpreter that joins pairs itself
                pass
    return message


def _with_pairs_joined(text):
    """Join surrogate pairs, which JSON writes as two escapes and MicroPython does not join.

    Returns the text unchanged if it has a single half.
    """
    data = text.encode()
    at = data.find(b"\xed")
    while at >= 0:
        pair = data[at : at + 6]
        if pair[1] > 0x9F:  # U+D800 to U+DFFF, which UTF-8 lacks
            if len(pair) < 6 or pair[1] > 0xAF or pair[3] != 0xED or pair[4] < 0xB0:
                return text
            high = (pair[1] & 0x0F) << 6 | pair[2] & 0x3F
            low = (pair[4] & 0x0F) << 6 | pair[5] & 0x3F
            data = data[:at] + chr(0x10000 + (high << 10 | low)).encode() + data[at + 6 :]
        at = data.find(b"\xed", at + 1)
    return data.decode()


def _push(message, version):
    if not _is_version(version):
        raise OtaError(_FAILED, "push: version is not a string of 1 to 64 characters")
    url = message.get("url")
    if not isinstance(url, str):
        raise OtaError(_FAILED, "push: url is not a string")
    size = message.get("file_size")
    if type(size) is not int or size <= 0:
        raise OtaError(_FAILED, "push: file_size is not a number of bytes")
    md5 = message.get("md5sum")
    md5 = md5.lower() if isinstance(md5, str) else ""
    try:
        if len(binascii.unhexlify(md5)) != 16:
            raise ValueError
    except ValueError:
        raise OtaError(_FAILED, "push: md5sum is not 32 hexadecimal digits")
    # Any other type might be nested too deeply to be sent again.
    echo = {key: message[key] for key in _ECHOED if _can_be_sent(message.get(key))}
    push = Push(version, url, md5, size, echo)
    push.authorization = message.get("authorization")
    return push


def _is_version(version):
    return (
        isinstance(version, str)
        and version
        and len(version) <= 64
        and _can_be_sent(version)
        and min(version.encode()) >= 32
    )


def _can_be_sent(value):
    """Return whether `value` is a number or a text that is short and can be sent as UTF-8; half a
    surrogate pair can't.
    """
    if type(value) not in (int, str):
        return False
    # Each character read from the text would stay in the heap; its bytes do not.
    try:
        data = str(value).encode()
    except ValueError:
        return False
    at = data.find(b"\xed")
    while at >= 0:
        if data[at + 1] > 0x9F:  # a surrogate, as MicroPython encodes it
            return False
        at = data.find(b"\xed", at + 1)
    return len(data) <= _MOST
