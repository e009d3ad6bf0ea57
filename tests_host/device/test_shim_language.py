"""Errors, numbers, builtins, sys and the small modules: MicroPython's ways."""

import _thread
import errno
import gc
import io
import sys
import time

import micropython

from support import WHERE, raises, wait_until


def test_oserror():
    error = OSError(errno.ENOENT)
    assert error.errno == 2
    assert error.args == (2,)
    assert str(error) == "[Errno 2] ENOENT"
    assert repr(error) == "OSError(2,)"
    assert OSError(-1).errno == -1
    assert str(OSError(-1)) == "-1"
    assert str(OSError(28)) == "28"
    assert OSError("text").errno == "text"
    assert str(OSError("text")) == "text"
    assert str(OSError(2, "file")) == "[Errno 2] ENOENT: file"
    assert OSError().errno is None

    class Late(OSError):
        pass

    assert Late(errno.ETIMEDOUT).errno == errno.ETIMEDOUT
    with raises(OSError, "ETIMEDOUT"):
        raise Late(errno.ETIMEDOUT)


def test_errno_names():
    assert (errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNRESET) == (11, 110, 104)
    assert errno.errorcode[5] == "EIO"
    for name in "ENOSPC ENOTDIR ENOTEMPTY EPIPE EROFS EINTR EWOULDBLOCK".split():
        assert not hasattr(errno, name), name


def test_builtins_that_boards_lack():
    with raises(NameError):
        FileNotFoundError  # noqa: B018
    with raises(NameError):
        TimeoutError  # noqa: B018
    with raises(NameError):
        ConnectionError  # noqa: B018
    with raises(NameError):
        vars  # noqa: B018
    with raises(NameError):
        format  # noqa: B018
    with raises(NameError):
        ascii  # noqa: B018


def test_modules_that_boards_lack():
    for name in (
        "functools itertools contextlib typing threading subprocess pathlib tempfile traceback"
        " string types copy zlib hmac logging datetime urllib enum abc ussl uzlib"
    ).split():
        with raises(ImportError, "no module named '%s'" % name):
            __import__(name)


def test_u_names():
    for name in (
        "uarray ubinascii ucollections uerrno uhashlib uheapq uio ujson umachine uos uplatform"
        " urandom ure uselect usocket ustruct usys utime"
    ).split():
        assert __import__(name).__name__ == name[1:]


def test_bool_is_not_an_int():
    assert not isinstance(True, int)
    assert isinstance(True, bool)
    assert isinstance(True, (int, bool))
    assert isinstance(5, int)
    assert isinstance(5, (str, int))


def test_integers():
    assert (5).to_bytes(2, "big") == b"\0\5"
    assert int.from_bytes(b"\1\0", "big") == 256
    with raises(OverflowError):
        (300).to_bytes(1, "little")
    assert pow(3, 65537, (1 << 100) + 7) == 1054879651025658071026023817245
    assert int("ff", 16) == 255
    assert int(" 12 ") == 12
    for bad in ("", "12a", "1.5"):
        with raises(ValueError):
            int(bad)
    assert "%d" % (1 << 40) == "1099511627776"
    assert -7 // 2 == -4
    assert -7 % 3 == 2
    assert sys.maxsize in ((1 << 31) - 1, (1 << 63) - 1)


def test_bytes_and_text():
    assert b"%s %d" % (b"x", 5) == b"x 5"
    assert str(b"\xc3\xa9", "utf-8") == "é"
    assert "é".encode() == b"\xc3\xa9"
    with raises(UnicodeError):
        b"\xff".decode()
    assert bytes(memoryview(b"abc")[1:]) == b"bc"
    assert memoryview(b"abc")[1:] == b"bc"
    assert b"a" == bytearray(b"a")
    assert b"a,b,c".split(b",", 1) == [b"a", b"b,c"]
    with raises(ValueError):
        bytes([256])


def test_print_exception():
    out = io.StringIO()
    try:
        {}["nothing"]
    except KeyError as error:
        sys.print_exception(error, out)
    text = out.getvalue()
    assert text.startswith("Traceback (most recent call last):\n")
    assert "KeyError" in text
    assert __name__ in text


def test_sys():
    assert sys.implementation.name == ("cpython" if WHERE == "cpython" else "micropython")
    assert sys.byteorder == "little"
    assert isinstance(sys.path, list)
    assert __name__ in sys.modules
    with raises(SystemExit) as caught:
        sys.exit(3)
    assert caught.value.args == (3,)
    for name in "getsizeof getrefcount gettrace flags executable_path".split():
        assert not hasattr(sys, name), name


def test_micropython():
    assert micropython.const(5) == 5
    micropython.heap_lock()
    micropython.heap_lock()
    first = micropython.heap_unlock()
    second = micropython.heap_unlock()
    assert (first, second) == (1, 0)
    done = []
    micropython.schedule(done.append, 5)
    wait_until(lambda: done, what="the scheduled call")
    assert done == [5]
    ring = micropython.RingIO(10)
    assert ring.write(b"abcd") == 4
    assert ring.any() == 4
    assert ring.read(2) == b"ab"
    assert ring.read() == b"cd"


def test_gc():
    gc.collect()
    assert gc.mem_free() > 0
    assert gc.mem_alloc() > 0


def test_threads():
    lock = _thread.allocate_lock()
    assert lock.acquire()
    assert lock.locked()
    assert not lock.acquire(0)
    lock.release()
    with raises(RuntimeError):
        lock.release()
    before = _thread.stack_size(65536)
    assert _thread.stack_size(before) == 65536
    done = []

    def work(value):
        done.append(value)

    _thread.start_new_thread(work, (7,))
    wait_until(lambda: done, what="the thread")
    time.sleep_ms(20)  # until it has really ended
    assert done == [7]
