"""A file system written in Python: mounted, read, changed, and imported from."""

import errno
import io
import os
import sys

import vfs

from support import raises

DIRECTORY, REGULAR = 0x4000, 0x8000


class File(io.IOBase):
    def __init__(self, data):
        self._data = data
        self._at = 0
        self.closed = False

    def readinto(self, buffer):
        n = min(len(buffer), len(self._data) - self._at)
        buffer[:n] = self._data[self._at : self._at + n]
        self._at += n
        return n

    def read(self, n=-1):
        buffer = bytearray(len(self._data) - self._at if n < 0 else n)
        return bytes(buffer[: self.readinto(buffer)])

    def ioctl(self, request, arg):
        if request == 4:
            self.closed = True
            return 0
        return -1


class Files:
    """Read-only, with folders."""

    def __init__(self, **files):
        self.files = {
            "/" + name.replace("__in__", "/") + ".py": data for name, data in files.items()
        }
        self.calls = []
        self.opened = []

    def _folders(self):
        return {name.rsplit("/", 1)[0] or "/" for name in self.files} | {"/"}

    def mount(self, readonly, mkfs):
        self.calls.append(("mount", readonly, mkfs))

    def umount(self):
        self.calls.append(("umount",))

    def chdir(self, path):
        self.calls.append(("chdir", path))

    def getcwd(self):
        return "/"

    def stat(self, path):
        self.calls.append(("stat", path))
        if path in self.files:
            return (REGULAR, 0, 0, 0, 0, 0, len(self.files[path]), 0, 0, 0)
        if path in self._folders():
            return (DIRECTORY,) + (0,) * 9
        raise OSError(errno.ENOENT)

    def ilistdir(self, path):
        self.calls.append(("ilistdir", path))
        for name in sorted(self.files):
            if name.rsplit("/", 1)[0] == path.rstrip("/"):
                yield (name.rsplit("/", 1)[1], REGULAR, 0, len(self.files[name]))

    def open(self, path, mode):
        self.calls.append(("open", path, mode))
        if path not in self.files:
            raise OSError(errno.ENOENT)
        self.opened.append(File(self.files[path]))
        return self.opened[-1]

    def remove(self, path):
        raise OSError(30)


class mounted:
    """`with mounted(files) as (files, path):`, also first in sys.path; all undone afterwards."""

    def __init__(self, files, path="/ivota-vfs"):
        self._files = files
        self._path = path

    def __enter__(self):
        self._modules = list(sys.modules)
        vfs.mount(self._files, self._path)
        sys.path.insert(0, self._path)
        return self._files, self._path

    def __exit__(self, *exc):
        sys.path.remove(self._path)
        vfs.umount(self._path)
        for name in list(sys.modules):
            if name not in self._modules:
                del sys.modules[name]


def test_mount_and_umount():
    files = Files(a=b"1")
    with raises(OSError):
        os.stat("/ivota-vfs")
    assert vfs.mount(files, "/ivota-vfs") is None
    assert files.calls == [("mount", False, False)]
    assert (files, "/ivota-vfs") in vfs.mount()
    with raises(OSError) as caught:
        vfs.mount(files, "/ivota-vfs")
    assert caught.value.errno == errno.EPERM
    assert vfs.umount("/ivota-vfs") is None
    assert files.calls[-1] == ("umount",)
    with raises(OSError) as caught:
        vfs.umount("/ivota-vfs")
    assert caught.value.errno == errno.EINVAL
    vfs.mount(files, "/ivota-vfs", readonly=True)
    assert files.calls[-1] == ("mount", True, False)
    vfs.umount(files)
    with raises(OSError):
        os.stat("/ivota-vfs/a.py")
    with raises(AttributeError):
        vfs.mount(5, "/ivota-vfs")


def test_paths_are_those_below_the_mount():
    with mounted(Files(a=b"1")) as (files, path):
        assert os.stat(path + "/a.py")[6] == 1
        assert os.stat(path)[0] == DIRECTORY
        assert os.listdir(path) == ["a.py"]
        assert list(os.ilistdir(path)) == [("a.py", REGULAR, 0, 1)]
        with raises(OSError) as caught:
            os.stat(path + "/b.py")
        assert caught.value.errno == errno.ENOENT
        with raises(OSError) as caught:
            os.remove(path + "/a.py")
        assert caught.value.errno == 30
        with raises(OSError) as caught:
            os.rename(path + "/a.py", "/tmp/a.py")
        assert caught.value.errno == errno.EPERM
        assert files.calls[1:4] == [("stat", "/a.py"), ("stat", "/"), ("ilistdir", "/")]
        assert path[1:] in os.listdir("/")


def test_open():
    with mounted(Files(a=b"content")) as (files, path):
        file = open(path + "/a.py", "rb")
        assert file is files.opened[0]
        assert file.read(3) == b"con"
        assert ("open", "/a.py", "rb") in files.calls
        with raises(OSError) as caught:
            open(path + "/b.py")
        assert caught.value.errno == errno.ENOENT
        assert files.calls[-1] == ("open", "/b.py", "r")


def test_chdir():
    before = os.getcwd()
    with mounted(Files(a=b"content")) as (files, path):
        os.chdir(path)
        try:
            assert os.getcwd() == path
            assert ("chdir", "/") in files.calls
            with raises(OSError):
                open("a.py")
            assert files.calls[-1] == ("open", "a.py", "r")
        finally:
            os.chdir(before)
        assert os.getcwd() == before


def test_import_a_module():
    with mounted(Files(vfs_a=b"x = 5\nwhere = __file__\n")) as (files, path):
        import vfs_a

        assert vfs_a.x == 5
        assert vfs_a.where == vfs_a.__file__ == path + "/vfs_a.py"
        assert files.calls[1:] == [
            ("stat", "/vfs_a"),
            ("stat", "/vfs_a.py"),
            ("open", "/vfs_a.py", "rb"),
        ]
        assert files.opened[0].closed
        import vfs_a as again

        assert again is vfs_a
        assert len(files.opened) == 1


def test_import_a_package():
    files = Files(
        vfs_p__in____init__=b"from . import one\nfrom vfs_p.two import b\nplace = __path__\n",
        vfs_p__in__one=b"a = 1\n",
        vfs_p__in__two=b"from .one import a\nb = a + 1\n",
        vfs_p__in__three=b"import vfs_p.two as two\nfrom . import one\nc = two.b + one.a\n",
    )
    with mounted(files) as (files, path):
        import vfs_p.three

        assert vfs_p.one.a == 1
        assert vfs_p.b == 2
        assert vfs_p.three.c == 3
        assert vfs_p.place == path + "/vfs_p"
        from vfs_p import three

        assert three is vfs_p.three
        with raises(ImportError):
            from vfs_p import four  # noqa: F401
        with raises(ImportError):
            import vfs_p.four
        with raises(ImportError):
            from vfs_p.one import nothing  # noqa: F401


def test_a_module_that_fails_is_not_kept():
    with mounted(Files(vfs_bad=b"1/0", vfs_worse=b"def (")):
        for _ in range(2):
            with raises(ZeroDivisionError):
                import vfs_bad  # noqa: F401
        with raises(SyntaxError):
            import vfs_worse  # noqa: F401
        assert "vfs_bad" not in sys.modules
        with raises(ImportError):
            import vfs_nowhere  # noqa: F401


def test_files_hide_some_modules_and_not_others():
    with mounted(Files(random=b"mine = 1", gc=b"mine = 1", requests=b"mine = 1")):
        import random

        assert random.mine == 1
        import gc

        assert not hasattr(gc, "mine")
        import urandom

        assert not hasattr(urandom, "mine")
        kept = sys.modules.pop("requests", None)
        import requests

        assert requests.mine == 1
        if kept:
            sys.modules["requests"] = kept


def test_sys_modules_decides():
    class Fake:
        reset = 5

    sys.modules["machine"] = Fake
    try:
        import machine

        assert machine is Fake
        from machine import reset

        assert reset == 5
        import umachine

        assert umachine is not Fake
    finally:
        del sys.modules["machine"]
    import machine

    assert machine is not Fake


def test_modules_of_c_cannot_be_patched():
    import socket

    with raises(AttributeError):
        socket.socket = 5
