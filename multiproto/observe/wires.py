"""The counters of every protocol's `Traffic` as Prometheus families of one shape.

`tcp_messages_sent_total` and `websocket_messages_sent_total` mean the same, by
the same labels (contract, section 8).
"""

from __future__ import annotations

from itertools import accumulate
from typing import Iterable, Iterator, Mapping

from attrs import define, field
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .traffic import BOUNDS, FRAME_ERRORS, Durations, Traffic


@define(eq=False, repr=False)
class Wires(Collector):
    """The registry calls `collect` whenever somebody asks."""

    _wires: dict[str, Traffic] = field(factory=dict, init=False)  # protocol -> its traffic

    def add(self, traffic: Traffic) -> None:
        self._wires[traffic.protocol] = traffic

    def __iter__(self) -> Iterator[Traffic]:
        return iter(self._wires.values())

    def collect(self) -> Iterable[Metric]:
        for traffic in self:
            yield from _family_of(traffic)
        yield _gauge("active_connections", "Open connections of all protocols", sum(t.active for t in self))
        yield _counter(
            "deliveries",
            "Events and publications sent to subscribers",
            "protocol",
            {traffic.protocol: traffic.sent_by["message"] for traffic in self},
        )
        yield _counter(
            "slow_consumers",
            "Connections ended for reading too slowly",
            "protocol",
            {traffic.protocol: traffic.slow_total for traffic in self},
        )


def _family_of(traffic: Traffic) -> Iterator[Metric]:
    def name(what: str) -> str:
        return f"{traffic.protocol}_{what}"

    yield _counter(name("connections"), "Connections, by what became of them", "status", traffic.connections)
    yield _gauge(name("connections_active"), "Open connections", traffic.active)
    yield _gauge(
        name("connections_authenticated"), "Open connections with an identity", traffic.authenticated
    )
    yield _gauge(name("subscriptions_active"), "Subscriptions in force", traffic.subscriptions)
    yield _counter(name("messages_received"), "Commands, by type", "type", traffic.received_by)
    yield _counter(name("messages_sent"), "Replies and deliveries, by type", "type", traffic.sent_by)
    yield CounterMetricFamily(name("bytes_received"), "Bytes read", value=traffic.bytes_received)
    yield CounterMetricFamily(name("bytes_sent"), "Bytes of messages written", value=traffic.bytes_sent)
    yield CounterMetricFamily(
        name("frames_parsed"), "Frames that were whole", value=traffic.messages_received
    )
    bad = {error: traffic.refused_by[error] for error in FRAME_ERRORS}
    yield _counter(name("frame_errors"), "Frames that made no command", "error_type", bad)
    yield _counter(name("refusals"), "Commands declined, by the refusal's name", "name", traffic.refused_by)
    yield _counter(name("auth"), "Attempts to authenticate", "outcome", traffic.auth_by)
    yield _histogram(name("message_duration_seconds"), "From read to obeyed", "type", traffic.durations)


def _counter(name: str, meaning: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _histogram(name: str, meaning: str, label: str, values: Mapping[str, Durations]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=(label,))
    bounds = [*map(str, BOUNDS), "+Inf"]
    for value, durations in values.items():
        family.add_metric((value,), list(zip(bounds, accumulate(durations.counts))), durations.total)
    return family
