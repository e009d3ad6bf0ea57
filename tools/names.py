"""Names of the package's own as a board has them: words that MicroPython knows anyway.

MicroPython keeps every different name that it meets for ever, about 20 bytes each, and a .mpy
file carries its text. Some 160 words need neither: they are part of the .mpy format, and in the
flash of every interpreter that reads it. Most of them are used nowhere in the package, so they
can stand for names that nobody outside of it uses.

What is not proved to be the package's own keeps its name: what is bound nowhere in it, what
stands in it as a text or as the keyword of a call, what the documentation names (`PUBLIC`), and
what other libraries call by the same name (`FOREIGN`). No word that occurs in the package itself,
and none that the interpreter or a library looks for, stands for another name, and in the whole
package no word for two that could meet.

`python -m ivota_tools.names` prints which word stands for which name; with `--read` it copies its
input, a board's traceback, and puts the names back.
"""

from __future__ import annotations

import argparse
import ast
import collections
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ivota_tools import tree

LIBRARY = tree.root() / "lib"

# What applications may use (README.md, docs/), and at last what a cloud's dialect brings and
# uses, beyond what is kept for another reason.
PUBLIC = frozenset(
    """Client ConfigError OtaError TIMED_OUT NOT_FOUND EXPIRED MISMATCH FAILED client config
    version state firmware_dir log run start serve step exit close idle idle_ms update_progress
    confirm events exiting defer on_firmware on_failure code message again after_s md5
    payload_size online feed once load save
    TOPICS ask report_version report_progress update_firmware sign_in hmac enqueue""".split()
)

# Bound in the package, and by the same name in MicroPython's modules, umqtt or requests.
FOREIGN = frozenset(
    """AF_INET SOCK_STREAM State active buffer close code commit config connect digest
    discard exit feed fill getaddrinfo idle join line link load log md5 member message next parse
    path phase pid poll post publish push raw read readinto readline reason reset run seek send
    setblocking settimeout size socket start state step verify_mode version write""".split()
)

# The words of the .mpy format (version 6) that neither the interpreter nor a library looks for
# in an object of ours. One that occurs in the package is passed over.
_WORDS = """
    all any abs end get hash id key len map ord pop pow set str sum zip chr dir int bool copy dict
    eval exec find iter keys list main open sort stop type args bytes clear count index isinstance
    items lower print range round split strip super tuple upper values append extend format insert
    locals lstrip object remove repr rfind rindex rsplit rstrip setattr sorted update callable
    divmod isalpha isdigit islower isspace isupper popitem replace reverse getattr hasattr
    globals builtins bytecode bytearray endswith issubclass setdefault startswith classmethod
    staticmethod from_bytes to_bytes Ellipsis EOFError KeyError NameError NoneType TypeError
    IndexError ValueError LookupError SystemExit ImportError MemoryError SyntaxError
    RuntimeError GeneratorExit OverflowError StopIteration AssertionError AttributeError
    ArithmeticError IndentationError ZeroDivisionError KeyboardInterrupt NotImplementedError
""".split()

# Those of modules that every port has: no heap either, but their text is in the file.
_MORE_WORDS = """
    e pi inf nan tau oct bin hex exp cos sin tan add erf sub sqrt acos asin atan cosh sinh tanh
    ceil fabs fmod modf erfc log2 real imag PTR VOID INT8 pack floor trunc log10 slice float
    frexp ldexp gamma isinf isnan union match group deque UINT8 INT16 INT32 ARRAY unpack center
    search complex filter popleft isclose heappop heappush heapify degrees radians lgamma
    copysign factorial isdisjoint issubset issuperset enumerate reversed frozenset property
    delattr namedtuple calcsize pack_into unpack_from appendleft expm1 acosh asinh atanh atan2
    isfinite UINT16 UINT32 FLOAT32 FLOAT64 addressof sizeof bytes_at splitlines intersection
""".split()

_lock = threading.Lock()


def _parse(source: str | bytes) -> ast.Module:
    with _lock:  # in Python up to 3.11 two threads that parse at once disturb each other
        return ast.parse(source)


_ARGUMENTS = 8  # words for arguments: the first of a function is one, the second another
_PRIVATE = 14  # words for what is private to a module


class Names:
    """What the names in the modules `sources` (name → text) become.

    `arguments`: those of functions, too, which no one may pass by name from outside; `public`:
    also those that the modules share, for the package that this checkout has.
    `public` has the latter, each with its word.
    """

    def __init__(
        self, sources: Mapping[str, str], arguments: bool = True, public: bool = True
    ) -> None:
        found = _Found()
        for source in sources.values():
            found.visit(_parse(source))
        self._keywords = found.keywords | PUBLIC
        words = [
            word for word in [*_WORDS, *sorted(_MORE_WORDS, key=len)] if word not in found.used
        ]
        first = _ARGUMENTS + _PRIVATE
        self._arguments = words[:_ARGUMENTS] if arguments else []
        own: set[str] = set()
        if public:
            kept = found.texts | self._keywords | FOREIGN | set(sources) | set(_WORDS)
            own = {name for name in found.bound - kept if name[0] != "_"}
        often = sorted(own, key=lambda name: (-found.weight(name), name))
        self.public = dict(zip(often, words[first:], strict=False))
        self._private = words[_ARGUMENTS:first] + words[first + len(own) :]
        self._done: dict[str, str] = {}
        self._taken = frozenset({*self._arguments, *self.public.values()})

    @property
    def words(self) -> list[str]:
        """Those for arguments, and for what is private to a module."""
        return [*self._arguments, *self._private]

    def rename(self, source: str) -> str:
        """A module of the package with its names as a board has them; each is done once.

        Raises ValueError where it uses a word that stands for another name, SyntaxError.
        """
        if source not in self._done:
            tree = _parse(source)
            self._done[source] = ast.unparse(self._renamed(tree, self.of_module(tree)))
        return self._done[source]

    def rename_public(self, source: str) -> str:
        """A script that uses what is inside of the package."""
        return ast.unparse(self._renamed(_parse(source), {}, arguments=False))

    def _renamed(
        self, tree: ast.Module, private: Mapping[str, str], arguments: bool = True
    ) -> ast.Module:
        found = _Found()
        found.visit(tree)
        taken = found.used & self._taken
        if taken:
            raise ValueError(f"{min(taken)} stands for another name: say it in another word")
        words = self._arguments if arguments else []
        _Renamer({**self.public, **private}, words, self._keywords).visit(tree)
        return tree

    def of_module(self, tree: ast.Module) -> dict[str, str]:
        """The private names of a module, each with its word."""
        found = _Found()
        found.visit(tree)
        count = collections.Counter(
            {
                name: number
                for name, number in found.used_often.items()
                if re.match(r"_[^_]", name) and name not in found.imported | found.constants
            }
        )
        often = sorted(count, key=lambda name: (-count[name], name))
        words = [word for word in self._private if word not in found.used]
        return dict(zip(often, words, strict=False))

    def read(self, line: str, sources: Mapping[str, str]) -> str:
        """A line of a traceback with the names that the sources have."""

        def back(match: re.Match[str]) -> str:
            module = match[2]
            if module not in sources:
                return match[0]
            words = {**self.public, **self.of_module(_parse(sources[module]))}
            names = {word: name for name, word in words.items()}
            return f"{match[1]}{names.get(match[3], match[3])}"

        return re.sub(r'(File "(\w+)(?:\.py)?", (?:line \d+, )?in )(\w+)', back, line)


class _Found(ast.NodeVisitor):
    """Which names a source has, and as what."""

    def __init__(self) -> None:
        self.used_often: collections.Counter[str] = collections.Counter()
        self.bound: set[str] = set()  # by an assignment to an attribute, a `def` or at the top
        self.texts: set[str] = set()
        self.keywords: set[str] = set()
        self.imported: set[str] = set()
        self.constants: set[str] = set()  # which the compiler puts in place

    @property
    def used(self) -> set[str]:
        """All but texts that are not names."""
        return set(self.used_often) | self.keywords | self.imported | self.texts

    def weight(self, name: str) -> int:
        """How much there is to gain."""
        return self.used_often[name] * len(name)

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    names = {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
                    self.bound |= names
                    if ast.unparse(statement.value).startswith("const("):
                        self.constants |= names
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.used_often[node.id] += 1

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.used_often[node.attr] += 1
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.attr)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self.used_often[node.arg] += 1

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.keywords.add(node.arg)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value.isidentifier():
            self.texts.add(node.value)

    def visit_alias(self, node: ast.alias) -> None:
        for name in node.name.split("."):
            self.used_often[name] += 1
        if node.asname:
            self.used_often[node.asname] += 1

    def visit_Import(self, node: ast.Import) -> None:
        self.imported |= {part for each in node.names for part in each.name.split(".")}
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = (node.module or "").split(".")
        self.used_often.update(module)
        if module[0] != "ivota":
            self.imported |= {each.name for each in node.names}
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.used_often.update(node.names)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.used_often[node.name] += 1
        self.generic_visit(node)

    def _visit_definition(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> None:
        self.used_often[node.name] += 1
        self.bound.add(node.name)
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign):
                    self.bound |= {
                        each.id for each in statement.targets if isinstance(each, ast.Name)
                    }
        self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit_definition


class _Renamer(ast.NodeTransformer):
    """Puts words in place of names; in a function also in place of its arguments' names."""

    def __init__(
        self, names: Mapping[str, str], arguments: list[str], keywords: Iterable[str]
    ) -> None:
        self._names = names
        self._words = arguments
        self._keywords = frozenset(keywords)
        self._scopes: list[dict[str, str]] = []  # arguments of the functions around
        self._depths: list[int] = [0]  # how many words these use

    def _local(self, name: str) -> str:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return self._names.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._local(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self._names.get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        if node.asname:
            node.asname = self._local(node.asname)
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [self._names.get(name, name) for name in node.names]
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        if node.name:
            node.name = self._local(node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        return self.generic_visit(node)

    def _visit_function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    ) -> ast.AST:
        given = node.args
        # Defaults and decorators belong to what is around.
        given.defaults = [self.visit(each) for each in given.defaults]
        given.kw_defaults = [each and self.visit(each) for each in given.kw_defaults]
        if not isinstance(node, ast.Lambda):
            node.name = self._local(node.name)
            node.decorator_list = [self.visit(each) for each in node.decorator_list]
        scope: dict[str, str] = {}
        used = self._depths[-1]
        for each in [*given.posonlyargs, *given.args, *given.kwonlyargs]:
            scope[each.arg] = each.arg
            if each.arg != "self" and each.arg not in self._keywords and used < len(self._words):
                scope[each.arg] = self._words[used]
                used += 1
            each.arg = scope[each.arg]
        for more in (given.vararg, given.kwarg):
            if more:
                scope[more.arg] = more.arg
        self._scopes.append(scope)
        self._depths.append(used)
        if isinstance(node, ast.Lambda):
            node.body = self.visit(node.body)
        else:
            node.body = [self.visit(each) for each in node.body]
        self._scopes.pop()
        self._depths.pop()
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function


def read_package(folder: Path) -> dict[str, str]:
    """The modules of the package in `folder`."""
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.py"))}


def of_package(sources: Mapping[str, bytes]) -> Names:
    """Those for `sources`, Python files of a board or bundle by their path.

    The package of this checkout gets all of its names. Any other one, of which nobody here has
    seen that it works so, keeps what its modules share, and so does one that somebody uses in
    another way than the documentation says.
    """
    for path, source in sources.items():
        folder, _, name = path.rpartition("/")
        if folder.rpartition("/")[2] == "ivota":
            mine = LIBRARY / "ivota" / name
            if not mine.is_file() or mine.read_bytes() != source:
                return private()
        elif _looks_inside(source):
            return private()
    return own()


def _looks_inside(source: bytes) -> bool:
    try:
        tree = _parse(source)
    except (SyntaxError, ValueError):
        return False  # the compiler says what is wrong
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[0] == "ivota"
        and any(each.name in own().public for each in node.names)
        for node in ast.walk(tree)
    )


def compiled_names(script: Path) -> bytes:
    """A script that uses what is inside of the package, for a board that has it compiled."""
    return own().rename_public(script.read_text()).encode()


@cache
def own() -> Names:
    """Those of this checkout's package, on which its tests run."""
    return Names(read_package(LIBRARY / "ivota"))


@cache
def private() -> Names:
    """Those of any other package: only what is private to a module becomes short."""
    return Names({}, arguments=False, public=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_tools.names")
    parser.add_argument("--read", action="store_true", help="put the names back into a traceback")
    given = parser.parse_args()
    sources = read_package(LIBRARY / "ivota")
    if given.read:
        for line in sys.stdin:
            sys.stdout.write(own().read(line, sources))
        return
    for name, word in sorted(own().public.items()):
        print(f"{word:20} {name}")
    for module, source in sources.items():
        for name, word in own().of_module(_parse(source)).items():
            print(f"{word:20} {module}.{name}")


if __name__ == "__main__":
    main()
