"""What a session does with a peer that says more, or faster, than it may."""

from __future__ import annotations

from multiproto.core.errors import RateLimited
from multiproto.core.leases import Allotment
from multiproto.core.limits import Limits
from multiproto.core.quotas import Quotas
from multiproto.core.rates import Rate
from multiproto.core.wire import (
    Accepted,
    Authenticate,
    Farewell,
    Leave,
    Ping,
    Pong,
    Publish,
    Refused,
    Subscribe,
    Why,
)

from .test_session import SessionCase

FLOODING = Farewell(Why.FLOODING, "Too many commands, in spite of being told")


def too_many(to: type, seconds: float, ref: int | None = None) -> Refused:
    return Refused(RateLimited("Too many commands", retry_after=seconds), to, ref)


class CommandRateTests(SessionCase):
    limits = Limits(commands=Rate(10, 3), inbox=4, auth_within=1000, silence=1000)

    def test_the_limit_and_one_past_it(self) -> None:
        """The connection stays, and serves again as soon as it was said to."""
        self.assertEqual(
            self.say(*[Ping()] * 3, Subscribe("a", ref=4)), [Pong()] * 3 + [too_many(Subscribe, 0.1, 4)]
        )
        self.clock.advance(0.1)
        self.assertEqual(self.say(Ping(), Ping()), [Pong(), too_many(Ping, 0.1)])
        self.assertEqual(self.line.traffic.refused_by["RATE_LIMITED"], 2)

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
        self.assertIsNone(self.session.ended)

    def test_leaving_is_always_allowed(self) -> None:
        self.say(*[Ping()] * 3)
        self.assertEqual(self.say(Leave()), [Farewell(Why.LEFT, "Goodbye")])

    def test_others_are_not_touched(self) -> None:
        self.say(*[Ping()] * 40)
        self.peer, self.session = self.connect()
        self.assertEqual(self.say(Ping()), [Pong()])


class PublishRateTests(SessionCase):
    limits = Limits(commands=Rate(100, 100))

    def setUp(self) -> None:
        super().setUp()
        self.house.publisher._quotas = Quotas(Allotment("user", Rate(10, 2), self.clock))

    def test_all_connections_of_a_user_together(self) -> None:
        refused = Refused(RateLimited("Too many publications by this user", retry_after=0.1), Publish, 2)
        self.say(Authenticate("token-ann"))
        self.assertEqual(self.say(Publish("t", 1, ref=1)), [Accepted(1)])
        self.peer, self.session = self.connect()
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
    limits = Limits(bytes=Rate(1000, 100), inbox=2)

    def test_at_the_limit_and_one_byte_past_it(self) -> None:
        self.session.heard(100)
        self.assertEqual(self.peer.said, [])
        self.session.heard(1)
        self.clock.advance(0.001)
        self.assertEqual(self.peer.said, ["pause", "resume"])

    def test_together_with_an_inbox_that_is_full(self) -> None:
        """Whichever takes longer."""
        self.house.gate.slow = True
        self.session.heard(200)
        for _ in range(3):
            self.session.receive(Authenticate("token-ann"))
        self.clock.advance(1)
        self.assertEqual(self.peer.said, ["pause"])
        for _ in range(2):
            self.house.gate.answer()
            self.clock.advance(0)
        self.assertEqual([said for said in self.peer.said if isinstance(said, str)], ["pause", "resume"])

    def test_nothing_is_left_of_one_who_leaves(self) -> None:
        self.session.heard(200)
        self.session.lost()
        calls = [call.func for call in self.clock.getDelayedCalls()]
        self.assertEqual(len(calls), 1)  # the hub's sweep
