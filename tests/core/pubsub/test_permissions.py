"""Topic rules and grants as one session meets them: per delivery, on both lanes, and on replay."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import Forbidden
from multiproto.core.identity import Grant, Identity
from multiproto.core.protocol import (
    Authenticate,
    CaughtUp,
    Command,
    Delivery,
    ErrorReply,
    Publish,
    Subscribe,
    Subscribed,
)
from multiproto.core.pubsub.permissions import HISTORY, PUBLISH, SUBSCRIBE, Rule
from multiproto.core.pubsub.policy import DENIED_NOTHING_READABLE, Policy

from ...fakes import RecordingTransport, make_core

RULES = (
    Rule("live.{user}.**", [PUBLISH, SUBSCRIBE]),
    Rule("log.{user}.**", [PUBLISH, SUBSCRIBE, HISTORY]),
    Rule("log.news", [SUBSCRIBE]),
    Rule("log.{device}", [SUBSCRIBE]),
)


class RightsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock, "log.**", policy=Policy(RULES))
        self.successResultOf(self.core.follower.startService())
        grants = (Grant("*.ann.**", [SUBSCRIBE]), Grant("log.pump", [SUBSCRIBE]))
        self.core.authenticator.identities["pump"] = Identity(
            "ann", "s", 1000.0, "pump", grants, deadline=1000.0
        )

    def told(self, name: str, *commands: Command) -> RecordingTransport:
        """What `name` hears of `commands`, and then of what happens."""
        peer = RecordingTransport()
        connection = self.core.hub.admit(peer, "192.0.2.1", self.core.admission())
        for command in (Authenticate(f"token-{name}"), *commands):
            connection.receive(command)
        for _ in range(50):
            self.clock.advance(0)
        del peer.sent[0]
        return peer

    def happen(self, *topics: str) -> None:
        for topic in topics:
            self.core.log.append(1, topic)
        self.core.follower.wake()

    def topics(self, peer: RecordingTransport) -> list[tuple[str, str | None]]:
        """(topic, replay) of all deliveries."""
        return [(said.topic, said.replay_pattern) for said in peer.sent if isinstance(said, Delivery)]


class LiveTests(RightsCase):
    def test_a_wide_pattern_leaks_nothing(self) -> None:
        ann, bob, pump = (self.told(name, Subscribe("**")) for name in ("ann", "bob", "pump"))
        self.told("ann", Publish("live.ann.1", 1), Publish("room", 1))
        self.told("bob", Publish("live.bob.1", 1))
        self.assertEqual(self.topics(ann), [("live.ann.1", None), ("room", None)])
        self.assertEqual(self.topics(bob), [("room", None), ("live.bob.1", None)])
        self.assertEqual(self.topics(pump), [("live.ann.1", None)])

    def test_publishing(self) -> None:
        """Refused with why, and heard by nobody; a grant to read is none to write."""
        ann = self.told("ann", Subscribe("live.**"))
        bob = self.told("bob", Publish("live.ann.1", 1, ref=1), Publish("live.bob.1", 1, ref=2))
        pump = self.told("pump", Publish("live.ann.1", 1, ref=1))
        self.assertEqual(self.topics(ann), [])
        self.assertEqual(
            bob.sent[0],
            ErrorReply(
                Forbidden("Topics under live are ruled, and no rule lets you publish here"), Publish, 1
            ),
        )
        self.assertEqual(
            pump.sent,
            [ErrorReply(Forbidden("The credential that you came with was not given this"), Publish, 1)],
        )

    def test_subscribing_to_nothing(self) -> None:
        peer = self.told("bob", Subscribe("live.ann.**", ref=1), Subscribe("live.ann", ref=2))
        self.assertEqual(
            peer.sent,
            [
                ErrorReply(Forbidden(DENIED_NOTHING_READABLE.why), Subscribe, 1),
                ErrorReply(
                    Forbidden("Topics under live are ruled, and no rule lets you hear this"), Subscribe, 2
                ),
            ],
        )

    def test_the_past_of_a_live_topic(self) -> None:
        """There is none; who may not hear it is told so all the same."""
        peer = self.told("ann", Subscribe("live.ann.*", "cursor0", ref=1), Subscribe("live.ann.*"))
        self.assertEqual(peer.sent[0], ErrorReply(Forbidden(DENIED_NOTHING_READABLE.why), Subscribe, 1))
        self.assertIsInstance(peer.sent[1], Subscribed)


class LoggedTests(RightsCase):
    WRITTEN = ("log.ann.1", "log.bob.1", "log.news", "log.pump", "users")

    def test_what_happens(self) -> None:
        peers = {name: self.told(name, Subscribe("**")) for name in ("ann", "bob", "pump")}
        self.happen(*self.WRITTEN)
        heard = {name: [topic for topic, _ in self.topics(peer)] for name, peer in peers.items()}
        self.assertEqual(
            heard,
            {
                "ann": ["log.ann.1", "log.news", "users"],
                "bob": ["log.bob.1", "log.news", "users"],
                "pump": ["log.ann.1", "log.pump"],
            },
        )

    def test_replay(self) -> None:
        """Without the right to the past, it is left out; a grant must give it, too."""
        self.happen(*self.WRITTEN)
        ann, bob = (self.told(name, Subscribe("**", "cursor0")) for name in ("ann", "bob"))
        self.assertEqual(self.topics(ann), [("log.ann.1", "**"), ("users", "**")])
        self.assertEqual(self.topics(bob), [("log.bob.1", "**"), ("users", "**")])
        self.assertIsInstance(ann.sent[-1], CaughtUp)
        pump = self.told("pump", Subscribe("**", "cursor0", ref=1), Subscribe("**", ref=2))
        self.assertEqual(
            pump.sent[0],
            ErrorReply(Forbidden("The credential that you came with was not given this"), Subscribe, 1),
        )
        self.assertIsInstance(pump.sent[1], Subscribed)

    def test_no_right_to_the_past(self) -> None:
        peer = self.told("ann", Subscribe("log.news", "cursor0", ref=1), Subscribe("log.news", ref=2))
        why = "Topics under log.news are ruled, and no rule lets you hear what was said here before"
        self.assertEqual(peer.sent[0], ErrorReply(Forbidden(why), Subscribe, 1))
        self.happen("log.news")
        self.assertEqual(self.topics(peer), [("log.news", None)])

    def test_what_happens_while_catching_up_is_not_the_past(self) -> None:
        """Nobody misses what they may hear because they asked for the past of something else."""
        self.happen("log.news", "log.ann.1")
        self.core.log.slow = True
        peer = self.told("ann", Subscribe("log.**", "cursor0"))
        self.happen("log.news")
        self.core.log.slow = False
        for _ in range(5):
            self.core.log.release()
            for _ in range(50):
                self.clock.advance(0)
        self.assertEqual(self.topics(peer), [("log.ann.1", "log.**"), ("log.news", "log.**")])

    def test_an_event_is_heard_on_the_first_topic_that_may_be_read(self) -> None:
        peer = self.told("ann", Subscribe("log.**"))
        self.core.log.append(1, "log.bob.1", "log.ann.1", "log.news")
        self.core.follower.wake()
        self.assertEqual(self.topics(peer), [("log.ann.1", None)])
