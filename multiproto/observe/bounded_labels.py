"""Metrics whose labels can't grow: what a client says never becomes a label value.

`prometheus_client` makes a new time series for any label value it is handed.  A
`BoundedFamily` knows the closed set of each label and takes anything else for "other";
where the set is not known beforehand (route templates) it is bounded by count.

Counts and spreads are plain numbers that are read when somebody asks: each
request counts in a dozen of them, and `prometheus_client` locks for each.
Bought, for the four of an HTTP request: 7 to 2 µs.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Callable, Collection, Generic, Iterable, Mapping, Sequence, TypeVar

from attrs import define, field
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .protocol_stats import OTHER

MAX_SERIES = 1000  # of one family; reached only by an open label gone wrong

M = TypeVar("M")
AllowedLabels = Mapping[
    str, Collection[str] | None
]  # label -> what it may be; None: whatever our own code says


class BoundedFamily(Generic[M]):
    """All series of one metric; `make` makes that of some label values."""

    def __init__(self, make: Callable[..., M], labels: AllowedLabels) -> None:
        self._make_series = make
        self._allowed = tuple(labels.values())
        self._series: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """The series of these values, to be counted in; cheap when asked again."""
        return self._series.get(values) or self._get_or_make(values)

    def _get_or_make(self, values: tuple[str, ...]) -> M:
        known = tuple(
            value if allowed is None or value in allowed else OTHER
            for value, allowed in zip(values, self._allowed, strict=True)
        )
        if known not in self._series and len(self._series) >= MAX_SERIES:
            known = (OTHER,) * len(known)
        if known not in self._series:
            self._series[known] = self._make_series(*known)
        return self._series[known]


@define(eq=False, repr=False)
class CounterSeries:
    value: int = 0

    def inc(self, by: int = 1) -> None:
        self.value += by


class BoundedCounter(BoundedFamily[CounterSeries], Collector):
    """A counter."""

    def __init__(self, registry: CollectorRegistry, name: str, meaning: str, labels: AllowedLabels) -> None:
        super().__init__(lambda *_: CounterSeries(), labels)
        self._name, self._documentation, self._label_names = name, meaning, tuple(labels)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        shown = CounterMetricFamily(self._name, self._documentation, labels=self._label_names)
        for values, count in self._series.items():
            shown.add_metric(values, count.value)
        yield shown

    def totals(self) -> dict[tuple[str, ...], int]:
        """What each series stands at, by its label values."""
        return {values: count.value for values, count in self._series.items()}


@define(eq=False, repr=False)
class HistogramSeries:
    """How often something had which size, between `bounds`."""

    _bounds: Sequence[float]
    bucket_counts: list[int] = field(init=False)  # the last: larger than all
    total: float = 0.0

    @bucket_counts.default
    def _zero_counts(self) -> list[int]:
        return [0] * (len(self._bounds) + 1)

    def observe(self, value: float) -> None:
        self.bucket_counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class BoundedHistogram(BoundedFamily[HistogramSeries], Collector):
    """A histogram."""

    def __init__(
        self,
        registry: CollectorRegistry,
        bounds: Sequence[float],
        name: str,
        meaning: str,
        labels: AllowedLabels,
    ) -> None:
        super().__init__(lambda *_: HistogramSeries(bounds), labels)
        self._bounds = [*map(str, map(float, bounds)), "+Inf"]
        self._name, self._documentation, self._label_names = name, meaning, tuple(labels)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        shown = HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)
        for values, spread in self._series.items():
            shown.add_metric(values, list(zip(self._bounds, accumulate(spread.bucket_counts))), spread.total)
        yield shown
