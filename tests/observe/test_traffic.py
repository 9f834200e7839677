"""The counters of one protocol."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core import errors, wire
from multiproto.observe.traffic import AUTH_FAILURES, OTHER, RECEIVED, REFUSALS, SENT, Traffic


class TrafficTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.traffic = Traffic("tcp")

    def test_connections_come_and_go(self) -> None:
        """Nothing is kept of an address that has left."""
        traffic = self.traffic
        for host in ("a", "a", "b"):
            traffic.connected(host)
        traffic.rejected()
        traffic.auth("success")
        self.assertEqual((traffic.active, traffic.authenticated, traffic.by_host), (3, 1, {"a": 2, "b": 1}))
        traffic.disconnected("a", authenticated=True)
        traffic.disconnected("b", authenticated=False)
        self.assertEqual((traffic.active, traffic.authenticated, traffic.by_host), (1, 0, {"a": 1}))
        self.assertEqual(traffic.connections, {"accepted": 3, "rejected": 1, "closed": 2})

    def test_extending_a_stay_makes_no_second_guest(self) -> None:
        self.traffic.auth("success")
        self.traffic.auth("success", again=True)
        self.traffic.auth("expired")
        self.assertEqual(self.traffic.authenticated, 1)
        self.assertEqual(self.traffic.auth_attempts, 3)

    def test_messages_by_type(self) -> None:
        self.traffic.received("Publish")
        self.traffic.sent("Delivery", 100)
        self.traffic.sent("Pong", 2)
        self.traffic.read(70)
        self.assertEqual(self.traffic.received_by["message"], 1)
        self.assertEqual((self.traffic.sent_by["message"], self.traffic.sent_by["pong"]), (1, 1))
        self.assertEqual((self.traffic.bytes_received, self.traffic.bytes_sent), (70, 102))

    def test_words_from_outside_make_no_labels(self) -> None:
        """Fault 8: raw input became metric labels."""
        before = [set(each) for each in self.tallies()]
        for word in ("", "DROP TABLE", "x" * 10_000):
            self.traffic.received(word)
            self.traffic.sent(word, 1)
            self.traffic.refused(word)
            self.traffic.auth(word)
            self.traffic.took(word, 0.1)
        self.assertEqual([set(each) for each in self.tallies()], before)
        self.assertEqual([each[OTHER] for each in self.tallies()], [3, 3, 3, 3])
        self.assertEqual(sum(self.traffic.durations[OTHER].counts), 3)

    def tallies(self) -> list[dict[str, int]]:
        traffic = self.traffic
        return [traffic.received_by, traffic.sent_by, traffic.refused_by, traffic.auth_by]

    def test_subscriptions_in_force(self) -> None:
        self.traffic.subscribed()
        self.traffic.subscribed(3)
        self.traffic.unsubscribed(2)
        traffic = self.traffic
        self.assertEqual(
            (traffic.subscriptions, traffic.subscribed_total, traffic.unsubscribed_total), (2, 4, 2)
        )

    def test_durations_fall_into_their_buckets(self) -> None:
        for seconds in (0.0001, 0.0005, 0.3, 100.0):
            self.traffic.took("Ping", seconds)
        durations = self.traffic.durations["ping"]
        self.assertEqual((durations.counts[0], durations.counts[9], durations.counts[-1]), (2, 1, 1))
        self.assertAlmostEqual(durations.total, 100.3006)

    def test_every_word_of_the_wire_has_a_label(self) -> None:
        """A new command or reply must not be counted as "other" for want of an entry."""
        commands = {each.__name__ for each in wire.Command.__args__} - {"Unreadable"}
        replies = {each.__name__ for each in wire.Reply.__args__}
        self.assertEqual(commands - set(RECEIVED), set())
        self.assertEqual(replies - set(SENT), set())

    def test_every_refusal_has_a_label(self) -> None:
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "status")]
        self.assertEqual({kind.name for kind in kinds} - set(REFUSALS), set())
        self.assertGreater(len(kinds), 10)
        self.assertIn("invalid", AUTH_FAILURES)
