"""A dictionary with a limit: the entry that was used longest ago makes room for a new one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Iterator, TypeVar

from attrs import define, field

K = TypeVar("K")
V = TypeVar("V")


@define(eq=False, repr=False)
class BoundedMap(Generic[K, V]):
    """At most `max_entries`, which together weigh at most `max_weight`, in whatever unit `put` is given."""

    max_entries: int
    max_weight: float = float("inf")
    _entries: OrderedDict[K, tuple[V, float]] = field(factory=OrderedDict, init=False)
    weight: float = field(default=0, init=False)  # of all entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        """Keys, the one that was used longest ago first."""
        return iter(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """The value of `key`, which counts as a use, or `None`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, weight: float = 0) -> list[tuple[K, V]]:
        """Set `key`, and give what had to make room for it; `key` itself, if it alone is too heavy."""
        self.pop(key)
        self._entries[key] = value, weight
        self.weight += weight
        evicted = []
        while len(self._entries) > self.max_entries or self.weight > self.max_weight:
            oldest, (old_value, old_weight) = self._entries.popitem(last=False)
            self.weight -= old_weight
            evicted.append((oldest, old_value))
        return evicted

    def pop(self, key: K) -> V | None:
        """Remove `key` and give its value, or `None`."""
        value, weight = self._entries.pop(key, (None, 0))
        self.weight -= weight
        return value

    def clear(self) -> None:
        self._entries.clear()
        self.weight = 0
