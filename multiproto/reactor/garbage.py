"""Collects garbage between the turns of the reactor instead of in the middle of whatever allocates.

Most objects of a turn are gone at its end by themselves.  In the middle, Python finds them alive,
looks through them again and again, and keeps those of a large answer for the later, longer collections.
"""

from __future__ import annotations

import gc
from typing import Any, Callable

# New objects, and collections of each generation, before the next one is collected.  With Python's 700 objects a full
# collection came each second while somebody sent GraphQL documents.  The second generation is collected while it is
# small: with ten times 5,000 objects in it, that took 155 ms under a flood of publications.
THRESHOLDS = (2_000, 2, 1_250)
# Seconds after which the young ones are collected in any case.  Python counts new objects less those that are gone: where
# queues and caches lose as many old ones as they gain, it seems that there are none, until 100,000 take 0.1 s and more.
YOUNG_INTERVAL = 0.02
# Collections of the second generation, after which a full one waits no longer for a moment without work: there is
# little that only such a one finds (tests/live/test_garbage.py), and beside a flood with 10,000 units that wait it took 0.2 s.
MAX_POSTPONED = 10 * THRESHOLDS[2]


def arrange_collections(reactor: Any) -> None:
    """Exempt all objects that exist now, and from now on collect seldom, and between turns where `reactor` can.

    They live as long as the process: full collections would only take longer with them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    if hasattr(reactor, "collect_garbage_between_turns"):
        reactor.collect_garbage_between_turns()


def is_collection_due(seconds: float) -> bool:
    """Whether there is enough to collect, so many `seconds` after the last time."""
    return seconds >= YOUNG_INTERVAL or gc.get_count()[0] >= THRESHOLDS[0]


def collect(is_idle: Callable[[], bool]) -> None:
    """Collect the generation whose turn it is.

    All of them only when there is nothing else to do: that takes some 1 ms for each thousand objects, and finds little.
    """
    _, young, middle = gc.get_count()
    if middle >= MAX_POSTPONED or (middle >= THRESHOLDS[2] and is_idle()):
        gc.collect()
    else:
        gc.collect(1 if young >= THRESHOLDS[1] else 0)
