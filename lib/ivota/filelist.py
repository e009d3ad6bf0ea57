"""The file list in a bundle's ivota.json, in pieces: whole it may not fit the heap."""

import json


def entries(file, left):
    """Each entry of the list, and at last what else the file says, with an empty list.

    `left` is the size of the JSON text. Raises ValueError for what is not of that shape.
    """
    depth = 0  # of braces
    listed = False  # between the brackets of the list
    text = escaped = False  # inside a text; behind a backslash
    head = bytearray()
    entry = head
    while left > 0:
        chunk = file.read(min(64, left))
        if not chunk:
            break
        left -= len(chunk)
        for byte in chunk:
            if text:
                text = escaped or byte != 34  # a quotation mark
                escaped = byte == 92 and not escaped
            elif byte == 34:
                text = True
            elif byte == 123:  # {
                depth += 1
                if depth == 2:
                    entry = bytearray()
            elif byte == 93 and depth == 1:  # ]
                listed = False
            if depth > 1:
                entry.append(byte)
            elif not listed:
                head.append(byte)
            if text:
                pass
            elif byte == 91 and depth == 1:  # [
                listed = True
            elif byte == 125:  # }
                depth -= 1
                if depth == 1:
                    yield json.loads(bytes(entry))
    yield json.loads(bytes(head))
