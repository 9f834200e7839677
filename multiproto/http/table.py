"""Which route a path asks for, where it is spelled as its template: found word by word.

All other spellings of a path, of which there are many, are for Klein to understand.
"""

from __future__ import annotations

from typing import Iterable

from attrs import Factory, define, frozen

from .route import Route

Words = dict[str, str]  # of a path, by their names in the template


@frozen(eq=False)
class Known:
    """A route at one of its paths; its template is what it is called in metrics and the log."""

    route: Route
    template: str
    at: tuple[str, ...]  # the words of a path without names; else none
    counted: bool  # by the rate limit


@define(eq=False, repr=False)
class _RouteNode:
    words: dict[bytes, _RouteNode] = Factory(dict)
    name: str = ""  # of the word that `any` follows
    any: _RouteNode | None = None
    known: Known | None = None


@define(eq=False, repr=False)
class Table:
    _methods: dict[bytes, _RouteNode] = Factory(dict)

    def add(self, routes: Iterable[Route], prefix: str = "", shown: str = "") -> None:
        """`routes` below `prefix`; they are called as if they were below `shown`."""
        for route in routes:
            words = (prefix + route.path)[1:].split("/")
            node = self._methods.setdefault(route.method.encode("ascii"), _RouteNode())
            for word in words:
                node = _below(node, word)
            at = tuple(words) if ":" not in route.path else ()
            node.known = Known(route, shown + route.path, at, words[0] != "health")

    def find(self, method: bytes, path: bytes) -> tuple[Known, Words] | None:
        """`None` also for what may be a route after all."""
        node, found = self._methods.get(method), Words()
        if b"%" in path or not path.isascii():
            return None
        for word in path[1:].split(b"/"):
            if node is None or not word:
                return None
            following = node.words.get(word)
            if following is None and node.any is not None:
                found[node.name] = word.decode("ascii")
                following = node.any
            node = following
        return (node.known, found) if node is not None and node.known is not None else None


def _below(node: _RouteNode, word: str) -> _RouteNode:
    if not word.startswith(":"):
        return node.words.setdefault(word.encode("ascii"), _RouteNode())
    assert node.any is None or node.name == word[1:], word
    node.name = word[1:]
    node.any = node.any or _RouteNode()
    return node.any
