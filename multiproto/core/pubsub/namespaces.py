"""Which topics are logged, and for how long: decided once, for every wire.

A topic belongs to the first namespace whose pattern covers it; a topic without
one is live.  The namespaces `users.**` and `messages.**` always exist.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, Iterable, Iterator, Mapping

from attrs import define, field, frozen

from .topics import covers, overlaps

USERS, MESSAGES, REVOCATIONS = "users.**", "messages.**", "_sessions"
CANARIES = "_canary"  # events by which an instance checks that the log delivers
CANARY_RETENTION = 600.0  # seconds
# Seconds: no connection survives an instance that is suspended for longer.
REVOCATION_RETENTION = 30 * 86_400.0
MAX_CACHED_TOPICS = 1024  # topics, of at most 255 bytes


@frozen
class Namespace:
    """A part of the topics that is logged, with its retention."""

    match: str  # a pattern, which is also its name
    retention: float | None = None  # seconds that an event is kept; None: for ever
    max_events: int | None = None  # events that are kept; None: all


@define(eq=False, repr=False)
class Namespaces:
    _namespaces: tuple[Namespace, ...]
    # Called for each publication: `lru_cache` has a tenth of the cost of a `BoundedMap`.
    find: Callable[[str], Namespace | None] = field(init=False)  # the namespace of a topic, if it is logged

    # For a namespace behind narrower ones: those that it covers.
    _narrower: Mapping[Namespace, tuple[Namespace, ...]] = field(init=False)

    @_narrower.default
    def _narrower_before(self) -> Mapping[Namespace, tuple[Namespace, ...]]:
        return {
            each: tuple(before for before in self._namespaces[:n] if covers([each.match], before.match))
            for n, each in enumerate(self._namespaces)
        }

    @find.default
    def _cached_find(self) -> Callable[[str], Namespace | None]:
        return lru_cache(MAX_CACHED_TOPICS)(self._find)

    @classmethod
    def with_builtin(cls, configured: Iterable[Namespace]) -> Namespaces:
        """The server's own namespaces, as configured or with unlimited retention, then the other configured ones."""
        by_name = {name: Namespace(name) for name in (USERS, MESSAGES)}
        by_name[REVOCATIONS] = Namespace(REVOCATIONS, retention=REVOCATION_RETENTION)
        by_name[CANARIES] = Namespace(CANARIES, retention=CANARY_RETENTION)
        by_name |= {namespace.match: namespace for namespace in configured}
        return cls(tuple(by_name.values()))

    def __iter__(self) -> Iterator[Namespace]:
        return iter(self._namespaces)

    def _find(self, topic: str) -> Namespace | None:
        return next((each for each in self._namespaces if overlaps(each.match, topic)), None)

    def find_ignored(self) -> Iterator[tuple[Namespace, tuple[Namespace, ...]]]:
        """Namespaces that no topic belongs to, for those before them cover them all; each with those."""
        for n, each in enumerate(self._namespaces):
            before = tuple(one for one in self._namespaces[:n] if overlaps(one.match, each.match))
            if covers([one.match for one in before], each.match):
                yield each, before

    def overlapping(self, pattern: str) -> tuple[Namespace, ...]:
        """All that topics of `pattern` may belong to, without the server's internal ones.

        A wide namespace behind a narrower one that covers the whole pattern is none of them: what it
        pruned is nothing that the pattern covers.
        """
        return tuple(
            each
            for each in self._namespaces
            if overlaps(each.match, pattern)
            and each.match[0] != "_"
            and not any(covers([narrower.match], pattern) for narrower in self._narrower[each])
        )
