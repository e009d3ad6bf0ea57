"""`json`: what MicroPython writes, and the much that it accepts."""

import re

from ..errors import DeviceOSError
from ..streams import data_of, read_all

WORDS = (("null", None), ("true", True), ("false", False))
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
NOT_YET = object()
BLANKS = re.compile("[ \t\n\r\v\f,:]*")
PLAIN = re.compile(r'[^"\\]*')


def failed():
    return ValueError("syntax error in JSON")


class Parser:
    """Reads one value. To MicroPython commas and colons are blanks, and any bracket closes."""

    def __init__(self, text):
        self._text = text
        self._at = 0

    def _peek(self):
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self):
        at = self._at
        self._at = at + 1
        return self._text[at : at + 1]

    def value(self):
        stack = []
        result = NOT_YET
        while True:
            self._at = BLANKS.match(self._text, self._at).end()
            char = self._next()
            if char == "":
                raise failed()
            if char in "}]":
                if not stack:
                    raise failed()
                stack.pop()
                if not stack:
                    break
                continue
            if char in "[{":
                made = [] if char == "[" else {}
            else:
                made = self._scalar(char)
            if not stack:
                result = made
                if char not in "[{":
                    break
            elif isinstance(stack[-1][0], list):
                stack[-1][0].append(made)
            elif stack[-1][1] is NOT_YET:
                if isinstance(made, (list, dict)):
                    raise failed()
                stack[-1][1] = made
            else:
                stack[-1][0][stack[-1][1]] = made
                stack[-1][1] = NOT_YET
            if char in "[{":
                stack.append([made, NOT_YET])
        while self._peek() and self._peek() in " \t\n\r\v\f":
            self._at += 1
        if self._peek() not in ("", "\0"):
            raise failed()
        return result

    def _scalar(self, char):
        for word, value in WORDS:
            if char == word[0]:
                for letter in word[1:]:
                    if self._next() != letter:
                        raise failed()
                return value
        if char == '"':
            return self._string()
        if char.isdigit() or char == "-":
            return self._number(char)
        raise failed()

    def _string(self):
        out = []
        while True:
            plain = PLAIN.match(self._text, self._at)
            out.append(plain.group())
            self._at = plain.end()
            char = self._next()
            if char == "":
                raise failed()
            if char == '"':
                return "".join(out)
            char = self._next()
            if char == "u":
                digits = self._text[self._at : self._at + 4]
                self._at += 4
                if len(digits) < 4:
                    raise failed()
                char = chr(int(digits, 16))
            else:
                char = ESCAPES.get(char, char)
            out.append(char)

    def _number(self, text):
        is_float = False
        while self._peek() and (self._peek().isdigit() or self._peek() in "-+.eE"):
            is_float = is_float or self._peek() in ".eE"
            text += self._next()
        try:
            return float(text) if is_float else int(text)
        except ValueError:
            raise ValueError("invalid syntax for number") from None


def loads(data):
    return Parser(str(data_of(data), "utf-8")).value()


def load(stream):
    if not hasattr(stream, "readinto"):
        raise DeviceOSError("stream operation not supported")
    return loads(read_all(stream))


def quoted(text):
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char])
        elif char < " ":
            out.append("\\u%04x" % ord(char))
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def written(value, comma, colon):
    if isinstance(value, (str, bytes)):
        return quoted(value if isinstance(value, str) else value.decode())
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = []
        for key, item in value.items():
            key = written(key, comma, colon)
            pairs.append(
                (key if key[0] == '"' else '"%s"' % key) + colon + written(item, comma, colon)
            )
        return "{" + comma.join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + comma.join([written(item, comma, colon) for item in value]) + "]"
    return repr(value)


def dumps(value, *, separators=(", ", ": ")):
    return written(value, *separators)


def dump(value, stream, *, separators=(", ", ": ")):
    stream.write(dumps(value, separators=separators).encode())


def make(world):
    return {"dump": dump, "dumps": dumps, "load": load, "loads": loads}
