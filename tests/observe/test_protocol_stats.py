"""The counters of one protocol."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.client_network import client_network
from multiproto.core import errors, protocol
from multiproto.observe.protocol_stats import (
    AUTH_FAILURES,
    COMMAND_LABELS,
    OTHER,
    REFUSAL_NAMES,
    REPLY_LABELS,
    ProtocolStats,
)


class ProtocolStatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.traffic = ProtocolStats("tcp")

    def test_connections_come_and_go(self) -> None:
        """Nothing is kept of an address that has left."""
        traffic = self.traffic
        for host in ("a", "a", "b"):
            traffic.record_connected(client_network(host))
        traffic.record_rejected()
        traffic.record_auth("success")
        self.assertEqual(
            (traffic.active_connections, traffic.authenticated_connections, traffic.connections_by_network),
            (3, 1, {"a": 2, "b": 1}),
        )
        traffic.record_disconnected(client_network("a"), authenticated=True)
        traffic.record_disconnected(client_network("b"), authenticated=False)
        self.assertEqual(
            (traffic.active_connections, traffic.authenticated_connections, traffic.connections_by_network),
            (1, 0, {"a": 1}),
        )
        self.assertEqual(traffic.connections_by_status, {"accepted": 3, "rejected": 1, "closed": 2})

    def test_extending_a_stay_makes_no_second_guest(self) -> None:
        self.traffic.record_auth("success")
        self.traffic.record_auth("success", again=True)
        self.traffic.record_auth("expired")
        self.assertEqual(self.traffic.authenticated_connections, 1)
        self.assertEqual(self.traffic.auth_attempts, 3)

    def test_messages_by_type(self) -> None:
        self.traffic.record_command("Publish")
        self.traffic.record_sent("Delivery", 100)
        self.traffic.record_sent("Pong", 2)
        self.traffic.record_bytes_received(70)
        self.assertEqual(self.traffic.received_by_type["message"], 1)
        self.assertEqual((self.traffic.sent_by_type["message"], self.traffic.sent_by_type["pong"]), (1, 1))
        self.assertEqual((self.traffic.bytes_received, self.traffic.bytes_sent), (70, 102))

    def test_words_from_outside_make_no_labels(self) -> None:
        """The predecessor's fault: raw input became metric labels (docs/predecessor-faults.md#fault-8)."""
        before = [set(each) for each in self.tallies()]
        for word in ("", "DROP TABLE", "x" * 10_000):
            self.traffic.record_command(word)
            self.traffic.record_sent(word, 1)
            self.traffic.record_refusal(word)
            self.traffic.record_auth(word)
            self.traffic.record_command_duration(word, 0.1)
        self.assertEqual([set(each) for each in self.tallies()], before)
        self.assertEqual([each[OTHER] for each in self.tallies()], [3, 3, 3, 3])
        self.assertEqual(sum(self.traffic.durations_by_type[OTHER].bucket_counts), 3)

    def tallies(self) -> list[dict[str, int]]:
        traffic = self.traffic
        return [
            traffic.received_by_type,
            traffic.sent_by_type,
            traffic.refusals_by_name,
            traffic.auth_by_outcome,
        ]

    def test_subscriptions_in_force(self) -> None:
        self.traffic.record_subscribed()
        self.traffic.record_subscribed(3)
        self.traffic.record_unsubscribed(2)
        traffic = self.traffic
        self.assertEqual(
            (traffic.active_subscriptions, traffic.subscribed_total, traffic.unsubscribed_total), (2, 4, 2)
        )

    def test_durations_fall_into_their_buckets(self) -> None:
        for seconds in (0.0001, 0.0005, 0.3, 100.0):
            self.traffic.record_command_duration("Ping", seconds)
        durations = self.traffic.durations_by_type["ping"]
        self.assertEqual(
            (durations.bucket_counts[0], durations.bucket_counts[9], durations.bucket_counts[-1]), (2, 1, 1)
        )
        self.assertAlmostEqual(durations.total, 100.3006)

    def test_every_word_of_the_wire_has_a_label(self) -> None:
        """A new command or reply must not be counted as "other" for want of an entry."""
        commands = {each.__name__ for each in protocol.Command.__args__} - {"BadCommand"}
        replies = {each.__name__ for each in protocol.Reply.__args__}
        self.assertEqual(commands - set(COMMAND_LABELS), set())
        self.assertEqual(replies - set(REPLY_LABELS), set())

    def test_every_refusal_has_a_label(self) -> None:
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "status")]
        self.assertEqual({kind.name for kind in kinds} - set(REFUSAL_NAMES), set())
        self.assertGreater(len(kinds), 10)
        self.assertIn("invalid", AUTH_FAILURES)
