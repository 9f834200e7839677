"""Which topics the log keeps, and for how long: decided once, for every wire.

A topic belongs to the first namespace whose pattern covers it; one that belongs
to none is live.  `users.**` and `messages.**` are always there.
"""

from __future__ import annotations

from typing import Iterable, Iterator

from attrs import define, field, frozen

from .topics import overlap

USERS, MESSAGES, REVOCATIONS = "users.**", "messages.**", "_sessions"
CANARIES = "_canary"  # what instances write to see it come back
CANARIES_KEPT = 600.0  # seconds
REVOCATIONS_KEPT = 30 * 86_400.0  # seconds: no connection outlives an instance that slept for longer
REMEMBERED = 1024  # topics, of at most 255 bytes


@frozen
class Namespace:
    match: str  # a pattern, which is also its name
    retention: float | None = None  # seconds that an event is kept; None: for ever
    most: int | None = None  # events that are kept; None: all


@define(eq=False, repr=False)
class Namespaces:
    _all: tuple[Namespace, ...]
    _known: dict[str, Namespace | None] = field(factory=dict, init=False)  # topic -> what keeps it

    @classmethod
    def including(cls, configured: Iterable[Namespace]) -> Namespaces:
        """Those of the server, as configured or kept for ever, and then the others."""
        by_name = {name: Namespace(name) for name in (USERS, MESSAGES)}
        by_name[REVOCATIONS] = Namespace(REVOCATIONS, retention=REVOCATIONS_KEPT)
        by_name[CANARIES] = Namespace(CANARIES, retention=CANARIES_KEPT)
        by_name |= {namespace.match: namespace for namespace in configured}
        return cls(tuple(by_name.values()))

    def __iter__(self) -> Iterator[Namespace]:
        return iter(self._all)

    def of(self, topic: str) -> Namespace | None:
        """What keeps `topic`, if anything does.  Asked for each publication: the last ones are remembered."""
        if topic not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[topic] = next((each for each in self._all if overlap(each.match, topic)), None)
        return self._known[topic]

    def over(self, pattern: str) -> tuple[Namespace, ...]:
        """All that keep a topic which `pattern` covers and a client may read."""
        return tuple(each for each in self._all if overlap(each.match, pattern) and each.match[0] != "_")
