"""Names of the package's own → words, in its syntax trees; names.py says why."""

from __future__ import annotations

import ast
import collections
import re
from collections.abc import Mapping

from ivota_tools.firmware.identifiers import Found, Renamer, parse
from ivota_tools.firmware.words import FOREIGN, MORE_WORDS, PUBLIC, WORDS

_ARGUMENTS = 8  # words for arguments: one for every first argument, another for every second
_PRIVATE = 14  # words for what is private to a module


class Names:
    """What the names in the modules `sources` (name → text) become.

    With `arguments` those of functions, too, which no one may pass by name from outside; with
    `shared_too` also those by which the modules know each other, for the package that this
    checkout has. `shared` has the latter, each with its word.
    """

    def __init__(
        self, sources: Mapping[str, str], arguments: bool = True, shared_too: bool = True
    ) -> None:
        found = Found()
        for source in sources.values():
            found.visit(parse(source))
        self._keywords = found.keywords | PUBLIC
        words = [word for word in [*WORDS, *sorted(MORE_WORDS, key=len)] if word not in found.used]
        first = _ARGUMENTS + _PRIVATE  # of the words for what is shared
        self._arguments = words[:_ARGUMENTS] if arguments else []
        own: set[str] = set()
        if shared_too:
            kept = found.texts | self._keywords | FOREIGN | set(sources) | set(WORDS)
            own = {name for name in found.bound - kept if name[0] != "_"}
        often = sorted(own, key=lambda name: (-found.weight(name), name))
        self.shared = dict(zip(often, words[first:], strict=False))
        self._private = words[_ARGUMENTS:first] + words[first + len(own) :]
        self._done: dict[str, str] = {}
        self._taken = frozenset({*self._arguments, *self.shared.values()})

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

    def rename_shared(self, source: str) -> str:
        """A script that uses what is inside of the package."""
        return ast.unparse(self._renamed(parse(source), {}, arguments=False))

    def _renamed(
        self, tree: ast.Module, private: Mapping[str, str], arguments: bool = True
    ) -> ast.Module:
        found = Found()
        found.visit(tree)
        taken = found.used & self._taken
        if taken:
            raise ValueError(f"{min(taken)} stands for another name: say it in another word")
        words = self._arguments if arguments else []
        Renamer({**self.shared, **private}, words, self._keywords).visit(tree)
        return tree

    def of_module(self, tree: ast.Module) -> dict[str, str]:
        """The private names of a module, each with its word."""
        found = Found()
        found.visit(tree)
        count = collections.Counter(
            {
                name: number
                for name, number in found.uses.items()
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
            words = {**self.shared, **self.of_module(parse(sources[module]))}
            names = {word: name for name, word in words.items()}
            return f"{match[1]}{names.get(match[3], match[3])}"

        return re.sub(r'(File "(\w+)(?:\.py)?", (?:line \d+, )?in )(\w+)', back, line)
