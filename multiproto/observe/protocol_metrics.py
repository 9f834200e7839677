"""The counters of every protocol's `ProtocolStats` as Prometheus metrics of the same names.

`tcp_messages_sent_total` and `websocket_messages_sent_total` mean the same, by
the same labels (docs/metrics.md).
"""

from __future__ import annotations

from typing import Iterable, Iterator, Mapping

from attrs import define, field
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .histogram import HistogramSeries
from .protocol_stats import FRAME_ERRORS, ProtocolStats


@define(eq=False, repr=False)
class ProtocolMetrics(Collector):
    """Collects the metrics of all protocols at each scrape."""

    _stats_by_protocol: dict[str, ProtocolStats] = field(factory=dict, init=False)  # by protocol

    def add(self, stats: ProtocolStats) -> None:
        self._stats_by_protocol[stats.protocol] = stats

    def __iter__(self) -> Iterator[ProtocolStats]:
        return iter(self._stats_by_protocol.values())

    def collect(self) -> Iterable[Metric]:
        for stats in self:
            yield from _metrics_of(stats)
        yield _gauge(
            "active_connections", "Open connections of all protocols", sum(t.active_connections for t in self)
        )
        yield _counter(
            "deliveries",
            "Events and publications sent to subscribers",
            "protocol",
            {stats.protocol: stats.sent_by_type["message"] for stats in self},
        )
        yield _counter(
            "slow_consumers",
            "Connections ended for reading too slowly",
            "protocol",
            {stats.protocol: stats.slow_consumers_total for stats in self},
        )


def _metrics_of(stats: ProtocolStats) -> Iterator[Metric]:
    def name(what: str) -> str:
        return f"{stats.protocol}_{what}"

    yield _counter(
        name("connections"), "Connections, by what became of them", "status", stats.connections_by_status
    )
    yield _gauge(name("connections_active"), "Open connections", stats.active_connections)
    yield _gauge(
        name("connections_authenticated"),
        "Open connections with an identity",
        stats.authenticated_connections,
    )
    yield _gauge(name("subscriptions_active"), "Subscriptions in force", stats.active_subscriptions)
    yield _counter(name("messages_received"), "Commands, by type", "type", stats.received_by_type)
    yield _counter(name("messages_sent"), "Replies and deliveries, by type", "type", stats.sent_by_type)
    yield CounterMetricFamily(name("bytes_received"), "Bytes read", value=stats.bytes_received)
    yield CounterMetricFamily(name("bytes_sent"), "Bytes of messages written", value=stats.bytes_sent)
    yield CounterMetricFamily(name("frames_parsed"), "Frames that were whole", value=stats.messages_received)
    bad = {error: stats.refusals_by_name[error] for error in FRAME_ERRORS}
    yield _counter(name("frame_errors"), "Frames that made no command", "error_type", bad)
    yield _counter(
        name("refusals"), "Commands declined, by the refusal's name", "name", stats.refusals_by_name
    )
    yield _counter(name("auth"), "Attempts to authenticate", "outcome", stats.auth_by_outcome)
    yield _histogram(
        name("message_duration_seconds"),
        "Time to execute a command, without its wait for earlier ones",
        "type",
        stats.durations_by_type,
    )


def _counter(name: str, meaning: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _histogram(name: str, meaning: str, label: str, values: Mapping[str, HistogramSeries]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=(label,))
    for value, durations in values.items():
        family.add_metric((value,), durations.cumulative_buckets(), durations.total)
    return family
