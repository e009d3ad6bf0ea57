"""Python's own syntax trees: which names a source has, and others put in their place."""

from __future__ import annotations

import ast
import collections
import threading
from collections.abc import Iterable, Mapping

_lock = threading.Lock()


def parse(source: str | bytes) -> ast.Module:
    with _lock:  # in Python up to 3.11 two threads that parse at once disturb each other
        return ast.parse(source)


class Found(ast.NodeVisitor):
    """Which names a source has, and as what."""

    def __init__(self) -> None:
        self.uses: collections.Counter[str] = collections.Counter()
        self.bound: set[str] = set()  # by an assignment to an attribute, a `def` or at the top
        self.texts: set[str] = set()
        self.keywords: set[str] = set()
        self.imported: set[str] = set()
        self.constants: set[str] = set()  # which the compiler puts in place

    @property
    def used(self) -> set[str]:
        """All but texts that are not names."""
        return set(self.uses) | self.keywords | self.imported | self.texts

    def weight(self, name: str) -> int:
        """How much there is to gain."""
        return self.uses[name] * len(name)

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
        self.uses[node.id] += 1

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.uses[node.attr] += 1
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.attr)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self.uses[node.arg] += 1

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.keywords.add(node.arg)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value.isidentifier():
            self.texts.add(node.value)

    def visit_alias(self, node: ast.alias) -> None:
        for name in node.name.split("."):
            self.uses[name] += 1
        if node.asname:
            self.uses[node.asname] += 1

    def visit_Import(self, node: ast.Import) -> None:
        self.imported |= {part for each in node.names for part in each.name.split(".")}
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = (node.module or "").split(".")
        self.uses.update(module)
        if module[0] != "ivota":
            self.imported |= {each.name for each in node.names}
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.uses.update(node.names)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.uses[node.name] += 1
        self.generic_visit(node)

    def _visit_definition(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> None:
        self.uses[node.name] += 1
        self.bound.add(node.name)
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign):
                    self.bound |= {
                        each.id for each in statement.targets if isinstance(each, ast.Name)
                    }
        self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit_definition


class Renamer(ast.NodeTransformer):
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
