"""Every metric of the server, in one table (docs/metrics.md).

A `Metrics` has a registry of its own, so that several servers can run in one
process.  The traffic of each protocol is counted by its `ProtocolStats` and
shown through `observe.protocol_metrics`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Collection, Iterable

from attrs import define
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from .bounded_labels import (
    MAX_SERIES,
    BoundedCounter,
    BoundedFamily,
    BoundedHistogram,
    CounterSeries,
)
from .histogram import DURATION_BUCKETS, HistogramSeries
from .log_writer import LogWriter
from .protocol_metrics import ProtocolMetrics
from .protocol_stats import AUTH_FAILURES, REFUSAL_NAMES, SUCCESS, ProtocolStats
from .turn_work import TurnWorkMetrics

EVENT_TYPES = (
    "user.created",
    "user.updated",
    "user.deleted",
    "message.sent",
    "message.deleted",
    "session.revoked",
    "publication",
    "canary",
)
HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OUTCOMES = (SUCCESS, "error")
CACHE_OPERATIONS = ("get",)
OPERATION_TYPES = ("query", "mutation", "subscription")
AUTH_METHODS = ("password", "refresh", "token", "credential")
GRAPHQL_CODES = (
    *REFUSAL_NAMES,
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "QUERY_DEPTH_LIMIT_EXCEEDED",
    "QUERY_COMPLEXITY_LIMIT_EXCEEDED",
    "BAD_REQUEST",
    "PERSISTED_QUERY_NOT_FOUND",
)
UNBOUNDED = None  # the values come from our own code: route templates, names of statements and pools

TIME_BUCKETS = (*DURATION_BUCKETS, 5.0, 10.0)  # seconds
SIZE_BUCKETS = tuple(4**n for n in range(3, 11))  # bytes


@define(eq=False, repr=False)
class _DroppedLogLines(Collector):
    """Lines of the process's log are counted where they are dropped, in any thread."""

    writer: LogWriter | None = None

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(
            "log_lines_dropped",
            "Lines of the process's own log that could not be written",
            self.writer.dropped_lines if self.writer is not None else 0,
        )


class Metrics:
    """All metrics; `labels(...)` of one takes its label values in the order of the table."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._protocol_metrics = ProtocolMetrics()
        self._request_series = lru_cache(MAX_SERIES)(self._make_request_series)
        self.registry.register(self._protocol_metrics)
        self._add_http_metrics()
        self._add_event_metrics()
        self._add_storage_metrics()
        self._add_auth_metrics()
        self._add_graphql_metrics()
        self._add_live_metrics()
        self._add_process_metrics()

    def add_protocol(self, stats: ProtocolStats) -> ProtocolStats:
        """Show `stats` under the prefix of their protocol; returns them."""
        self._protocol_metrics.add(stats)
        return stats

    @property
    def protocol_stats(self) -> tuple[ProtocolStats, ...]:
        return tuple(self._protocol_metrics)

    def _add_http_metrics(self) -> None:
        self.http_requests = self._counter(
            "http_requests_total", "Requests answered", method=HTTP_METHODS, path=UNBOUNDED, status=UNBOUNDED
        )
        self.http_request_duration = self._duration_histogram(
            "http_request_duration_seconds",
            "From request to answer",
            method=HTTP_METHODS,
            path=UNBOUNDED,
            status=UNBOUNDED,
        )
        self.http_request_size = self._size_histogram(
            "http_request_size_bytes", "Size of request bodies", method=HTTP_METHODS, path=UNBOUNDED
        )
        self.http_response_size = self._size_histogram(
            "http_response_size_bytes", "Size of answers' bodies as sent", method=HTTP_METHODS, path=UNBOUNDED
        )

    def _add_event_metrics(self) -> None:
        self.events_emitted = self._counter(
            "events_emitted_total", "Events accepted, by type", event_type=EVENT_TYPES
        )
        self.events_handled = self._counter(
            "events_handled_total",
            "Events handed to their listeners",
            event_type=EVENT_TYPES,
            status=OUTCOMES,
        )
        self.log_position = Gauge(
            "log_position", "Position of the log's newest entry known here", registry=self.registry
        )
        self.log_pruning_overdue = Gauge(
            "log_pruning_overdue_seconds",
            "Seconds of age by which pruning is behind what is due",
            registry=self.registry,
        )
        self.log_lag = Gauge(
            "log_lag_entries", "Entries of the log not yet delivered here", registry=self.registry
        )

    def _add_storage_metrics(self) -> None:
        self.database_queries = self._counter(
            "database_queries_total",
            "Queries and units of work",
            operation=UNBOUNDED,
            status=OUTCOMES,
        )
        self.database_query_duration = self._duration_histogram(
            "database_query_duration_seconds", "From call to result, queueing included", operation=UNBOUNDED
        )
        self.database_connections = Gauge(
            "database_connections_active", "Open database connections", registry=self.registry
        )
        self.cache_hits = Counter("cache_hits_total", "Values found in the cache", registry=self.registry)
        self.cache_misses = Counter(
            "cache_misses_total", "Values not found in the cache", registry=self.registry
        )
        self.cache_operation_duration = self._duration_histogram(
            "cache_operation_duration_seconds", "Time in the cache", operation=CACHE_OPERATIONS
        )

    def on_cache_lookup(self, found: bool, seconds: float) -> None:
        """A value was found in the cache, or not, after so many seconds."""
        (self.cache_hits if found else self.cache_misses).inc()
        self.cache_operation_duration.labels("get").observe(seconds)

    def _add_auth_metrics(self) -> None:
        self._auth_attempts = self._counter(
            "auth_attempts_total", "Attempts to prove an identity", method=AUTH_METHODS
        )
        self._auth_success = self._counter("auth_success_total", "Those that succeeded", method=AUTH_METHODS)
        self._auth_failures = self._counter(
            "auth_failures_total", "Those that failed", method=AUTH_METHODS, reason=AUTH_FAILURES
        )

        self.descriptors_exhausted = Counter(
            "descriptors_exhausted_total",
            "Connections that were closed at once, for file descriptors were short",
            registry=self.registry,
        )
        self.accept_failures = Counter(
            "accept_failures_total",
            "Attempts to accept a connection that failed, mostly for want of file descriptors or memory",
            registry=self.registry,
        )
        self.audit_dropped = Counter(
            "audit_dropped_total",
            "Failed attempts that could not be written to the audit log",
            registry=self.registry,
        )

    def auth(self, method: str, outcome: str) -> None:
        """An attempt by one of `AUTH_METHODS` ended in `SUCCESS` or in one of `AUTH_FAILURES`."""
        self._auth_attempts.labels(method).inc()
        if outcome == SUCCESS:
            self._auth_success.labels(method).inc()
        else:
            self._auth_failures.labels(method, outcome).inc()

    def _add_graphql_metrics(self) -> None:
        self.graphql_operations = self._counter(
            "graphql_operations_total",
            "Operations answered",
            operation_type=OPERATION_TYPES,
            operation_name=(),  # a closed set of none: any client may name an operation
            status=OUTCOMES,
        )
        self.graphql_operation_duration = self._duration_histogram(
            "graphql_operation_duration_seconds", "From request to answer", operation_type=OPERATION_TYPES
        )
        self.graphql_errors = self._counter("graphql_errors_total", "Errors in answers", code=GRAPHQL_CODES)

    def _add_live_metrics(self) -> None:
        self.live_lane_up = Gauge(
            "live_lane_up", "1 while live topics reach the other instances", registry=self.registry
        )
        self.live_dropped = Counter(
            "live_dropped_total",
            "Publications on live topics that were not sent to other instances",
            registry=self.registry,
        )
        self.live_malformed = Counter(
            "live_malformed_total",
            "Messages in Redis that came from no instance of ours",
            registry=self.registry,
        )
        self.live_probe_duration = Histogram(
            "live_probe_seconds",
            "Time of a probe through Redis and back",
            buckets=TIME_BUCKETS,
            registry=self.registry,
        )

    def on_dropped(self) -> None:
        self.live_dropped.inc()

    def on_malformed(self) -> None:
        self.live_malformed.inc()

    def on_probed(self, seconds: float) -> None:
        self.live_probe_duration.observe(seconds)

    def _add_process_metrics(self) -> None:
        self.reactor_lag = Histogram(
            "reactor_lag_seconds",
            "How late the reactor was for a call it was to make every half second",
            buckets=TIME_BUCKETS,
            registry=self.registry,
        )
        self.wall_clock_difference = Gauge(
            "wall_clock_difference_seconds",
            "Seconds by which the time of day has been set forward since the start; negative: back",
            registry=self.registry,
        )
        self.database_clock_difference = Gauge(
            "database_clock_difference_seconds",
            "Seconds by which the time of day is ahead of the database's; negative: behind",
            registry=self.registry,
        )
        self.turn_work = TurnWorkMetrics()
        self.registry.register(self.turn_work)
        self._dropped_log_lines = _DroppedLogLines()
        self.registry.register(self._dropped_log_lines)
        self.pool_queue = self._gauge("thread_pool_queue", "Tasks waiting for a thread", pool=UNBOUNDED)

    def add_process_log(self, writer: LogWriter) -> None:
        """Show how many lines the log of this process has lost."""
        self._dropped_log_lines.writer = writer

    # Callbacks; each counts one event in all the metrics that show it.

    def on_query(self, operation: str, status: str, seconds: float) -> None:
        """A "read" or "write" ended; one that was "refused" is no error of the database."""
        self.database_queries.labels(operation, "error" if status == "error" else SUCCESS).inc()
        self.database_query_duration.labels(operation).observe(seconds)

    def on_event_dispatched(self, kind: str, delivered: int, failed: int) -> None:
        """An event of one of `EVENT_TYPES` was delivered to so many listeners, and failed for others."""
        self.events_emitted.labels(kind).inc()
        handled, broken = self.events_handled.labels(kind, SUCCESS), self.events_handled.labels(kind, "error")
        if delivered:
            handled.inc(delivered)
        if failed:
            broken.inc(failed)

    def on_request(
        self, method: str, route: str, status: int, seconds: float, received: int, sent: int
    ) -> None:
        """A request was answered; `received` and `sent` are the bytes of the bodies."""
        count, duration, request_size, response_size = self._request_series(method, route, status)
        count.inc()
        duration.observe(seconds)
        request_size.observe(received)
        response_size.observe(sent)

    def _make_request_series(
        self, method: str, route: str, status: int
    ) -> tuple[CounterSeries, HistogramSeries, HistogramSeries, HistogramSeries]:
        return (
            self.http_requests.labels(method, route, str(status)),
            self.http_request_duration.labels(method, route, str(status)),
            self.http_request_size.labels(method, route),
            self.http_response_size.labels(method, route),
        )

    def on_operation(self, kind: str, name: str, status: str, seconds: float, codes: Iterable[str]) -> None:
        """A GraphQL operation was answered, with errors of these codes."""
        self.graphql_operations.labels(kind, name, status).inc()
        self.graphql_operation_duration.labels(kind).observe(seconds)
        for code in codes:
            self.graphql_errors.labels(code).inc()

    # Constructors of metrics.

    def _counter(self, name: str, meaning: str, **labels: Collection[str] | None) -> BoundedCounter:
        return BoundedCounter(self.registry, name, meaning, labels)

    def _gauge(self, name: str, meaning: str, **labels: Collection[str] | None) -> BoundedFamily[Gauge]:
        return BoundedFamily(Gauge(name, meaning, tuple(labels), registry=self.registry).labels, labels)

    def _duration_histogram(
        self, name: str, meaning: str, **labels: Collection[str] | None
    ) -> BoundedHistogram:
        return BoundedHistogram(self.registry, TIME_BUCKETS, name, meaning, labels)

    def _size_histogram(self, name: str, meaning: str, **labels: Collection[str] | None) -> BoundedHistogram:
        return BoundedHistogram(self.registry, SIZE_BUCKETS, name, meaning, labels)
