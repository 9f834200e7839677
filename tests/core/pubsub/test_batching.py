"""What is published in one turn, told at its end."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.connections.connection import Connection
from multiproto.core.errors import ValidationError
from multiproto.core.ports import DeliveryBatchListener
from multiproto.core.protocol import (
    MAX_BATCH_BYTES,
    Accepted,
    Authenticate,
    Authenticated,
    BadCommand,
    CloseReason,
    Delivery,
    DeliveryBatch,
    ErrorReply,
    Farewell,
    Ping,
    Pong,
    Publish,
    Reply,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from multiproto.core.pubsub.batching import (
    FIRST_BATCH,
    MAX_BATCH,
    MAX_SINGLE_DELIVERIES,
    MAX_TRACKED_TOPICS,
    TURN_BUDGET,
    UNBATCHED_FOR,
    WIRE_OVERHEAD,
    PublicationBatcher,
)
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.log_freshness import LogFreshness
from multiproto.core.transactions import Publication

from ...fakes import RecordingTransport, make_core
from .test_dispatcher import Ear

LIVE = ConnectionLimits(max_queued_replies=3)


class BurstPeer(RecordingTransport):
    """Takes bursts at once, and says where they were."""

    def send_batch(self, burst: DeliveryBatch) -> int:
        self.sent += ["at once", *burst.deliveries]
        return self.reply_size * len(burst.deliveries)


class Choir(Ear, DeliveryBatchListener):
    def deliver_batch(self, burst: DeliveryBatch) -> bool | None:
        if self.broken:
            raise ZeroDivisionError
        self.heard += burst.deliveries
        return burst.topic not in self.deaf_to


def publication(topic: str, content: object = None, size: int = 0) -> Publication:
    return Publication("p", topic, content, {}, "ann", 0.0, size)


def contents(said: list[object]) -> list[object]:
    """What deliveries hold, and everything else as it is."""
    return [each.content if isinstance(each, Delivery) else each for each in said]


class PublicationBatcherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.bursts: list[list[object]] = []
        self.took = 0.0  # seconds of each
        self.singly = 0  # listeners that took them one by one
        self.gathering = PublicationBatcher(self.tell, self.clock)

    def tell(self, told: object) -> int:
        self.bursts.append([each.content for each in told])  # type: ignore[attr-defined]
        self.clock.rightNow += self.took
        return self.singly

    def test_in_order_those_on_one_topic_together(self) -> None:
        self.bursts.clear()
        told = [self.gathering.enqueue(publication(topic, n)) for n, topic in enumerate("aabba")]
        self.assertEqual(self.bursts, [])
        self.assertNoResult(told[0])
        self.clock.advance(0)
        self.assertEqual(self.bursts, [[0, 1], [2, 3], [4]])
        for each in told:
            self.successResultOf(each)

    def test_a_publisher_that_leaves_holds_up_nobody(self) -> None:
        """Those who wait until all is delivered wait no longer, and no shorter, when the last publisher is cancelled."""
        last = self.gathering.enqueue(publication("a", 1))
        before = self.gathering.flushed()
        last.cancel()
        self.failureResultOf(last, CancelledError)
        after = self.gathering.flushed()
        self.assertNoResult(before)
        self.assertNoResult(after)
        self.clock.advance(0)
        self.assertEqual(self.bursts, [[1]])
        self.successResultOf(before)
        self.successResultOf(after)
        self.successResultOf(self.gathering.flushed())

    def test_the_size_of_a_burst_and_one_more(self) -> None:
        """And of the first on a topic, when nobody knows how many hear it one by one."""
        for bursts in ([FIRST_BATCH, MAX_BATCH - FIRST_BATCH + 1], [MAX_BATCH, 1]):
            self.bursts.clear()
            for n in range(MAX_BATCH + 1):
                self.gathering.enqueue(publication("a", n))
            self.clock.advance(0)
            self.assertEqual([len(burst) for burst in self.bursts], bursts)
        self.clock.advance(UNBATCHED_FOR)
        for topic in ("a", "b"):
            self.bursts.clear()
            for n in range(FIRST_BATCH + 1):
                self.gathering.enqueue(publication(topic, n))
            self.clock.advance(0)
            self.assertEqual([len(burst) for burst in self.bursts], [FIRST_BATCH, 1])

    def test_what_is_known_of_topics_is_bounded(self) -> None:
        for count, burst in ((MAX_TRACKED_TOPICS, MAX_BATCH), (MAX_TRACKED_TOPICS + 1, FIRST_BATCH)):
            for n in range(count):
                self.gathering.enqueue(publication(str(n))), self.gathering.enqueue(publication(str(n)))
            self.clock.pump([0.0] * 20)
            self.bursts.clear()
            for n in range(MAX_BATCH):
                self.gathering.enqueue(publication("0", n))
            self.clock.pump([0.0])
            self.assertEqual(len(self.bursts[0]), burst)

    def test_no_more_bytes_than_may_be_written_at_once(self) -> None:
        half = MAX_BATCH_BYTES // 2 - WIRE_OVERHEAD
        for sizes, bursts in (((half, half), 1), ((half, half + 1), 2), ((MAX_BATCH_BYTES * 2, 0), 2)):
            self.bursts.clear()
            for size in sizes:
                self.gathering.enqueue(publication("a", size, size))
            self.clock.advance(0)
            self.assertEqual(len(self.bursts), bursts, sizes)

    def test_no_bursts_for_a_while_where_many_hear_them_one_by_one(self) -> None:
        for self.singly, bursts in (
            (MAX_SINGLE_DELIVERIES, [2]),
            (MAX_SINGLE_DELIVERIES + 1, [2]),
            (0, [1, 1]),
        ):
            self.bursts.clear()
            self.gathering.enqueue(publication("a")), self.gathering.enqueue(publication("a"))
            self.clock.advance(0)
            self.assertEqual([len(burst) for burst in self.bursts], bursts)
        self.clock.advance(UNBATCHED_FOR)
        self.test_in_order_those_on_one_topic_together()

    def test_a_turn_that_takes_too_long_goes_on_in_the_next(self) -> None:
        self.took = TURN_BUDGET
        told = [self.gathering.enqueue(publication(topic)) for topic in "abc"]
        for turns in (1, 2, 3):
            due, self.clock.calls = self.clock.calls, []
            for call in due:
                call.func(*call.args)
            self.assertEqual([each.called for each in told], [n < turns for n in range(3)])
        self.assertEqual(self.clock.calls, [])

    def test_who_publishes_because_of_an_answer_waits_for_the_next_turn(self) -> None:
        first = self.gathering.enqueue(publication("a", 1))
        first.addCallback(lambda _: self.gathering.enqueue(publication("a", 2)))
        due, self.clock.calls = self.clock.calls, []
        due[0].func()
        self.assertEqual((self.bursts, len(self.clock.calls)), ([[1]], 1))


class AudienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.counted: list[tuple[str, int, int]] = []
        self.dispatcher = Dispatcher(lambda *counts: self.counted.append(counts))
        self.dispatcher.enable_batching(self.clock)

    def tell(self, *contents: object) -> None:
        for content in contents:
            self.dispatcher.dispatch_live(publication("a", content))
        self.clock.advance(0)

    def test_who_takes_but_one_at_a_time_hears_them_one_by_one(self) -> None:
        choir, ear, deaf = Choir(), Ear(), Choir(deaf_to=("a",))
        for listener in (choir, ear, deaf):
            self.dispatcher.subscribe("a", listener)
        self.tell(1, 2)
        self.assertEqual([each.content for each in choir.heard], [1, 2])
        self.assertEqual([each.content for each in ear.heard], [1, 2])
        self.assertEqual(self.counted, [("publication", 2, 0)] * 2)

    def test_how_many_take_them_one_by_one(self) -> None:
        """Listeners, whatever their patterns: bursts end where there are too many."""
        for pattern in ("a", "*"):
            for listener in (Ear(), Ear(), Ear(), Choir()):
                self.dispatcher.subscribe(pattern, listener)
        publications = [publication("a", 1), publication("a", 2)]
        self.assertEqual(self.dispatcher.dispatch_batch(publications), 6)

    def test_a_broken_listener_costs_no_other_theirs(self) -> None:
        ear = Ear()
        for listener in (Choir(broken=True), Ear(broken=True), ear):
            self.dispatcher.subscribe("a", listener)
        self.tell(1, 2)
        self.assertEqual([each.content for each in ear.heard], [1, 2])
        self.assertEqual(self.counted, [("publication", 1, 2)] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_where_nobody_listens_nothing_waits(self) -> None:
        self.assertIsNone(self.dispatcher.dispatch_live(publication("b")))
        self.assertEqual(self.clock.calls, [])

    def test_while_blind_they_are_held(self) -> None:
        ear = Ear()
        self.dispatcher.subscribe("a", ear)
        self.dispatcher.freshness = freshness = LogFreshness(self.clock)
        freshness.mark_current(0.0)
        self.clock.advance(10)
        self.tell(1, 2)
        self.assertEqual(ear.heard, [])
        freshness.mark_current(self.clock.seconds())
        self.assertEqual([each.content for each in ear.heard], [1, 2])


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.core.dispatcher.enable_batching(self.clock)
        self.admission = self.core.admission("tcp", LIVE)
        self.publisher, self.said = self.connection(RecordingTransport(), "ann")

    def connection(
        self, peer: RecordingTransport, name: str
    ) -> tuple[Connection, list[Reply | Farewell | str]]:
        connection = self.core.hub.admit(peer, "192.0.2.1", self.admission)
        connection.receive(Authenticate(f"token-{name}"))
        self.assertIsInstance(peer.sent.pop(0), Authenticated)
        return connection, peer.sent

    def listener(self, peer: RecordingTransport) -> tuple[Connection, list[Reply | Farewell | str]]:
        connection, said = self.connection(peer, "bob")
        connection.receive(Subscribe("room.*"))
        self.assertIsInstance(said.pop(0), Subscribed)
        return connection, said

    def publish(self, *contents: object, topic: str = "room.1") -> None:
        for number, content in enumerate(contents):
            self.publisher.receive(Publish(topic, content, ref=number))

    def test_all_hear_them_and_publishers_are_answered_in_order(self) -> None:
        _, at_once = self.listener(BurstPeer())
        _, one_by_one = self.listener(RecordingTransport())
        self.publish("x", "y", "z")
        self.assertEqual((at_once, one_by_one, self.said), ([], [], []))
        sent = self.admission.stats.sent_by_type["message"]
        self.clock.advance(0)
        self.assertEqual(contents(list(at_once)), ["at once", "x", "y", "at once", "z"])
        self.assertEqual(contents(list(one_by_one)), ["x", "y", "z"])
        self.assertEqual(self.said, [Accepted(0), Accepted(1), Accepted(2)])
        self.assertEqual(self.admission.stats.sent_by_type["message"] - sent, 6)

    def test_one_alone_goes_the_same_way(self) -> None:
        _, said = self.listener(BurstPeer())
        self.publish("x")
        self.clock.advance(0)
        self.assertEqual(contents(list(said)), ["at once", "x"])

    def test_many_who_hear_one_by_one_end_bursts_only_where_it_was_one(self) -> None:
        singers = [self.listener(RecordingTransport()) for _ in range(MAX_SINGLE_DELIVERIES + 1)]
        self.publish("x")
        self.clock.advance(0)
        _, said = self.listener(BurstPeer())
        self.publish("x", "y")
        self.clock.advance(0)
        self.assertEqual(contents(list(said)), ["at once", "x", "y"])
        self.assertEqual([len(heard) for _, heard in singers], [3] * (MAX_SINGLE_DELIVERIES + 1))

    def test_ones_own_come_before_their_answers(self) -> None:
        self.publisher.receive(Subscribe("room.*"))
        del self.said[:]
        self.publish("x")
        self.clock.advance(0)
        self.assertEqual(contents(list(self.said)), ["x", Accepted(0)])

    def test_what_is_said_behind_a_publication_is_answered_behind_it(self) -> None:
        for command, answer in (
            (Ping(9), Pong(9)),
            (Unsubscribe("t", 9), Unsubscribed("t", False, 9)),
            (
                BadCommand(ValidationError.for_field("x", "bad"), 9),
                ErrorReply(ValidationError.for_field("x", "bad"), BadCommand, 9),
            ),
        ):
            del self.said[:]
            self.listener(RecordingTransport())
            self.publish(*range(70))
            self.publisher.receive(command)
            self.assertNotIn(answer, self.said)
            self.clock.pump([0] * 5)
            said = [each for each in self.said if not isinstance(each, str)]
            self.assertEqual(said, [*map(Accepted, range(70)), answer])

    def test_who_leaves_while_theirs_wait_is_answered_nothing_more(self) -> None:
        self.listener(RecordingTransport())
        self.publish("x")
        self.publisher.receive(Ping())
        self.publisher.connection_lost()
        self.clock.pump([0] * 5)
        self.assertEqual(self.said, [])

    def test_a_clogged_peer_has_its_outbox_and_no_more(self) -> None:
        connection, said = self.listener(BurstPeer())
        connection.send_queue.pauseProducing()
        self.publish(1, 2, 3)
        self.clock.advance(0)
        self.assertEqual(said, [])
        connection.send_queue.resumeProducing()
        self.assertEqual(contents(list(said)), [1, 2, 3])
        connection.send_queue.pauseProducing()
        self.publish(4, 5, 6, 7)
        self.clock.advance(0)
        self.assertEqual(
            (connection.farewell and connection.farewell.reason, len(said)), (CloseReason.SLOW_CONSUMER, 4)
        )

    def test_what_may_not_be_read_is_not_heard(self) -> None:
        connection, said = self.connection(BurstPeer(), "bob")
        delivery = Delivery("messages.user.ann", "x", {}, 0.0)
        self.assertFalse(connection.deliver_batch(DeliveryBatch(delivery.topic, (delivery, delivery))))
        self.assertEqual(said, [])

    def test_nobody_hears_after_their_token_ran_out(self) -> None:
        connection, said = self.listener(BurstPeer())
        self.publish("x", "y")
        self.clock.rightNow = 1000.0
        self.clock.advance(0)
        self.assertEqual([type(each) for each in said], [Farewell])

    def test_more_than_may_be_outstanding(self) -> None:
        """Each session waits with the sixty-fifth; so nothing grows here without a limit."""
        _, said = self.listener(RecordingTransport())
        self.publish(*range(200))
        self.assertEqual(len(self.core.dispatcher._batcher._queue), 64)  # type: ignore[union-attr]
        self.clock.pump([0] * 10)
        self.assertEqual(contents(list(said)), list(range(200)))
        self.assertEqual(
            [each for each in self.said if each != "pause" and each != "resume"],
            [Accepted(n) for n in range(200)],
        )
