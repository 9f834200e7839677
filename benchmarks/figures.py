"""What was measured, and how it is shown."""

from __future__ import annotations

import os
import subprocess
import time
from statistics import median
from typing import Any, Awaitable, Callable, Iterable, Sequence

from attrs import Factory, define, frozen
from twisted.internet.defer import Deferred, gatherResults

BUSY = 0.9  # of a core


@frozen
class Round:
    rate: float  # operations a second
    cpu: float  # microseconds of an operation


@frozen
class Lap(Round):
    """A round against a load generator that was watched too."""

    done: int  # operations
    p50: float  # milliseconds
    p99: float
    server: float  # share of a core that it used
    generator: float

    @property
    def generator_is_limit(self) -> bool:
        """The server could have given more than it was asked for."""
        return self.generator >= BUSY and self.generator > self.server


@define
class Series:
    """The same thing measured some times."""

    rounds: list[Round] = Factory(list)

    @property
    def rate(self) -> float:
        return median(each.rate for each in self.rounds)

    @property
    def cpu(self) -> float:
        return median(each.cpu for each in self.rounds)


async def race(publishers: Iterable[Callable[[], Awaitable[object]]], seconds: float) -> tuple[int, float]:
    """How many times they published in all, each waiting for its answer, and the seconds that took."""
    begun = time.perf_counter()

    async def publish_on(publish: Callable[[], Awaitable[object]]) -> int:
        count = 0
        while time.perf_counter() - begun < seconds:
            await publish()
            count += 1
        return count

    counts = await gatherResults([Deferred.fromCoroutine(publish_on(publish)) for publish in publishers])
    return sum(counts), time.perf_counter() - begun


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of values in ascending order; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """As Markdown."""
    lines = [tuple(heads), *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    shown = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths)) + " |" for line in lines
    ]
    return "\n".join(
        [shown[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *shown[1:]]
    )


def number(value: float) -> str:
    return f"{value:,.0f}"


def circumstances() -> dict[str, Any]:
    """What the machine was like, and which code this is."""
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
    }
