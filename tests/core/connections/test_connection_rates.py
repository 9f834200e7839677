"""What a session does with a peer that says more, or faster, than it may."""

from __future__ import annotations

from attrs import evolve

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.protocol import (
    Accepted,
    Authenticate,
    CloseReason,
    EndOfInput,
    Farewell,
    Ping,
    Pong,
    Publish,
    Subscribe,
)
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate

from .test_connection import SessionCase


class CommandRateTests(SessionCase):
    """Over its rate a peer is read more slowly, and nothing that it sent is refused."""

    limits = ConnectionLimits(
        command_rate=Rate(10, 3),
        max_queued_commands=4,
        auth_timeout=1000,
        idle_timeout=60,
        ping_interval=1000,
    )

    def test_the_limit_and_one_past_it(self) -> None:
        self.assertEqual(self.say(*[Ping()] * 3), [Pong()] * 3)
        self.assertEqual(self.say(Subscribe("a", ref=4))[0], "pause")
        self.clock.advance(0.09)
        self.assertNotIn("resume", self.peer.sent)
        self.clock.advance(0.02)
        self.assertEqual(self.peer.sent[-1], "resume")
        self.clock.advance(0.09)
        self.assertEqual(self.say(Ping()), [Pong()])
        self.assertEqual(self.admission.stats.refusals_by_name["RATE_LIMITED"], 0)

    def test_what_is_refused_for_another_reason_costs_too(self) -> None:
        self.say(*[Subscribe("a")] * 3)
        self.assertEqual(self.say(Ping()), ["pause", Pong()])

    def test_a_fast_peer_is_paused_fifty_times_a_second_at_most(self) -> None:
        """Its bucket gathers some commands meanwhile, and it is no slower for it."""
        self.admission = self.core.admission(limits=ConnectionLimits(command_rate=Rate(1000, 100)))
        self.peer, self.connection = self.connect()
        self.say(*[Ping()] * 100)
        sent = 100
        for _ in range(1000):  # a second
            while self.peer.sent.count("pause") == self.peer.sent.count("resume"):
                self.connection.receive(Ping())
                sent += 1
            self.clock.advance(0.001)
        self.assertLessEqual(self.peer.sent.count("pause"), 50)
        self.assertTrue(1075 <= sent <= 1101, sent)

    def test_leaving_is_always_allowed(self) -> None:
        self.say(*[Ping()] * 3)
        self.assertEqual(self.say(EndOfInput()), [Farewell(CloseReason.CLIENT_CLOSED, "Goodbye")])

    def test_others_are_not_touched(self) -> None:
        self.say(*[Ping()] * 40)
        self.peer, self.connection = self.connect()
        self.assertEqual(self.say(Ping()), [Pong()])

    def test_one_that_is_not_read_counts_as_alive(self) -> None:
        """And has its whole time again once it is read."""
        self.say(*[Ping()] * 1003)  # 100 s
        self.clock.pump([1] * 100)
        self.assertEqual((self.peer.sent[-1], self.connection.farewell), ("resume", None))
        self.clock.pump([1] * 58)
        self.assertIsNone(self.connection.farewell)
        self.clock.pump([1] * 3)
        self.assertEqual(self.peer.sent[-1], Farewell(CloseReason.IDLE_TIMEOUT, "Nothing heard for too long"))


class PublishRateTests(SessionCase):
    limits = ConnectionLimits(max_queued_commands=4, idle_timeout=60)

    def setUp(self) -> None:
        super().setUp()
        self.limit(by_user=SharedBuckets("user", Rate(10, 2), self.clock))

    def limit(self, **buckets: SharedBuckets) -> None:
        self.core.publisher.limits = PublishLimits(**buckets)

    def publish(self, *refs: int) -> list[object]:
        return self.say(*(Publish("t", 1, ref=ref) for ref in refs))

    def test_the_limit_and_one_past_it(self) -> None:
        """What comes behind it waits with it, in order."""
        self.welcome()
        self.assertEqual(self.publish(1, 2, 3), [Accepted(1), Accepted(2)])
        self.assertEqual(self.say(Ping()), [])
        self.clock.advance(0.09)
        self.assertEqual(self.peer.sent[-1], Accepted(2))
        self.clock.advance(0.02)
        self.assertEqual(self.peer.sent[-2:], [Accepted(3), Pong()])

    def test_no_more_is_read_ahead_than_ever(self) -> None:
        self.welcome()
        self.assertEqual(self.publish(1, 2, 3, 4, 5, 6), [Accepted(1), Accepted(2)])
        self.assertEqual(self.publish(7), ["pause"])
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.peer.sent[-2:], [Accepted(5), "resume"])

    def test_all_connections_of_a_user_take_turns(self) -> None:
        """One that sends all the time does not keep another from its own."""
        self.welcome()
        self.publish(*range(40))
        first = self.peer
        self.peer, self.connection = self.connect()
        self.say(Authenticate("token-ann"))
        self.publish(*range(40))
        self.clock.pump([0.1] * 20)
        counts = [sum(isinstance(said, Accepted) for said in peer.sent) for peer in (first, self.peer)]
        self.assertEqual(counts, [12, 10])

    def test_other_users_are_not_touched(self) -> None:
        self.welcome()
        self.publish(*range(10))
        self.peer, self.connection = self.connect()
        self.say(Authenticate("token-bob"))
        self.assertEqual(self.publish(1), [Accepted(1)])

    def test_one_that_is_forbidden_costs_too(self) -> None:
        self.welcome()
        self.say(Publish("users.a", 1), Publish("users.a", 1))
        self.assertEqual(self.publish(1), [])

    def test_what_waits_counts_as_alive(self) -> None:
        self.limit(by_user=SharedBuckets("user", Rate(0.01, 1), self.clock))
        self.welcome()
        self.publish(*range(8))
        self.clock.pump([1] * 99)
        self.assertIsNone(self.connection.farewell)
        self.clock.pump([1] * 2)
        self.assertEqual(self.peer.sent[-1], Accepted(1))

    def test_a_farewell_does_not_wait(self) -> None:
        """A revocation, an expiry, a shutdown; and nothing that waited is published."""
        for end in (
            lambda: self.connection.close(CloseReason.REVOKED),
            lambda: self.core.hub.stopService(),
            lambda: self.connection.connection_lost(),
        ):
            with self.subTest(end=end):
                self.setUp()
                self.welcome()
                self.publish(*range(5))
                end()
                told = list(self.peer.sent)
                self.assertIsNotNone(self.connection.farewell)
                self.clock.pump([0.1] * 10)
                self.assertEqual((self.peer.sent, self.admission.stats.published_total), (told, 2))

    def test_a_token_that_expires_meanwhile(self) -> None:
        self.limit(by_user=SharedBuckets("user", Rate(0.01, 1), self.clock))
        self.welcome()
        self.publish(1, 2)
        identity = self.connection.identity
        assert identity is not None
        self.connection.identity = evolve(identity, deadline=self.clock.seconds() + 5)
        self.clock.pump([1] * 5)
        self.assertEqual(self.peer.sent[-1], Farewell(CloseReason.TOKEN_EXPIRED, "Token has expired"))

    def test_bytes_that_one_user_publishes(self) -> None:
        """At the limit and one byte past it: the next one waits."""
        self.limit(bytes_by_user=SharedBuckets("user-bytes", Rate(10, 6), self.clock))
        self.welcome()
        self.assertEqual(self.say(Publish("t", "abcd", ref=1)), [Accepted(1)])  # six bytes, with the quotes
        self.assertEqual(self.publish(2, 3), [Accepted(2)])
        self.clock.advance(0.09)
        self.assertEqual(self.peer.sent[-1], Accepted(2))
        self.clock.advance(0.02)
        self.assertEqual(self.peer.sent[-1], Accepted(3))


class ByteRateTests(SessionCase):
    limits = ConnectionLimits(read_rate=Rate(1000, 100), max_queued_commands=2)

    def test_at_the_limit_and_one_byte_past_it(self) -> None:
        self.connection.on_activity(100)
        self.assertEqual(self.peer.sent, [])
        self.connection.on_activity(1)
        self.clock.advance(0.001)
        self.assertEqual(self.peer.sent, ["pause", "resume"])

    def test_together_with_an_inbox_that_is_full(self) -> None:
        """Whichever takes longer."""
        self.core.authenticator.slow = True
        self.connection.on_activity(200)
        for _ in range(3):
            self.connection.receive(Authenticate("token-ann"))
        self.clock.advance(1)
        self.assertEqual(self.peer.sent, ["pause"])
        for _ in range(2):
            self.core.authenticator.release_one()
            self.clock.advance(0)
        self.assertEqual([said for said in self.peer.sent if isinstance(said, str)], ["pause", "resume"])

    def test_nothing_is_left_of_one_who_leaves(self) -> None:
        self.connection.on_activity(200)
        self.connection.connection_lost()
        calls = [call.func for call in self.clock.getDelayedCalls()]
        self.assertEqual(len(calls), 1)  # the hub's sweep
