"""The counters of every protocol's `ProtocolStats` as Prometheus families of one shape.

`tcp_messages_sent_total` and `websocket_messages_sent_total` mean the same, by
the same labels (contract, section 8).
"""

from __future__ import annotations

from itertools import accumulate
from typing import Iterable, Iterator, Mapping

from attrs import define, field
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .protocol_stats import DURATION_BUCKETS, FRAME_ERRORS, DurationHistogram, ProtocolStats


@define(eq=False, repr=False)
class ProtocolMetrics(Collector):
    """The registry calls `collect` whenever somebody asks."""

    _stats_by_protocol: dict[str, ProtocolStats] = field(factory=dict, init=False)  # protocol -> its traffic

    def add(self, traffic: ProtocolStats) -> None:
        self._stats_by_protocol[traffic.protocol] = traffic

    def __iter__(self) -> Iterator[ProtocolStats]:
        return iter(self._stats_by_protocol.values())

    def collect(self) -> Iterable[Metric]:
        for traffic in self:
            yield from _metrics_of(traffic)
        yield _gauge(
            "active_connections", "Open connections of all protocols", sum(t.active_connections for t in self)
        )
        yield _counter(
            "deliveries",
            "Events and publications sent to subscribers",
            "protocol",
            {traffic.protocol: traffic.sent_by_type["message"] for traffic in self},
        )
        yield _counter(
            "slow_consumers",
            "Connections ended for reading too slowly",
            "protocol",
            {traffic.protocol: traffic.slow_consumers_total for traffic in self},
        )


def _metrics_of(traffic: ProtocolStats) -> Iterator[Metric]:
    def name(what: str) -> str:
        return f"{traffic.protocol}_{what}"

    yield _counter(
        name("connections"), "Connections, by what became of them", "status", traffic.connections_by_status
    )
    yield _gauge(name("connections_active"), "Open connections", traffic.active_connections)
    yield _gauge(
        name("connections_authenticated"),
        "Open connections with an identity",
        traffic.authenticated_connections,
    )
    yield _gauge(name("subscriptions_active"), "Subscriptions in force", traffic.active_subscriptions)
    yield _counter(name("messages_received"), "Commands, by type", "type", traffic.received_by_type)
    yield _counter(name("messages_sent"), "Replies and deliveries, by type", "type", traffic.sent_by_type)
    yield CounterMetricFamily(name("bytes_received"), "Bytes read", value=traffic.bytes_received)
    yield CounterMetricFamily(name("bytes_sent"), "Bytes of messages written", value=traffic.bytes_sent)
    yield CounterMetricFamily(
        name("frames_parsed"), "Frames that were whole", value=traffic.messages_received
    )
    bad = {error: traffic.refusals_by_name[error] for error in FRAME_ERRORS}
    yield _counter(name("frame_errors"), "Frames that made no command", "error_type", bad)
    yield _counter(
        name("refusals"), "Commands declined, by the refusal's name", "name", traffic.refusals_by_name
    )
    yield _counter(name("auth"), "Attempts to authenticate", "outcome", traffic.auth_by_outcome)
    yield _histogram(
        name("message_duration_seconds"), "From read to obeyed", "type", traffic.durations_by_type
    )


def _counter(name: str, meaning: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _histogram(name: str, meaning: str, label: str, values: Mapping[str, DurationHistogram]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=(label,))
    bounds = [*map(str, DURATION_BUCKETS), "+Inf"]
    for value, durations in values.items():
        family.add_metric((value,), list(zip(bounds, accumulate(durations.bucket_counts))), durations.total)
    return family
