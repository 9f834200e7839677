"""What the reactor's time was spent on, and how often work had to wait, as Prometheus metrics."""

from __future__ import annotations

from typing import Iterable

from attrs import Factory, define
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

KINDS = ("frames", "commands", "requests", "graphql")


@define(eq=False, repr=False)
class TurnWorkMetrics(Collector):
    """Reads the counters of the `TurnScheduler` at each scrape; both are by the kind of work."""

    seconds: dict[str, float] = Factory(lambda: dict.fromkeys(KINDS, 0.0))
    waits: dict[str, int] = Factory(lambda: dict.fromkeys(KINDS, 0))

    def collect(self) -> Iterable[Metric]:
        seconds = CounterMetricFamily(
            "turn_work_seconds", "Time of the event loop for what clients sent", labels=["work"]
        )
        waits = CounterMetricFamily(
            "turn_waits", "How often such work waited for a later turn of the event loop", labels=["work"]
        )
        for kind in KINDS:
            seconds.add_metric([kind], self.seconds[kind])
            waits.add_metric([kind], self.waits[kind])
        yield from (seconds, waits)
