"""Names of the package's own → words, in its syntax trees; tools/names.py says why."""

from __future__ import annotations

import ast
import collections
import re
import threading
from collections.abc import Iterable, Mapping

from ivota_tools.words import FOREIGN, MORE_WORDS, PUBLIC, WORDS

_lock = threading.Lock()


def parse(source: str | bytes) -> ast.Module:
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
            found.visit(parse(source))
        self._keywords = found.keywords | PUBLIC
        words = [word for word in [*WORDS, *sorted(MORE_WORDS, key=len)] if word not in found.used]
        first = _ARGUMENTS + _PRIVATE
        self._arguments = words[:_ARGUMENTS] if arguments else []
        own: set[str] = set()
        if public:
            kept = found.texts | self._keywords | FOREIGN | set(sources) | set(WORDS)
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
            tree = parse(source)
            self._done[source] = ast.unparse(self._renamed(tree, self.of_module(tree)))
        return self._done[source]

    def rename_public(self, source: str) -> str:
        """A script that uses what is inside of the package."""
        return ast.unparse(self._renamed(parse(source), {}, arguments=False))

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
            words = {**self.public, **self.of_module(parse(sources[module]))}
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
