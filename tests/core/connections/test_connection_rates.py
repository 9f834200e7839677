"""What a session does with a peer that says more, or faster, than it may."""

from __future__ import annotations

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.errors import RateLimited
from multiproto.core.protocol import (
    Accepted,
    Authenticate,
    CloseReason,
    EndOfInput,
    ErrorReply,
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

FLOODING = Farewell(CloseReason.FLOODING, "Too many commands, in spite of being told")


def too_many(to: type, seconds: float, ref: int | None = None) -> ErrorReply:
    return ErrorReply(RateLimited("Too many commands", retry_after=seconds), to, ref)


class CommandRateTests(SessionCase):
    limits = ConnectionLimits(
        command_rate=Rate(10, 3), max_queued_commands=4, auth_timeout=1000, idle_timeout=1000
    )

    def test_the_limit_and_one_past_it(self) -> None:
        """The connection stays, and serves again as soon as it was said to."""
        self.assertEqual(
            self.say(*[Ping()] * 3, Subscribe("a", ref=4)), [Pong()] * 3 + [too_many(Subscribe, 0.1, 4)]
        )
        self.clock.advance(0.1)
        self.assertEqual(self.say(Ping(), Ping()), [Pong(), too_many(Ping, 0.1)])
        self.assertEqual(self.admission.stats.refusals_by_name["RATE_LIMITED"], 2)

    def test_what_is_refused_for_another_reason_costs_too(self) -> None:
        self.say(*[Subscribe("a")] * 3)
        self.assertEqual(self.say(Ping()), [too_many(Ping, 0.1)])

    def test_one_who_goes_on_ten_bursts_long_has_to_go(self) -> None:
        said = self.say(*[Ping()] * 33)
        self.assertEqual(said, [Pong()] * 3 + [too_many(Ping, 0.1)] * 30)
        self.assertEqual(self.say(Ping()), [FLOODING])
        self.assertEqual(self.say(Ping()), [])

    def test_one_who_waits_as_told_may_do_so_for_ever(self) -> None:
        for _ in range(500):
            self.say(Ping(), Ping())
            self.clock.advance(1.0)
        self.assertIsNone(self.connection.farewell)

    def test_leaving_is_always_allowed(self) -> None:
        self.say(*[Ping()] * 3)
        self.assertEqual(self.say(EndOfInput()), [Farewell(CloseReason.CLIENT_CLOSED, "Goodbye")])

    def test_others_are_not_touched(self) -> None:
        self.say(*[Ping()] * 40)
        self.peer, self.connection = self.connect()
        self.assertEqual(self.say(Ping()), [Pong()])


class PublishRateTests(SessionCase):
    limits = ConnectionLimits(command_rate=Rate(100, 100))

    def setUp(self) -> None:
        super().setUp()
        self.core.publisher._limits = PublishLimits(SharedBuckets("user", Rate(10, 2), self.clock))

    def test_all_connections_of_a_user_together(self) -> None:
        refused = ErrorReply(RateLimited("Too many publications by this user", retry_after=0.1), Publish, 2)
        self.say(Authenticate("token-ann"))
        self.assertEqual(self.say(Publish("t", 1, ref=1)), [Accepted(1)])
        self.peer, self.connection = self.connect()
        self.say(Authenticate("token-ann"))
        self.assertEqual(
            self.say(Publish("t", 1, ref=1), Publish("t", 1, ref=2), Ping()), [Accepted(1), refused, Pong()]
        )
        self.clock.advance(0.1)
        self.assertEqual(self.say(Publish("t", 1, ref=3)), [Accepted(3)])

    def test_one_that_is_forbidden_costs_too(self) -> None:
        self.say(Authenticate("token-ann"), Publish("users.a", 1), Publish("users.a", 1))
        [refused] = self.say(Publish("t", 1))
        self.assertIsInstance(getattr(refused, "refusal", None), RateLimited)


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
