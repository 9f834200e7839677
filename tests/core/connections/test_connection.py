"""The conversation, told as dialogues; the clock is in our hand."""

from __future__ import annotations

import gc
import math
from functools import partial
from weakref import ref

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.timestamps import format_timestamp
from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.connections.command_queue import LARGE_COMMAND
from multiproto.core.connections.connection import Connection
from multiproto.core.errors import (
    Conflict,
    Forbidden,
    InternalError,
    InvalidFrame,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    ValidationError,
)
from multiproto.core.identity import Grant, Identity
from multiproto.core.protocol import (
    Accepted,
    Authenticate,
    Authenticated,
    BadCommand,
    CloseReason,
    Command,
    Delivery,
    EndOfInput,
    ErrorReply,
    Farewell,
    Ping,
    Pong,
    Publish,
    Subscribe,
    Subscribed,
    TokenExpiring,
    Unsubscribe,
    Unsubscribed,
)
from multiproto.core.pubsub.namespaces import USERS
from multiproto.core.pubsub.permissions import SUBSCRIBE
from multiproto.core.transactions import Entry, Event, Publication
from multiproto.core.turn_scheduler import TURN_BUDGET, TurnScheduler
from multiproto.reactor.turns import TurnMarker

from ...fakes import ManualTurn, RecordingTransport, make_core, make_turns, run_one_turn

EXPIRED = Farewell(CloseReason.TOKEN_EXPIRED, "Token has expired")
SLOW = Farewell(CloseReason.SLOW_CONSUMER, "Reads more slowly than it subscribed")
STRANGER = ErrorReply(Unauthorized("Authentication required"), Subscribe)


def heard(
    topic: str, content: object, sender: str = "ann", connection: str = "id1", id: str = "id3"
) -> Delivery:
    """A delivery of what `sender` published at time 0."""
    return Delivery(topic, content, {"senderId": sender, "senderConnectionId": connection}, 0.0, sender, id)


class PatientBroker:
    """Accepts a publication when it is told to, as a log would."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[None]]] = []

    def publish(self, publication: Publication) -> Deferred[None]:
        self.asked.append((publication.topic, Deferred()))
        return self.asked[-1][1]


@frozen
class TiringBroker:
    """Takes its time over each publication, in the reactor's turn."""

    clock: Clock
    seconds: float

    def publish(self, publication: Publication) -> Deferred[str | None]:
        self.clock.rightNow += self.seconds  # `advance` would run what is due later
        return succeed(None)


def clocked_turns(clock: Clock) -> TurnScheduler:
    turns = TurnScheduler(partial(clock.callLater, 0), clock.seconds, TurnMarker(clock, clock.seconds))
    turns.has_time("")  # the turn begins
    return turns


class SessionCase(SynchronousTestCase):
    limits = ConnectionLimits(
        max_subscriptions=2,
        max_queued_commands=4,
        max_queued_command_bytes=1000,
        max_queued_replies=2,
        max_in_flight=3,
        auth_timeout=10,
        ping_interval=30,
        idle_timeout=60,
    )

    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.admission = self.core.admission(limits=self.limits)
        self.peer, self.connection = self.connect()

    def connect(self) -> tuple[RecordingTransport, Connection]:
        peer = RecordingTransport()
        return peer, self.core.hub.admit(peer, "192.0.2.1", self.admission)

    def say(self, *commands: Command) -> list[object]:
        """Say `commands`; what the peer was told meanwhile."""
        before = len(self.peer.sent)
        for command in commands:
            self.connection.receive(command)
        return list(self.peer.sent[before:])

    def welcome(self) -> None:
        self.assertEqual(self.say(Authenticate("token-ann")), [Authenticated("ann", "id1")])


class DialogueTests(SessionCase):
    def test_dialogue(self) -> None:
        """A peer that authenticates and subscribes hears what is published, itself included."""
        said = self.say(
            Authenticate("token-ann", ref="a"),
            Subscribe("room.*", ref=1),
            Publish("room.1", {"text": "hi"}, {"mood": "good", "senderId": "forged"}, ref=2),
            Unsubscribe("room.*", ref=3),
            Unsubscribe("room.*"),
            Publish("room.1", "unheard"),
            Ping(ref=4),
        )
        self.assertEqual(
            said,
            [
                Authenticated("ann", "id1", "a"),
                Subscribed("room.*", "id2", "live", ref=1),
                Delivery(
                    "room.1",
                    {"text": "hi"},
                    {"mood": "good", "senderId": "ann", "senderConnectionId": "id1"},
                    0.0,
                    "ann",
                    "id3",
                ),
                Accepted(2),
                Unsubscribed("room.*", True, 3),
                Unsubscribed("room.*", False),
                Pong(4),
            ],
        )
        self.assertEqual(self.admission.stats.published_total, 2)

    def test_a_refusal_is_not_kept_by_itself(self) -> None:
        """Of those who send nonsense as fast as they can, nothing is left for the collector of garbage."""
        self.addCleanup(gc.enable)
        gc.disable()
        self.welcome()
        for make_command in (
            lambda: BadCommand(InvalidFrame("odd")),
            lambda: Authenticate("wrong"),
            lambda: Subscribe("us*rs"),
            lambda: Publish("messages", 1),
        ):
            [answer] = self.say(make_command())
            assert isinstance(answer, ErrorReply)
            kept = ref(answer.refusal)
            del answer
            self.peer.sent.clear()
            self.assertIsNone(kept())

    def test_a_lost_connection_is_not_kept_by_itself(self) -> None:
        self.addCleanup(gc.enable)
        gc.disable()
        self.welcome()
        self.say(Subscribe("room.*"), Publish("room.1", 1, ref=1), EndOfInput())
        self.connection.connection_lost()
        kept = ref(self.connection)
        del self.connection
        self.assertIsNone(kept())

    def test_strangers_may_only_authenticate(self) -> None:
        self.assertEqual(
            self.say(Ping(), Subscribe("room.1"), Publish("room.1", 1, ref=7), Unsubscribe("room.1"), Pong()),
            [
                Pong(),
                STRANGER,
                ErrorReply(Unauthorized("Authentication required"), Publish, 7),
                ErrorReply(Unauthorized("Authentication required"), Unsubscribe),
            ],
        )

    def test_order_is_kept_while_authentication_waits(self) -> None:
        """SUBSCRIBE sent right behind AUTH is obeyed after it, not refused before it.

        docs/predecessor-faults.md#fault-22
        """
        self.core.authenticator.slow = True
        self.assertEqual(self.say(Authenticate("token-ann"), Subscribe("room.1")), [])
        self.core.authenticator.release_one()
        self.assertEqual(self.peer.sent, [Authenticated("ann", "id1"), Subscribed("room.1", "id2", "live")])

    def test_a_failed_attempt_may_be_followed_by_another(self) -> None:
        self.assertEqual(
            self.say(Authenticate("forged"), Authenticate("token-ann")),
            [ErrorReply(Unauthorized("Invalid token"), Authenticate), Authenticated("ann", "id1")],
        )
        self.assertEqual(self.admission.stats.auth_by_outcome["invalid"], 1)

    def test_authenticating_again(self) -> None:
        """The same user stays longer; another one is a conflict and changes nothing."""
        self.welcome()
        self.core.authenticator.expires_at = 2000
        self.assertEqual(
            self.say(Authenticate("token-ann"), Authenticate("token-bob")),
            [
                Authenticated("ann", "id1"),
                ErrorReply(Conflict("Already authenticated as another user"), Authenticate),
            ],
        )
        assert self.connection.identity
        self.assertEqual(
            (self.connection.identity.user_id, self.connection.identity.expires_at), ("ann", 2000)
        )
        self.assertEqual(self.admission.stats.authenticated_connections, 1)

    def test_subscription_faults(self) -> None:
        self.welcome()
        self.assertEqual(
            self.say(Subscribe("us*rs"), Subscribe("_own"), Subscribe("a"), Subscribe("a"), Subscribe("b")),
            [
                ErrorReply(ValidationError.for_field("topic", "Not a topic pattern: 'us*rs'"), Subscribe),
                ErrorReply(Forbidden("These topics are the server's own"), Subscribe),
                Subscribed("a", "id2", "live"),
                ErrorReply(Conflict("Already subscribed: a"), Subscribe),
                Subscribed("b", "id3", "live"),
            ],
        )
        self.assertEqual(
            self.say(Subscribe("c")), [ErrorReply(RateLimited("At most 2 subscriptions"), Subscribe)]
        )

    def test_publication_faults(self) -> None:
        """Refused with the request's own id; the session goes on."""
        self.welcome()
        for topic, refusal in [
            ("users.ann", Forbidden("This topic is written by the server only")),
            (
                "messages",
                Forbidden(
                    "This topic is written by the server only: send messages by POST /messages, or sendMessage"
                ),
            ),
            ("_own", Forbidden("This topic is written by the server only")),
            ("a b", ValidationError.for_field("topic", "Not a topic: 'a b'")),
        ]:
            self.assertEqual(self.say(Publish(topic, 1, ref=9)), [ErrorReply(refusal, Publish, 9)])

    def test_the_size_of_a_publication(self) -> None:
        """1,000,000 bytes of encoded data are taken, one more is not."""
        self.welcome()
        fits = "x" * 999_998
        self.assertEqual(self.say(Publish("t", fits, ref=1)), [Accepted(1)])
        self.assertEqual(
            self.say(Publish("t", fits + "x", ref=2)),
            [ErrorReply(TooLarge("Data has at most 1000000 bytes of JSON"), Publish, 2)],
        )
        self.assertEqual(self.say(Publish("t", 1, {"a": "x" * 9992}, ref=3)), [Accepted(3)])
        self.assertEqual(
            self.say(Publish("t", 1, {"a": "x" * 9993}, ref=4)),
            [
                ErrorReply(
                    ValidationError.for_field("metadata", "Must have at most 10000 bytes of JSON"), Publish, 4
                )
            ],
        )

    def test_one_delivery_names_the_overlapping_patterns_that_it_answers(self) -> None:
        self.welcome()
        self.say(Subscribe("room.*", ref=1), Subscribe("room.**"))
        both = heard("room.1", "hi", id="id4").naming(("room.*", "room.**"))
        self.assertEqual(self.say(Publish("room.1", "hi")), [both])
        self.assertEqual(both.patterns, ("room.*", "room.**"))
        self.say(Unsubscribe("room.*"))
        self.assertEqual(self.say(Publish("room.1", "hi")), [heard("room.1", "hi", id="id5")])

    def test_a_client_that_uses_nothing_new_has_a_delivery_for_each_pattern(self) -> None:
        """The predecessor's: its handlers are keyed by topic, and it would not understand more than that."""
        self.welcome()
        self.say(Subscribe("room.*"), Subscribe("room.**"))
        once = heard("room.1", "hi", id="id4")
        self.assertEqual(self.say(Publish("room.1", "hi")), [once, once])

    def test_what_is_new(self) -> None:
        """Each of these is answered, accepted or refused in ways that a client of the predecessor does not know."""
        self.core.authenticator.identities["lamp"] = Identity(
            "ann", "lamp", math.inf, "lamp", (Grant("room.**", {SUBSCRIBE}),)
        )
        for command in (
            Ping(ref=0),
            Subscribe("users", after="cursor0"),
            Publish("room.1", 1, idempotency_key="k"),
            Authenticate("token-lamp"),
            BadCommand(InvalidFrame("not JSON"), ref="x"),
        ):
            self.peer, self.connection = self.connect()
            self.say(
                Authenticate("token-ann"),
                Subscribe("room.1"),
                Publish("room.1", 2),
                Ping(),
                Authenticate("token-ann"),
            )
            self.assertFalse(self.connection.uses_extensions)
            self.say(command)
            self.assertTrue(self.connection.uses_extensions, command)

    def test_unreadable_bytes_are_answered_in_their_turn(self) -> None:
        self.core.authenticator.slow = True
        refusal = InvalidFrame("not JSON")
        self.assertEqual(self.say(Authenticate("token-ann"), BadCommand(refusal, 5), Ping()), [])
        self.core.authenticator.release_one()
        self.assertEqual(
            self.peer.sent, [Authenticated("ann", "id1"), ErrorReply(refusal, BadCommand, 5), Pong()]
        )

    def test_leaving_waits_for_what_was_said_before(self) -> None:
        """Good frames before a bad one are obeyed, even behind a slow AUTH.

        docs/predecessor-faults.md#fault-22
        """
        self.core.authenticator.slow = True
        self.say(
            Authenticate("token-ann"), Subscribe("room.1"), EndOfInput(CloseReason.PROTOCOL_ERROR), Ping()
        )
        self.core.authenticator.release_one()
        self.assertEqual(
            self.peer.sent,
            [
                Authenticated("ann", "id1"),
                Subscribed("room.1", "id2", "live"),
                Farewell(CloseReason.PROTOCOL_ERROR, "The byte stream can't be followed"),
            ],
        )

    def test_a_bug_costs_one_command(self) -> None:
        """It is logged whole, answered without detail, and the session goes on."""

        self.core.authenticator.slow = True
        self.say(Authenticate("token-ann", ref=1), Ping())
        self.core.authenticator.pending[0][1].errback(ZeroDivisionError())
        self.assertEqual(self.peer.sent, [ErrorReply(InternalError(), Authenticate, 1), Pong()])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class PublishingTests(SessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.broker = PatientBroker()
        self.core.publisher._broker = self.broker
        self.welcome()

    def test_submitted_at_once_and_acknowledged_in_order(self) -> None:
        """The second is durable first; its answer waits for the first's."""
        self.assertEqual(self.say(Publish("a", 1, ref=1), Publish("b", 1, ref=2), Publish("c", 1)), [])
        self.assertEqual([topic for topic, _ in self.broker.asked], ["a", "b", "c"])
        self.broker.asked[1][1].callback(None)
        self.broker.asked[2][1].callback(None)
        self.assertEqual(self.peer.sent[1:], [])
        self.broker.asked[0][1].errback(Unavailable("full"))
        self.assertEqual(self.peer.sent[1:], [ErrorReply(Unavailable("full"), Publish, 1), Accepted(2)])

    def test_so_many_outstanding_and_no_more(self) -> None:
        """Three are submitted; the fourth waits for the first, and what is behind it waits too."""
        self.say(*(Publish("t", n, ref=n) for n in range(5)), Ping())
        self.assertEqual(len(self.broker.asked), 3)
        self.broker.asked[0][1].callback(None)
        self.assertEqual(len(self.broker.asked), 4)
        for _ in range(4):
            for _, asked in self.broker.asked:
                if not asked.called:
                    asked.callback(None)
        self.assertEqual(
            [reply for reply in self.peer.sent if isinstance(reply, Accepted)],
            [Accepted(n) for n in range(5)],
        )
        self.assertIn(Pong(), self.peer.sent)

    def test_an_unexpected_failure(self) -> None:
        self.say(Publish("t", 1, ref=1))
        self.broker.asked[0][1].errback(ZeroDivisionError())
        self.assertEqual(self.peer.sent[1:], [ErrorReply(InternalError(), Publish, 1)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_leaving_waits_for_acknowledgements(self) -> None:
        self.assertEqual(self.say(Publish("t", 1, ref=1), EndOfInput()), [])
        self.broker.asked[0][1].callback(None)
        self.assertEqual(self.peer.sent[1:], [Accepted(1), Farewell(CloseReason.CLIENT_CLOSED, "Goodbye")])

    def test_an_answer_for_one_who_left(self) -> None:
        self.say(Publish("t", 1, ref=1))
        self.connection.connection_lost()
        self.broker.asked[0][1].callback(None)
        self.assertEqual(self.peer.sent[1:], [])


class FlowTests(SessionCase):
    def test_reading_pauses_while_too_much_waits(self) -> None:
        """Four commands waiting on a slow gate stop the reading; fewer than half that resume it."""
        self.core.authenticator.slow = True
        self.assertEqual(self.say(Authenticate("token-ann"), *[Ping()] * 4), ["pause"])
        self.core.authenticator.release_one()
        self.assertEqual(
            self.peer.sent,
            ["pause", Authenticated("ann", "id1"), Pong(), Pong(), "resume", Pong(), Pong()],
        )

    def test_reading_pauses_by_bytes(self) -> None:
        self.core.authenticator.slow = True
        self.connection.receive(Authenticate("token-ann"), 50)
        self.connection.receive(Ping(), 999)
        self.assertEqual(self.peer.sent, [])
        self.connection.receive(Ping(), 1)
        self.assertEqual(self.peer.sent, ["pause"])

    def test_a_busy_peer_lets_the_others_have_their_turn(self) -> None:
        """After a turn's budget of work for one peer the rest of what it said waits for the next turn.

        docs/guarantees.md#g9-isolation
        """
        self.welcome()
        self.connection.turns = clocked_turns(self.clock)
        self.core.publisher._broker = TiringBroker(self.clock, TURN_BUDGET * 0.6)
        said = self.say(*(Publish("room.1", n, ref=n) for n in range(5)))
        self.assertEqual(said, [Accepted(0), Accepted(1)])
        self.clock.advance(0)
        self.assertEqual(self.peer.sent[-3:], [Accepted(2), Accepted(3), Accepted(4)])

    def test_a_busy_peer_that_leaves_is_obeyed_no_more(self) -> None:
        self.welcome()
        self.connection.turns = clocked_turns(self.clock)
        self.core.publisher._broker = TiringBroker(self.clock, 0.02)
        self.say(Publish("room.1", 1, ref=1), Publish("room.1", 2, ref=2))
        self.connection.connection_lost()
        self.clock.advance(0)
        self.assertEqual(self.peer.sent[1:], [Accepted(1)])

    def test_a_busy_peer_keeps_nothing_of_what_was_obeyed(self) -> None:
        """A megabyte of JSON may be ten of objects, and each of a hundred peers waits for its turn."""
        self.welcome()
        self.connection.turns = clocked_turns(self.clock)
        self.core.publisher._broker = TiringBroker(self.clock, 0.02)
        command = Publish("room.1", 1, ref=1)
        kept = ref(command)
        self.say(command)
        del command
        self.assertEqual((self.peer.sent[1:], kept()), ([Accepted(1)], None))

    def test_slow_reader_is_dropped(self) -> None:
        """Two deliveries wait for a clogged transport; the third ends the session and leaves nothing."""
        self.welcome()
        self.say(Subscribe("room.1"))
        self.connection.send_queue.pauseProducing()
        self.assertEqual(self.say(*(Publish("room.1", n) for n in range(3))), [SLOW])
        self.assertEqual(self.admission.stats.slow_consumers_total, 1)
        self.assertEqual(self.admission.stats.active_subscriptions, 0)

    def test_nothing_is_read_while_a_first_login_is_checked(self) -> None:
        """Where the wire says so: a larger message may follow a login (docs/common.md#before-authentication)."""
        self.peer.pauses_for_login = True
        self.core.authenticator.slow = True
        self.assertEqual(self.say(Ping(), Authenticate("token-ann", ref=1)), [Pong(), "pause"])
        self.core.authenticator.release_one()
        self.assertEqual(self.peer.sent[2:], [Authenticated("ann", "id1", 1), "resume"])
        self.assertEqual(self.say(Authenticate("token-ann", ref=2)), [])
        self.core.authenticator.release_one()

    def test_a_login_that_is_answered_does_not_stop_the_reading(self) -> None:
        """One that waits for its turn does."""
        self.peer.pauses_for_login = True
        turn = ManualTurn()
        self.connection.turns = make_turns(self.clock, turn)
        refused = ErrorReply(Unauthorized("Invalid token"), Authenticate)
        self.assertEqual(self.say(Authenticate("forged")), [refused])
        turn.seconds += 1.0
        self.assertEqual(self.say(Authenticate("forged")), ["pause"])
        turn.end()
        run_one_turn(self.clock)
        self.assertEqual(self.peer.sent[-2:], [refused, "resume"])

    def test_a_large_command_goes_before_what_else_its_address_asks_for(self) -> None:
        """What it was parsed to is held meanwhile."""
        self.welcome()
        turn = ManualTurn()
        self.connection.turns = make_turns(self.clock, turn)
        for size, expected in ((LARGE_COMMAND - 1, ["frames", Pong()]), (LARGE_COMMAND, [Pong(), "frames"])):
            del self.peer.sent[:]
            turn.seconds += 1.0
            key = self.connection.turn_key
            self.connection.turns.run_later(key, "frames", lambda: self.peer.sent.append("frames"))
            self.connection.receive(Ping(), size)
            turn.end()
            run_one_turn(self.clock)
            done = [each for each in self.peer.sent if each not in ("pause", "resume")]
            self.assertEqual(done, expected)

    def test_how_large_a_message_may_be(self) -> None:
        self.assertEqual(
            (self.connection.message_limit(2**20), self.connection.message_limit(9)), (16 * 1024, 9)
        )
        self.welcome()
        self.assertEqual(self.connection.message_limit(2**20), 2**20)

    def test_an_outbox_is_bounded_in_bytes_too(self) -> None:
        self.peer.reply_size = 2**21 + 1
        self.welcome()
        self.connection.send_queue.pauseProducing()
        self.assertEqual(self.say(Ping()), [])
        self.assertEqual(self.say(Ping()), [SLOW])

    def test_clogged_transport_gets_the_rest_in_order(self) -> None:
        self.welcome()
        self.say(Subscribe("room.1"))
        self.connection.send_queue.pauseProducing()
        self.say(Publish("room.1", 1), Publish("room.1", 2))
        self.connection.send_queue.resumeProducing()
        self.assertEqual([reply.content for reply in self.peer.sent if isinstance(reply, Delivery)], [1, 2])

    def test_leaving_waits_for_a_clogged_transport(self) -> None:
        """A peer that half-closes gets its answers first."""
        self.welcome()
        self.connection.send_queue.pauseProducing()
        self.assertEqual(self.say(Ping(ref=1), EndOfInput()), [])
        self.connection.send_queue.resumeProducing()
        self.assertEqual(self.peer.sent[1:], [Pong(1), Farewell(CloseReason.CLIENT_CLOSED, "Goodbye")])

    def test_a_transport_that_stays_clogged_does_not_keep_who_leaves(self) -> None:
        self.welcome()
        self.connection.send_queue.pauseProducing()
        self.assertEqual(self.say(Ping(), EndOfInput()), [])
        self.clock.pump([1] * 60)
        self.assertEqual(
            self.peer.sent[1:], [Farewell(CloseReason.IDLE_TIMEOUT, "Nothing heard for too long")]
        )

    def test_a_slow_reader_learns_where_to_resume(self) -> None:
        """The cursor of the last event it was sent, not of those it never got."""
        self.welcome()
        self.say(Subscribe("users"))
        self.tell(1)
        self.connection.send_queue.pauseProducing()
        for position in (2, 3, 4):
            self.tell(position)
        self.assertEqual(
            self.peer.sent[-1],
            Farewell(CloseReason.SLOW_CONSUMER, "Reads more slowly than it subscribed", "cursor1"),
        )

    def test_so_it_does_where_the_copies_of_an_event_are_written_at_once(self) -> None:
        self.welcome()
        self.say(Subscribe("users"), Subscribe("users.**"))
        self.peer.writes_batches = True
        self.tell(1)
        self.assertEqual([each.cursor for each in self.peer.sent[-2:]], ["cursor1"] * 2)
        self.connection.send_queue.pauseProducing()
        for position in (2, 3):
            self.tell(position)
        self.assertEqual(self.peer.sent[-1].cursor, "cursor1")
        self.assertEqual(len(self.peer.sent), 6)  # nothing went past the queue

    def tell(self, position: int) -> None:
        event = Event(
            f"e{position}", "user.created", ("users",), {"user": {}}, "u", format_timestamp(0), USERS
        )
        self.core.dispatcher.dispatch_logged(Entry(position, f"cursor{position}", event))


class TimeTests(SessionCase):
    def test_silence(self) -> None:
        """A quiet peer is asked at 30 s, ended at 60 s, cut 5 s later."""
        self.welcome()
        self.clock.pump([1] * 30)
        self.assertEqual(self.peer.sent[1:], [Ping()])
        self.clock.pump([1] * 30)
        self.assertEqual(
            self.peer.sent[2:], [Farewell(CloseReason.IDLE_TIMEOUT, "Nothing heard for too long")]
        )
        self.clock.pump([1] * 5)
        self.assertEqual(self.peer.sent[3:], ["abort"])
        self.connection.connection_lost()
        self.assertEqual(len(self.core.hub), 0)

    def test_who_reads_on_is_cut_five_seconds_after_the_last_progress(self) -> None:
        """It may have megabytes to read before it comes to its farewell."""
        self.welcome()
        self.connection.close(CloseReason.SLOW_CONSUMER)
        for self.peer.acknowledged in (1000, 2000, 3000):
            self.clock.pump([1] * 4)
        self.clock.pump([1] * 1)
        self.assertEqual(self.peer.sent[1:], [SLOW])
        self.clock.advance(1)  # the last came to be seen a second after it came
        self.assertEqual(self.peer.sent[2:], ["abort"])

    def test_but_not_for_ever(self) -> None:
        """A minute in all: one byte now and then does not keep a connection."""
        self.welcome()
        self.connection.close(CloseReason.LOG_REPLACED)
        for self.peer.acknowledged in range(59):
            self.clock.advance(1)
        self.assertNotIn("abort", self.peer.sent)
        self.peer.acknowledged = 60
        self.clock.advance(1)
        self.assertEqual(self.peer.sent[-1], "abort")

    def test_whose_rights_ended_has_five_seconds_whatever_it_reads(self) -> None:
        for reason in (CloseReason.REVOKED, CloseReason.TOKEN_EXPIRED, CloseReason.AUTH_TIMEOUT):
            self.setUp()
            self.welcome()
            self.connection.close(reason)
            for self.peer.acknowledged in range(4):
                self.clock.advance(1)
            self.assertNotIn("abort", self.peer.sent, reason)
            self.peer.acknowledged = 5
            self.clock.advance(1)
            self.assertEqual(self.peer.sent[-1], "abort", reason)

    def test_a_sign_of_life(self) -> None:
        self.welcome()
        self.clock.pump([1] * 59)
        self.connection.on_activity()
        self.clock.pump([1] * 59)
        self.assertFalse(self.connection.farewell)

    def test_nobody_stays_a_stranger(self) -> None:
        """Ten seconds to authenticate, however busy the peer is (docs/predecessor-faults.md#fault-7)."""
        self.clock.pump([1] * 9)
        self.say(Ping())
        self.assertFalse(self.connection.farewell)
        self.clock.advance(1)
        self.assertEqual(
            self.peer.sent[1:], [Farewell(CloseReason.AUTH_TIMEOUT, "Not authenticated in time")]
        )

    def test_expiry(self) -> None:
        """A session does not outlive the token it was opened with, and is told so before."""
        self.welcome()
        self.live_on(1000)
        self.assertEqual(self.news(), [TokenExpiring(1000.0), EXPIRED])

    def test_a_client_that_uses_nothing_new_is_not_warned(self) -> None:
        super().welcome()
        self.live_on(1000)
        self.assertEqual(self.news(), [EXPIRED])

    def welcome(self) -> None:
        super().welcome()
        self.assertEqual(self.say(Ping(ref="new")), [Pong("new")])
        self.peer.sent.pop()

    def live_on(self, seconds: int) -> None:
        for _ in range(seconds):
            self.connection.on_activity()
            self.clock.advance(1)

    def news(self) -> list[object]:
        """All that was said behind the welcome but pings."""
        return [said for said in self.peer.sent[1:] if said != Ping()]

    def test_it_is_warned_a_minute_before_the_end_and_once(self) -> None:
        self.welcome()
        self.live_on(939)
        self.assertEqual(self.news(), [])
        self.live_on(1)
        self.assertEqual(self.news(), [TokenExpiring(1000.0)])
        self.live_on(59)
        self.assertEqual(self.news(), [TokenExpiring(1000.0)])

    def test_a_token_of_a_short_life_is_warned_of_in_its_last_tenth(self) -> None:
        self.core.authenticator.expires_at = 20.0
        self.welcome()
        self.live_on(17)
        self.assertEqual(self.news(), [])
        self.live_on(1)
        self.assertEqual(self.news(), [TokenExpiring(20.0)])

    def test_a_token_of_no_time_at_all_is_warned_of_two_seconds_ahead(self) -> None:
        self.core.authenticator.expires_at = 5.0
        self.welcome()
        self.live_on(3)
        self.assertEqual(self.news(), [TokenExpiring(5.0)])

    def test_a_fresh_token_extends_the_session_and_arms_the_warning_again(self) -> None:
        """What it subscribed to stays, over the end of the first token."""
        self.welcome()
        self.say(Subscribe("room.1"))
        self.live_on(950)
        self.core.authenticator.expires_at = 2000.0
        self.say(Authenticate("token-ann"))
        self.live_on(60)
        self.say(Publish("room.1", "on"))
        self.live_on(990)
        self.assertEqual(
            [said for said in self.news() if not isinstance(said, (Subscribed, Delivery))],
            [TokenExpiring(1000.0), Authenticated("ann", "id1"), TokenExpiring(2000.0), EXPIRED],
        )
        self.assertEqual([said.content for said in self.news() if isinstance(said, Delivery)], ["on"])

    def test_the_same_token_again_is_no_news(self) -> None:
        self.welcome()
        self.live_on(950)
        self.say(Authenticate("token-ann"))
        self.live_on(40)
        self.assertEqual(self.news(), [TokenExpiring(1000.0), Authenticated("ann", "id1")])

    def test_a_session_without_end_is_not_warned(self) -> None:
        self.core.authenticator.expires_at = float("inf")
        self.welcome()
        self.live_on(100)
        self.assertEqual(self.news(), [])

    def test_not_by_a_single_delivery(self) -> None:
        """Between two looks at the clock, what is published after the token's end is not delivered."""
        self.welcome()
        self.say(Subscribe("room.1"))
        other, connection = self.connect()
        self.clock.rightNow = 1000.0
        self.core.authenticator.expires_at = 2000
        connection.receive(Authenticate("token-bob"))
        connection.receive(Publish("room.1", "late"))
        self.assertEqual(self.peer.sent[2:], [EXPIRED])

    def test_not_by_a_single_command(self) -> None:
        self.welcome()
        self.clock.rightNow = 1000.0
        self.assertEqual(self.say(Publish("room.1", "late", ref=1)), [EXPIRED])
        self.assertEqual(self.admission.stats.published_total, 0)

    def test_not_by_a_command_that_waited(self) -> None:
        """What stood behind a slow answer is not obeyed when the token has ended meanwhile."""
        self.welcome()
        self.core.authenticator.slow = True
        self.say(Authenticate("forged"), Authenticate("token-ann"), Publish("room.1", "late", ref=1))
        self.clock.rightNow = 1000.0
        self.core.authenticator.release_one()
        self.clock.advance(0)
        self.assertEqual(self.peer.sent[-1], EXPIRED)
        self.assertEqual(self.admission.stats.published_total, 0)


class EndTests(SessionCase):
    def test_an_ended_session_says_and_hears_nothing(self) -> None:
        self.welcome()
        self.say(Subscribe("room.1"))
        self.connection.close(CloseReason.REVOKED)
        self.connection.close(CloseReason.SHUTDOWN)
        self.assertEqual(self.say(Ping(), Publish("room.1", 1)), [])
        self.assertEqual(self.peer.sent[-1], Farewell(CloseReason.REVOKED, "Token revoked"))

    def test_nothing_of_it_is_left(self) -> None:
        """No subscription and no count outlives its connection (docs/predecessor-faults.md#fault-4)."""
        self.welcome()
        self.say(Subscribe("room.1"), Subscribe("room.**"))
        self.connection.connection_lost()
        self.connection.connection_lost()
        traffic = self.admission.stats
        self.assertEqual(self.core.dispatcher._tree.match("room.1"), [])
        self.assertEqual(
            (traffic.active_connections, traffic.authenticated_connections, traffic.active_subscriptions),
            (0, 0, 0),
        )
        self.assertEqual(traffic.connections_by_network, {})

    def test_lost_while_authentication_waits(self) -> None:
        self.core.authenticator.slow = True
        self.say(Authenticate("token-ann"), Subscribe("room.1"))
        self.connection.connection_lost()
        self.core.authenticator.release_one()
        self.assertEqual(self.peer.sent, [])
        self.assertEqual(self.core.dispatcher._tree.match("room.1"), [])
        self.assertEqual(self.admission.stats.authenticated_connections, 0)
