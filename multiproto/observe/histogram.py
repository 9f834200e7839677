"""Histograms as plain numbers, which Prometheus reads when it scrapes."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Sequence

from attrs import define, field

DURATION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds


@define(eq=False, repr=False)
class HistogramSeries:
    """How many observed values lie between each two of `bounds`, and their sum."""

    _bounds: Sequence[float]
    bucket_counts: list[int] = field(init=False)  # the last: above all bounds
    total: float = 0.0

    @bucket_counts.default
    def _zero_counts(self) -> list[int]:
        return [0] * (len(self._bounds) + 1)

    def observe(self, value: float) -> None:
        self.bucket_counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative_buckets(self) -> list[tuple[str, float]]:
        """(upper bound, count up to it), as `HistogramMetricFamily` takes them."""
        bounds = [*map(str, map(float, self._bounds)), "+Inf"]
        return list(zip(bounds, accumulate(self.bucket_counts)))
