"""A world for the device's code: its own builtins, modules, import system and mount table.

Nothing of the host is patched. A module loaded here gets other builtins: an `open` with
MicroPython's files, an `__import__` that knows MicroPython's modules and no others, and only the
names that the unix port's builtins have. So device tests and host tests live in one process, and
code that needs `FileNotFoundError`, `os.path` or `functools` fails here as it does on a board.
"""

import builtins
import importlib
import sys
import types
from pathlib import Path

from . import streams
from .errors import DeviceOSError
from .filesystem import DIRECTORY, Mounts

# The unix port's `dir(builtins)`, without those that only its compiler uses.
BUILTINS = """
    ArithmeticError AssertionError AttributeError BaseException EOFError Ellipsis Exception
    GeneratorExit ImportError IndentationError IndexError KeyError KeyboardInterrupt LookupError
    MemoryError NameError NotImplementedError OverflowError RuntimeError StopIteration
    SyntaxError SystemExit TypeError ValueError ZeroDivisionError abs all any bool bytearray bytes
    callable chr classmethod dict dir divmod enumerate eval exec getattr globals hasattr hash id
    int issubclass iter len list locals map next object ord pow range repr round set setattr
    sorted staticmethod str sum super tuple type zip NotImplemented StopAsyncIteration UnicodeError
    bin compile complex delattr filter float frozenset hex input max memoryview min oct
    property reversed slice
""".split()

# Found before the file system is searched; all others can be replaced by a file.
FIRST = ("sys", "micropython", "builtins", "gc", "math", "cmath", "_thread", "vfs", "tls")

# Those that the unix port also finds under a u-name, past any file and past sys.modules.
U_NAMES = """
    array binascii collections errno hashlib heapq io json machine os platform random re select
    socket struct sys time
""".split()


class BuiltinModule(types.ModuleType):
    """A module made of C on a board: its names cannot be changed."""

    def __setattr__(self, name, value):
        raise AttributeError("'module' object has no attribute '%s'" % name)

    __delattr__ = None


class World:
    """One interpreter's worth of state; `path` is its sys.path, `frozen` maps names to files."""

    def __init__(self, path=(), frozen=None):
        self.path = list(path)
        self.frozen = dict(frozen or {})
        self.modules = {}  # the device's sys.modules: modules of Python, and what tests put there
        self.mounts = Mounts()
        # The one module of C whose names a program may change, and every module sees it.
        module = types.ModuleType("builtins")
        self._builtin_modules = {"builtins": module}
        self._builtins = module.__dict__
        self._builtins.update({name: getattr(builtins, name) for name in BUILTINS})
        self._builtins.update(
            __build_class__=builtins.__build_class__,
            __import__=self.import_,
            OSError=DeviceOSError,
            open=self.mounts.open,
            isinstance=device_isinstance,
            print=device_print,
            execfile=self.execfile,
        )

    # Modules.

    def import_(self, name, globals=None, locals=None, fromlist=None, level=0):
        if name.startswith("_pytest."):  # from an assertion that pytest rewrote
            importlib.import_module(name)
            return sys.modules["_pytest"]
        if level:
            name = self._absolute(name, globals, level)
        module = top = None
        full = ""
        for part in name.split("."):
            parent, full = module, full + "." + part if full else part
            module = self._load(full, parent)
            top = top or module
            if parent is not None:
                setattr(parent, part, module)
        if not fromlist:
            return top
        for wanted in fromlist:
            if wanted != "*" and not hasattr(module, wanted):
                if not hasattr(module, "__path__"):
                    raise ImportError("can't import name " + wanted)
                setattr(module, wanted, self._load(name + "." + wanted, module))
        return module

    def _absolute(self, name, globals, level):
        package = globals["__name__"].split(".")
        if "__path__" not in globals:
            package.pop()
        for _ in range(level - 1):
            if package:
                package.pop()
        if not package:
            raise ImportError("can't perform relative import")
        return ".".join(package + ([name] if name else []))

    def _load(self, full, parent):
        if full in self.modules:
            return self.modules[full]
        if parent is None:
            if full in FIRST:
                return self.builtin(full)
            if full[0] == "u" and full[1:] in U_NAMES:
                return self.builtin(full[1:])
            places = self.path
        else:
            if not hasattr(parent, "__path__"):
                raise ImportError("no module named '%s'" % full)
            places = [parent.__path__]
        leaf = full.rsplit(".", 1)[-1]
        for place in places:
            if place == ".frozen":
                if full in self.frozen:
                    return self.run_file(full, str(self.frozen[full]))
                continue
            base = place + "/" + leaf if place else leaf
            if self._is(base, DIRECTORY):
                inside = base + "/__init__.py"
                return self.run_file(full, inside if self._is(inside) else None, package=base)
            if self._is(base + ".py"):
                return self.run_file(full, base + ".py")
        module = self.builtin(full) if parent is None else None
        if module is None:
            raise ImportError("no module named '%s'" % full)
        return module

    def _is(self, path, kind=0):
        try:
            mode = self.mounts.stat(path)[0]
        except OSError:
            return False
        return bool(mode & DIRECTORY) == bool(kind)

    def builtin(self, name):
        """The module that the unix port has built in (or frozen as part of itself), or None."""
        if name not in self._builtin_modules:
            try:
                made = importlib.import_module("shim.modules." + name)
            except ModuleNotFoundError as error:
                if error.name != "shim.modules." + name:
                    raise
                return None
            module = BuiltinModule(name)
            names = made.make(self)
            module.__dict__.update(names)
            if name in ("asyncio", "sys"):  # asyncio is Python there; sys has attributes to set
                module = types.ModuleType(name)
                module.__dict__.update(names)
            self._builtin_modules[name] = module
        return self._builtin_modules[name]

    # Code.

    def run_file(self, name, path, package=None, compiler=None):
        """Import the file at `path` as module `name` and return the module."""
        module = types.ModuleType(name)
        module.__dict__.update(__builtins__=self._builtins)
        if package:
            module.__path__ = package
        self.modules[name] = module
        if path:
            module.__file__ = path
            try:
                exec(self._compiled(path, compiler), module.__dict__)
            except BaseException:
                self.modules.pop(name, None)
                raise
        return module

    def _compiled(self, path, compiler):
        file = self.mounts.open(path, "rb")
        try:
            source = streams.read_all(file)
        finally:
            streams.close(file)
        return (compiler or compile_plain)(source, path)

    def execfile(self, path):
        exec(self._compiled(path, None), sys._getframe(1).f_globals)

    def test_file(self, path):
        """Import a file of device tests, its assertions rewritten for pytest's messages."""
        return self.run_file(Path(path).stem, str(path), compiler=compile_rewritten)


def compile_plain(source, path):
    return compile(source, path, "exec", dont_inherit=True)


def compile_rewritten(source, path):
    import ast

    from _pytest.assertion.rewrite import rewrite_asserts

    tree = ast.parse(source, path)
    rewrite_asserts(tree, source, path)
    return compile(tree, path, "exec", dont_inherit=True)


def device_isinstance(value, kind):
    """MicroPython's bool is not an int."""
    if isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        return any(k is not int and isinstance(value, k) for k in kinds)
    return isinstance(value, kind)


def device_print(*args, sep=" ", end="\n", file=None):
    """A stream written in Python gets bytes from print."""
    if file is not None and not hasattr(file, "isatty"):
        file.write((sep.join(str(a) for a in args) + end).encode())
    else:
        print(*args, sep=sep, end=end, file=file)
