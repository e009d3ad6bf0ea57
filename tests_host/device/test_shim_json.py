"""json: what MicroPython writes to the byte, and how much it accepts."""

import io
import json

from support import raises

REFUSED = tuple(
    """] } []] {}{} [1]x 1,2 tru nulll NaN Infinity -Infinity - --1 1-2 1e .5 +1 0x10 "abc 'a'
    "\\u12" {[1]:2} truefalse 1"a" """.split()
)


def test_dumps():
    for value, text in (
        ({"a": [1, 2.5, None, True, False]}, '{"a": [1, 2.5, null, true, false]}'),
        ({}, "{}"),
        ([], "[]"),
        ((1, 2), "[1, 2]"),
        ('é"\\/\n\t\r\x01\x7f', '"é\\"\\\\/\\n\\t\\r\\u0001\x7f"'),
        ("😀", '"😀"'),
        (b"abc", '"abc"'),
        ({1: 2}, '{"1": 2}'),
        ({None: 1}, '{"null": 1}'),
        ({True: 1}, '{"true": 1}'),
        (-5, "-5"),
        (1 << 70, "1180591620717411303424"),
        (0.1, "0.1"),
        (100.0, "100.0"),
        (1e-7, "1e-07"),
        (1e100, "1e+100"),
    ):
        assert json.dumps(value) == text


def test_separators_are_the_only_option():
    assert json.dumps({"a": [1, 2]}, separators=(",", ":")) == '{"a":[1,2]}'
    for option in ("sort_keys", "indent", "ensure_ascii"):
        with raises(TypeError):
            json.dumps({}, **{option: 1})


def test_dump_and_load():
    stream = io.StringIO()
    json.dump({"a": "é"}, stream)
    assert stream.getvalue() == '{"a": "é"}'
    stream = io.BytesIO()
    json.dump([1, 2], stream, separators=(",", ":"))
    assert stream.getvalue() == b"[1,2]"
    assert json.load(io.StringIO("[1]")) == [1]
    assert json.load(io.BytesIO(b"[1]")) == [1]
    with raises(OSError):
        json.load(5)


def test_loads_takes_text_and_buffers():
    for text in ("[1]", b"[1]", bytearray(b"[1]"), memoryview(b"[1]")):
        assert json.loads(text) == [1]
    with raises(TypeError):
        json.loads(5)


def test_loads():
    for text, value in (
        ("{}", {}),
        ("[1, 2,3]", [1, 2, 3]),
        (' {"a": {"b": [true, false, null]}}\n', {"a": {"b": [True, False, None]}}),
        ("-1", -1),
        ("-0", 0),
        ("01", 1),
        ("1.5", 1.5),
        ("1.", 1.0),
        ("1e5", 100000.0),
        ("1E+5", 100000.0),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ('""', ""),
        ('"a\nb"', "a\nb"),
        ('"\\u00e9"', "é"),
        ('"\\x41"', "x41"),
        ('"\\/\\b\\f\\n\\r\\t\\q"', "/\b\f\n\r\tq"),
        ('{"a":1,"a":2}', {"a": 2}),
        ('{"a":1}\0 anything', {"a": 1}),
    ):
        assert json.loads(text) == value, text


def test_loads_takes_what_is_not_json():
    for text, value in (
        ("[1,]", [1]),
        ("[,1]", [1]),
        ("[1 2]", [1, 2]),
        ("[1:2]", [1, 2]),
        (",:1", 1),
        ('{"a" 1}', {"a": 1}),
        ('{"a",1,}', {"a": 1}),
        ('{"a":1:2}', {"a": 1}),
        ('{"a":}', {}),
        ("{:1}", {}),
        ("{1:2}", {1: 2}),
        ("{null:2}", {None: 2}),
        ("[}", []),
        ("{]", {}),
        ("[truefalse]", [True, False]),
        ('["a",,"b"]', ["a", "b"]),
    ):
        assert json.loads(text) == value, text


def test_loads_of_what_has_no_end():
    for text, value in (("{", {}), ("[1", [1]), ('{"a": 1', {"a": 1})):
        try:
            assert json.loads(text) == value  # up to MicroPython 1.25
        except ValueError:
            pass
    for text in ('{"a": "b', '{"a": {"b": 1'):
        with raises(ValueError):
            json.loads(text)


def test_loads_refuses_with_valueerror():
    for text in REFUSED + ("", " ", "\0", "//c\n1", b"\xff", b'"\xff"'):
        with raises(ValueError):
            json.loads(text)
