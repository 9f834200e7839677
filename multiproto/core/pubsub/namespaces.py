"""Which topics the log keeps, and for how long: decided once, for every wire.

A topic belongs to the first namespace whose pattern covers it; one that belongs
to none is live.  `users.**` and `messages.**` are always there.
"""

from __future__ import annotations

from typing import Iterable, Iterator

from attrs import define, field, frozen

from .topics import overlaps

USERS, MESSAGES, REVOCATIONS = "users.**", "messages.**", "_sessions"
CANARIES = "_canary"  # what instances write to see it come back
CANARY_RETENTION = 600.0  # seconds
REVOCATION_RETENTION = 30 * 86_400.0  # seconds: no connection outlives an instance that slept for longer
MAX_CACHED_TOPICS = 1024  # topics, of at most 255 bytes


@frozen
class Namespace:
    match: str  # a pattern, which is also its name
    retention: float | None = None  # seconds that an event is kept; None: for ever
    max_events: int | None = None  # events that are kept; None: all


@define(eq=False, repr=False)
class Namespaces:
    _namespaces: tuple[Namespace, ...]
    _by_topic: dict[str, Namespace | None] = field(factory=dict, init=False)  # topic -> what keeps it

    @classmethod
    def with_builtin(cls, configured: Iterable[Namespace]) -> Namespaces:
        """Those of the server, as configured or kept for ever, and then the others."""
        by_name = {name: Namespace(name) for name in (USERS, MESSAGES)}
        by_name[REVOCATIONS] = Namespace(REVOCATIONS, retention=REVOCATION_RETENTION)
        by_name[CANARIES] = Namespace(CANARIES, retention=CANARY_RETENTION)
        by_name |= {namespace.match: namespace for namespace in configured}
        return cls(tuple(by_name.values()))

    def __iter__(self) -> Iterator[Namespace]:
        return iter(self._namespaces)

    def find(self, topic: str) -> Namespace | None:
        """What keeps `topic`, if anything does.  Asked for each publication: the last ones are remembered."""
        if topic not in self._by_topic:
            if len(self._by_topic) >= MAX_CACHED_TOPICS:
                self._by_topic.clear()
            self._by_topic[topic] = next(
                (each for each in self._namespaces if overlaps(each.match, topic)), None
            )
        return self._by_topic[topic]

    def overlapping(self, pattern: str) -> tuple[Namespace, ...]:
        """All that keep a topic which `pattern` covers and a client may read."""
        return tuple(
            each for each in self._namespaces if overlaps(each.match, pattern) and each.match[0] != "_"
        )
