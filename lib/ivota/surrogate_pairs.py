"""Join surrogate pairs, which JSON writes as two escapes and MicroPython leaves apart."""


def joined(text):
    """Return the text with pairs joined, or unchanged if it has a single half."""
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
