"""A metric whose labels can't grow: what a client says never becomes a label value.

`prometheus_client` makes a new time series for any label value it is handed.  A
`Family` knows the closed set of each label and takes anything else for "other";
where the set is not known beforehand (route templates) it is bounded by count.
"""

from __future__ import annotations

from typing import Callable, Collection, Generic, Mapping, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from .traffic import OTHER

MAX_SERIES = 1000  # of one family; reached only by an open label gone wrong

M = TypeVar("M", bound=MetricWrapperBase)
Labels = Mapping[str, Collection[str] | None]  # label -> what it may be; None: whatever our own code says


class Family(Generic[M]):
    """All series of one metric of `prometheus_client`, of the class `kind`."""

    def __init__(
        self, kind: Callable[..., M], registry: CollectorRegistry, name: str, meaning: str, labels: Labels
    ) -> None:
        self._metric = kind(name, meaning, tuple(labels), registry=registry)
        self._allowed = tuple(labels.values())
        self._series: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """The series of these values, to be counted in; cheap when asked again."""
        return self._series.get(values) or self._closest(values)

    def _closest(self, values: tuple[str, ...]) -> M:
        known = tuple(
            value if allowed is None or value in allowed else OTHER
            for value, allowed in zip(values, self._allowed, strict=True)
        )
        if known not in self._series and len(self._series) >= MAX_SERIES:
            known = (OTHER,) * len(known)
        if known not in self._series:
            self._series[known] = self._metric.labels(*known)
        return self._series[known]

    def totals(self) -> dict[tuple[str, ...], float]:
        """What each series of a counter stands at, by its label values."""
        return {
            tuple(sample.labels.values()): sample.value
            for metric in self._metric.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
