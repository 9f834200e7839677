"""Generates ids that sort by their time: UUIDs of version 7 (RFC 9562, 5.7).

Lists are ordered by time and then by id, so ids of one millisecond must keep
the order in which they were made; and an index takes rows in the order of time
more cheaply than random ones.
"""

from __future__ import annotations

from array import array
from os import urandom
from typing import Callable

from attrs import Factory, define

RANDOM_POOL_SIZE = 4096  # bytes of randomness that are fetched at a time: some 10 µs for 512 ids


@define(eq=False, repr=False)
class Uuid7Generator:
    """Each call gives the next id of this process; 62 of its bits are random."""

    _now: Callable[[], float]  # seconds since the epoch
    _last: int = 0  # milliseconds since the epoch << 12 | a counter within the millisecond
    _random_pool: array[int] = Factory(lambda: array("Q"))

    def __call__(self) -> str:
        self._last = max(int(self._now() * 1000) << 12, self._last + 1)
        milliseconds, counter = self._last >> 12, self._last & 0xFFF
        high = milliseconds << 16 | 0x7000 | counter
        if not self._random_pool:
            self._random_pool.frombytes(urandom(RANDOM_POOL_SIZE))
        low = 0b10 << 62 | self._random_pool.pop() >> 2
        text = (high << 64 | low).to_bytes(16, "big").hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
