"""The table of metrics, as Prometheus sees it."""

from __future__ import annotations

import re

from prometheus_client import generate_latest
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.client_network import client_network
from multiproto.observe import bounded_labels
from multiproto.observe.metrics import OUTCOMES, Metrics
from multiproto.observe.protocol_stats import ProtocolStats
from multiproto.observe.reactor_lag import ReactorLag

# Those of docs/metrics.md that the predecessor had, with their labels.
CONTRACT = """
http_requests_total{method,path,status} http_request_duration_seconds{method,path,status}
http_request_size_bytes{method,path} http_response_size_bytes{method,path}
active_connections events_emitted_total{event_type} events_handled_total{event_type,status}
database_queries_total{operation,status} database_query_duration_seconds{operation} database_connections_active
cache_hits_total cache_misses_total cache_operation_duration_seconds{operation}
auth_attempts_total{method} auth_success_total{method} auth_failures_total{method,reason}
tcp_connections_total{status} tcp_connections_active
tcp_messages_received_total{type} tcp_messages_sent_total{type} tcp_bytes_received_total tcp_bytes_sent_total
tcp_frames_parsed_total tcp_frame_errors_total{error_type} tcp_message_duration_seconds{type}
websocket_connections_total{status} websocket_connections_active
websocket_messages_received_total{type} websocket_messages_sent_total{type}
websocket_bytes_received_total websocket_bytes_sent_total
websocket_frames_parsed_total websocket_frame_errors_total{error_type} websocket_message_duration_seconds{type}
graphql_operations_total{operation_type,operation_name,status} graphql_operation_duration_seconds{operation_type}
graphql_errors_total{code} deliveries_total{protocol} slow_consumers_total{protocol}
log_position log_lag_entries reactor_lag_seconds turn_work_seconds_total{work} turn_waits_total{work} thread_pool_queue{pool}
process_cpu_seconds_total python_gc_collections_total{generation}
"""


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = Metrics()
        self.tcp = self.metrics.add_protocol(ProtocolStats("tcp"))
        self.websocket = self.metrics.add_protocol(ProtocolStats("websocket"))

    def text(self) -> str:
        return generate_latest(self.metrics.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def one_of_each(self) -> None:
        metrics = self.metrics
        metrics.on_request("GET", "/users/:id", 200, 0.1, 10, 20)
        metrics.on_event_dispatched("user.created", 3, 1)
        metrics.on_query("read", "refused", 0.1)
        metrics.on_operation("query", "", "success", 0.1, ["FORBIDDEN"])
        metrics.cache_operation_duration.labels("get").observe(0.1)
        metrics.auth("password", "success")
        metrics.auth("token", "expired")
        metrics.pool_queue.labels("passwords").set(3)

    def test_every_name_of_the_contract_with_its_labels(self) -> None:
        self.one_of_each()
        shown: dict[str, set[str]] = {}
        for line in self.text().splitlines():
            if not line.startswith("#"):
                found = re.match(r"(\w+?)(_bucket|_sum|_count)?(?:\{(.*)\})? ", line)
                assert found
                labels = set(re.findall(r'(\w+)="', found[3] or "")) - {"le"}
                shown[found[1]] = labels
        for name, labels in re.findall(r"(\w+)(?:\{([\w,]+)\})?", CONTRACT):
            self.assertEqual(shown.get(name), set(filter(None, labels.split(","))), name)

    def test_a_client_makes_no_label_values(self) -> None:
        """The predecessor's fault: raw paths and words became labels (docs/predecessor-faults.md#fault-8)."""
        self.metrics.on_request("BREW", "/x", 418, 0.1, 0, 0)
        self.metrics.on_operation("query", "EvilName", "success", 0.1, ["EVIL"])
        self.metrics.auth("magic", "spell")
        self.metrics.on_event_dispatched("evil", 1, 0)
        for word in ("BREW", "EvilName", "magic", "spell", "evil", "EVIL"):
            self.assertNotIn(word, self.text())
        self.assertEqual(self.value("http_requests_total", method="other", path="/x", status="418"), 1)
        self.assertEqual(self.value("auth_failures_total", method="other", reason="other"), 1)

    def test_a_refusal_is_no_error_of_the_database(self) -> None:
        for status in ("success", "refused", "error"):
            self.metrics.on_query("write", status, 0.1)
        statuses = {
            each: self.value("database_queries_total", operation="write", status=each) for each in OUTCOMES
        }
        self.assertEqual(statuses, {"success": 2, "error": 1})

    def test_an_event_and_who_heard_it(self) -> None:
        self.metrics.on_event_dispatched("message.sent", 3, 1)
        self.metrics.on_event_dispatched("message.sent", 0, 0)
        self.assertEqual(self.value("events_emitted_total", event_type="message.sent"), 2)
        self.assertEqual(
            self.metrics.events_handled.totals(),
            {("message.sent", "success"): 3, ("message.sent", "error"): 1},
        )

    def test_an_open_label_gone_wrong_is_bounded(self) -> None:
        self.patch(bounded_labels, "MAX_SERIES", 3)
        for number in range(10):
            self.metrics.database_query_duration.labels(f"statement {number}").observe(0.1)
        self.assertEqual(self.value("database_query_duration_seconds_count", operation="other"), 7)
        self.metrics.database_query_duration.labels("statement 0").observe(0.1)
        self.assertEqual(self.value("database_query_duration_seconds_count", operation="statement 0"), 2)

    def test_wires_are_shown_as_they_count(self) -> None:
        """The predecessor's fault: metrics that were declared and never moved.

        docs/predecessor-faults.md#fault-27
        """
        self.tcp.record_connected(client_network("a"))
        self.websocket.record_connected(client_network("a"))
        self.websocket.record_connected(client_network("b"))
        self.websocket.record_sent("Delivery", 100)
        self.websocket.record_slow_consumer()
        self.websocket.record_refusal("TCP_INVALID_FRAME")
        self.websocket.record_command_duration("Publish", 0.002)
        self.websocket.record_command_duration("Publish", 60.0)
        self.assertEqual(self.value("active_connections"), 3)
        self.assertEqual(self.value("tcp_connections_active"), 1)
        self.assertEqual(self.value("websocket_messages_sent_total", type="message"), 1)
        self.assertEqual(self.value("deliveries_total", protocol="websocket"), 1)
        self.assertEqual(self.value("slow_consumers_total", protocol="websocket"), 1)
        self.assertEqual(self.value("websocket_frame_errors_total", error_type="TCP_INVALID_FRAME"), 1)
        name = "websocket_message_duration_seconds"
        self.assertEqual(self.value(f"{name}_bucket", type="message", le="0.0025"), 1)
        self.assertEqual(self.value(f"{name}_bucket", type="message", le="+Inf"), 2)
        self.assertEqual(self.value(f"{name}_sum", type="message"), 60.002)

    def test_servers_do_not_share_counters(self) -> None:
        other = Metrics()
        other.auth("password", "success")
        self.assertIsNone(self.value("auth_attempts_total", method="password"))

    def test_gauges_may_be_asked(self) -> None:
        self.metrics.log_lag.set_function(lambda: 7)
        self.assertEqual(self.value("log_lag_entries"), 7)


class ReactorLagTests(SynchronousTestCase):
    def test_how_late_the_reactor_was(self) -> None:
        """A reactor that is held up for a quarter of a second shows it."""
        metrics, clock = Metrics(), Clock()
        tick = ReactorLag(clock, metrics.reactor_lag)
        tick.startService()
        clock.advance(0.5)
        clock.advance(0.75)
        value = metrics.registry.get_sample_value
        self.assertEqual(value("reactor_lag_seconds_count"), 2)
        self.assertEqual(value("reactor_lag_seconds_sum"), 0.25)
        tick.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
