"""Topic names, topic patterns, and the tree of subscriptions.  Pure data: no I/O, no clock.

A topic is dot-separated words: ``messages.user.42``.  In a pattern ``*`` stands
for exactly one word and ``**`` for any number, zero included, wherever it
stands: ``messages.**`` covers ``messages`` itself (docs/common.md#topics-and-patterns).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Container, Generic, Iterable, Iterator, Sequence, TypeVar
from urllib.parse import unquote_to_bytes

from attrs import Factory, define

from ..errors import ValidationError

T = TypeVar("T")

# A topic and each pattern that covers it, in pairs.
Coverage = tuple[tuple[str, str], ...]

MAX_TOPIC_BYTES = 255  # of UTF-8
MAX_TOPIC_WORDS = 16

_FORBIDDEN_CHARACTERS = r".*\s\x00-\x1f\x7f-\x9f"  # in a word: dots, stars, white space, controls
_WORD = re.compile(f"[^{_FORBIDDEN_CHARACTERS}]+")
_TO_ESCAPE = re.compile(f"[{_FORBIDDEN_CHARACTERS}%]")


@lru_cache(1024)  # the same topic is published to again and again
def check_topic(topic: str) -> str:
    """Return `topic` if it may be published to, else raise `ValidationError`."""
    return _check("topic", topic, ())


def check_pattern(pattern: str, field: str = "topic") -> str:
    """Return `pattern`, which the client wrote as `field`, if it may be subscribed to, else raise `ValidationError`."""
    return _check("topic pattern", pattern, ("*", "**"), field)


def _check(kind: str, text: str, wildcards: tuple[str, ...], field: str = "topic") -> str:
    # In characters first: to split a megabyte of dots took 20 ms.
    if (
        len(text) > MAX_TOPIC_BYTES
        or len(text.encode()) > MAX_TOPIC_BYTES
        or text.count(".") >= MAX_TOPIC_WORDS
    ):
        raise ValidationError.for_field(
            field, f"A {kind} has at most {MAX_TOPIC_WORDS} words and {MAX_TOPIC_BYTES} bytes"
        )
    for word in text.split("."):
        if word not in wildcards and not _WORD.fullmatch(word):
            raise ValidationError.for_field(field, f"Not a {kind}: {text[:MAX_TOPIC_BYTES]!r}")
    return text


def is_word(text: str) -> bool:
    """Whether `text` is one word of a topic."""
    return _WORD.fullmatch(text) is not None


def escape_word(text: str) -> str:
    """`text` as one topic word, with ``%XX`` (UTF-8) for each character that a word can't have, and for ``%``."""
    return _TO_ESCAPE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def channel_topic(channel: str) -> str:
    """The topic of the channel with the id `channel`."""
    return f"messages.channel.{escape_word(channel)}"


def is_escaped(word: str) -> bool:
    """Whether `escape_word` gives `word` for any text."""
    text = unquote_to_bytes(word).decode("utf-8", "replace")
    return escape_word(text) == word


def matches(pattern: Sequence[str], topic: Sequence[str]) -> bool:
    """As `overlaps`, for the words of a pattern and of a topic: in half the time or less, since it is called often."""
    at_pattern = at_topic = 0
    last_double = -1  # index of the last `**` so far, which stands for the words before `double_end`
    double_end = 0
    while at_topic < len(topic):
        word = pattern[at_pattern] if at_pattern < len(pattern) else None
        if word == "**":
            last_double, double_end = at_pattern, at_topic
            at_pattern += 1
        elif word == "*" or word == topic[at_topic]:
            at_pattern, at_topic = at_pattern + 1, at_topic + 1
        elif last_double >= 0:  # let the `**` stand for one word more, and try again behind it
            double_end += 1
            at_pattern, at_topic = last_double + 1, double_end
        else:
            return False
    return all(word == "**" for word in pattern[at_pattern:])


def overlaps(one: str, other: str) -> bool:
    """Whether two patterns have a topic in common; a topic is a pattern that covers itself."""
    left, right = one.split("."), other.split(".")
    waiting, seen = [(0, 0)], set()
    while waiting:
        state = i, j = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        a = left[i] if i < len(left) else None
        b = right[j] if j < len(right) else None
        if a is None and b is None:
            return True
        if a == "**" or b == "**":  # it ends here, or stands for one more word of the other
            waiting += [(i + 1, j)] if a is not None else []
            waiting += [(i, j + 1)] if b is not None else []
        elif a is not None and b is not None and (a == b or "*" in (a, b)):
            waiting.append((i + 1, j + 1))
    return False


def covers(wide: Sequence[str], narrow: str) -> bool:
    """Whether the patterns `wide` together cover every topic that the pattern `narrow` covers.

    Exact, and for patterns that an operator writes: its cost may double with each `**` in `wide`.
    """
    positions, words = [each.split(".") for each in wide], narrow.split(".")
    # One word stands for all that none of the patterns names; "*" can be none of a topic.
    literals = {word for each in (words, *positions) for word in each} - {"*", "**"} | {"*"}
    start = frozenset((n, at) for n, each in enumerate(positions) for at in _skip_doubles(each, 0))
    waiting, seen = [(0, start, False)], set()
    while waiting:
        state = at, reached, has_word = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        for here in _skip_doubles(words, at):
            if here == len(words):
                if has_word and not any(at == len(positions[n]) for n, at in reached):
                    return False
                continue
            for word in literals if words[here] in ("*", "**") else {words[here]}:
                after = here if words[here] == "**" else here + 1
                waiting.append((after, frozenset(_advance(positions, reached, word)), True))
    return True


def _skip_doubles(words: Sequence[str], at: int) -> Iterator[int]:
    """Where one may be in a pattern after no further word: each `**` may stand for none."""
    yield at
    while at < len(words) and words[at] == "**":
        at += 1
        yield at


def _advance(
    patterns: Sequence[Sequence[str]], reached: Iterable[tuple[int, int]], word: str
) -> Iterator[tuple[int, int]]:
    for n, at in reached:
        words = patterns[n]
        if at < len(words) and words[at] in ("*", "**", word):
            for after in _skip_doubles(words, at if words[at] == "**" else at + 1):
                yield n, after


def literal_prefix(pattern: str) -> str:
    """The text that every topic which `pattern` covers begins with."""
    literal, star, _ = pattern.partition("*")
    return literal.removesuffix(".") if star else pattern


@define(eq=False)
class _TopicNode(Generic[T]):
    pattern: str = ""  # that leads here, where there are listeners
    is_multi_word: bool = False  # a `**`, which matches any number of words
    children: dict[str, _TopicNode[T]] = Factory(dict)
    listeners: dict[T, None] = Factory(dict)  # a dict, not a set: it keeps their order

    @property
    def is_empty(self) -> bool:
        return not self.children and not self.listeners


@define(eq=False, repr=False)
class TopicTree(Generic[T]):
    """Listeners by pattern: one walk finds all whose patterns cover a topic.

    The cost of `match` grows with the words of the topic, not with the number of
    patterns, and no pattern can make it backtrack: all branches that may still
    match advance together, word by word.  Branches without listeners are removed,
    so a peer that subscribes and unsubscribes in a loop leaves nothing behind.
    """

    _root: _TopicNode[T] = Factory(_TopicNode)

    @property
    def is_empty(self) -> bool:
        return self._root.is_empty

    def add(self, pattern: str, listener: T) -> None:
        node = self._root
        for word in pattern.split("."):
            child = node.children.get(word)
            if child is None:
                child = node.children[word] = _TopicNode(is_multi_word=word == "**")
            node = child
        node.pattern = pattern
        node.listeners[listener] = None

    def remove(self, pattern: str, listener: T) -> None:
        """Undo `add`; no error if it was never added."""
        path = [(self._root, "")]
        for word in pattern.split("."):
            node = path[-1][0].children.get(word)
            if node is None:
                return
            path.append((node, word))
        path[-1][0].listeners.pop(listener, None)
        for (parent, _), (node, word) in zip(path[-2::-1], path[:0:-1]):
            if not node.is_empty:
                break
            del parent.children[word]

    def match(self, topic: str) -> list[T]:
        """Every listener with a pattern that covers `topic`, each once."""
        found = [node.listeners for node in self._matching_nodes(topic) if node.listeners]
        if len(found) == 1:
            return list(found[0])
        return list(dict.fromkeys(listener for here in found for listener in here))

    def match_by_coverage(self, *topics: str) -> list[tuple[Coverage, list[T]]]:
        """Every listener with patterns that cover any of `topics`, each once, together with all who have the same.

        The pairs are in the order of the topics, so the same patterns always give the same coverage.
        """
        found = [
            ((topic, node.pattern), node.listeners)
            for topic in topics
            for node in self._matching_nodes(topic)
            if node.listeners
        ]
        if len(found) <= 1:
            return [((pair,), list(listeners)) for pair, listeners in found]
        # Nearly every listener has one such pattern: the few others are sought by sets, in the time of the smaller, and
        # nothing is made of the largest: to enter 10,000 listeners took eight times as long as to list them.
        met, shared = set[T](), set[T]()
        *smaller, largest = sorted((listeners for _, listeners in found), key=len)
        for listeners in smaller:
            shared |= met & listeners.keys()
            met.update(listeners)
        shared |= met & largest.keys()
        groups: list[tuple[Coverage, list[T]]] = []
        for pair, listeners in found:
            rest = [one for one in listeners if one not in shared] if shared else list(listeners)
            if rest:
                groups.append(((pair,), rest))
        return groups + _group_by_coverage(found, shared) if shared else groups

    def has_match(self, topic: str) -> bool:
        """Whether `match` would find any."""
        return any(node.listeners for node in self._matching_nodes(topic))

    def overlaps(self, pattern: str) -> bool:
        """Whether any listener has a pattern with a topic in common with `pattern`.  It looks at all patterns."""
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            if node.listeners and overlaps(node.pattern, pattern):
                return True
            waiting += node.children.values()
        return False

    def _matching_nodes(self, topic: str) -> dict[_TopicNode[T], None]:
        reached: dict[_TopicNode[T], None] = {}
        _collect(reached, self._root)
        for word in topic.split("."):
            before, reached = reached, {}
            for node in before:
                if node.is_multi_word:
                    _collect(reached, node)
                for branch in (word, "*"):
                    child = node.children.get(branch)
                    if child is not None:
                        _collect(reached, child)
        return reached


def _collect(reached: dict[_TopicNode[T], None], node: _TopicNode[T]) -> None:
    """Add `node`, and every `**` right below it, which also matches no word at all."""
    following: _TopicNode[T] | None = node
    while following is not None and following not in reached:
        reached[following] = None
        following = following.children.get("**")


def _group_by_coverage(
    found: Iterable[tuple[tuple[str, str], Iterable[T]]], shared: Container[T]
) -> list[tuple[Coverage, list[T]]]:
    """The listeners `shared`, of which each is in several of `found`, together with those that are in the same.

    Step by step, each pair leads from one coverage to the next, which is made once for all: to make one for each
    of 1,000 listeners with 100 pairs, and to compare them, took five times as long.
    """
    coverages: list[Coverage] = [()]
    reached: dict[T, int] = {}  # the coverage of each listener so far
    for pair, listeners in found:
        following: dict[int, int] = {}  # a coverage -> the one that also has `pair`
        for listener in filter(shared.__contains__, listeners):
            before = reached.get(listener, 0)
            if before not in following:
                following[before] = len(coverages)
                coverages.append((*coverages[before], pair))
            reached[listener] = following[before]
    together: dict[int, list[T]] = {}
    for listener, coverage in reached.items():
        together.setdefault(coverage, []).append(listener)
    return [(coverages[number], listeners) for number, listeners in together.items()]
