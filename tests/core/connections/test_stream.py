"""A subscription whose reader asks for one delivery after the other."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.connections.send_queue import BufferBudget
from multiproto.core.connections.stream import MAX_BUFFERED, SubscriptionStream
from multiproto.core.errors import Forbidden, TooManyConnections
from multiproto.core.identity import Identity
from multiproto.core.protocol import CloseReason, Delivery, Farewell, Ping
from multiproto.core.transactions import Publication

from ...fakes import make_core

ANN = Identity("ann", "session-ann", 1000.0, deadline=1000.0)


class SubscriptionStreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.weight = 1
        self.admission = self.core.admission(
            "sse", limits=ConnectionLimits(max_queued_replies=2, ping_interval=30), max_connections=2
        )

    def open(self, who: Identity = ANN) -> SubscriptionStream:
        return self.successResultOf(self.opening("room.*", who))

    def opening(self, pattern: str, who: Identity = ANN) -> Deferred[SubscriptionStream]:
        return Deferred.fromCoroutine(
            SubscriptionStream.open(
                self.core.hub, self.admission, "192.0.2.1", who, lambda delivery: self.weight, pattern
            )
        )

    def publish(self, *contents: object, topic: str = "room.1") -> None:
        for content in contents:
            self.core.dispatcher.dispatch_live(Publication("p", topic, content, {}, "bob", 0.0))

    def heard(self, stream: SubscriptionStream) -> object:
        delivery = self.successResultOf(stream.next())
        return delivery.content if isinstance(delivery, Delivery) else delivery

    def test_deliveries_before_and_after_the_question(self) -> None:
        stream = self.open()
        self.publish(1, 2)
        self.assertEqual([self.heard(stream), self.heard(stream)], [1, 2])
        waiting = stream.next()
        self.publish(3)
        self.assertEqual(self.successResultOf(waiting), Delivery("room.1", 3, {}, 0.0, "bob", "p"))
        self.assertEqual((stream.subscribed.pattern, stream.subscribed.retention), ("room.*", "live"))

    def test_what_may_not_be_opened(self) -> None:
        """Refused, and nothing is left of the attempt."""
        self.failureResultOf(self.opening("messages.user.bob"), Forbidden)
        self.assertEqual(len(self.core.hub), 0)
        self.open(), self.open()
        self.failureResultOf(self.opening("room.*"), TooManyConnections)

    def test_leaving_ends_the_subscription_at_once(self) -> None:
        """Not with the next event (docs/predecessor-faults.md#fault-9)."""
        stream = self.open()
        stream.unsubscribe()
        self.assertEqual(self.admission.stats.active_subscriptions, 0)
        self.assertEqual(len(self.core.hub), 0)
        self.assertIsNone(self.heard(stream))

    def test_nothing_is_kept_for_a_reader_who_left(self) -> None:
        """What they left unread is freed at once, not when the garbage collector comes by.

        docs/predecessor-faults.md#fault-5
        """
        stream = self.open()
        self.publish(1, 2)
        stream.unsubscribe()
        self.assertIsNone(self.heard(stream))

    def test_a_cut_session_leaves_what_was_heard_before_to_the_reader(self) -> None:
        """Its farewell names a cursor behind it all, so none of it may be missing."""
        stream = self.open()
        self.publish(1, 2)
        stream.abort()
        self.assertEqual([self.heard(stream), self.heard(stream), self.heard(stream)], [1, 2, None])

    def test_a_cancelled_question_loses_nothing(self) -> None:
        stream = self.open()
        waiting = stream.next()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.publish(1)
        self.assertEqual(self.heard(stream), 1)

    def test_the_end(self) -> None:
        """What was heard before it can still be asked for; then there is nothing, and it says why."""
        stream = self.open()
        self.publish(1)
        self.clock.advance(1000)
        self.assertEqual(self.heard(stream), 1)
        self.assertIsNone(self.heard(stream))
        self.assertEqual(stream.farewell, Farewell(CloseReason.TOKEN_EXPIRED, "Token has expired"))
        waiting = self.open(Identity("bob", "session-bob", 2000.0, deadline=2000.0)).next()
        self.core.hub.stopService()
        self.assertIsNone(self.successResultOf(waiting))

    def test_a_reader_that_does_not_ask_is_slow(self) -> None:
        """So many bytes ahead, then the session's two; one more ends it."""
        self.weight = MAX_BUFFERED // 2
        stream = self.open()
        self.publish(1, 2, 3, 4)
        self.assertIsNone(stream.farewell)
        self.publish(5)
        assert stream.farewell
        self.assertEqual(stream.farewell.reason, CloseReason.SLOW_CONSUMER)
        self.assertEqual([self.heard(stream) for _ in range(3)], [1, 2, None])

    def test_a_budget_is_for_all_streams_that_share_it(self) -> None:
        """It is never exceeded; who would do so is slow, and who leaves or reads makes room."""
        shared = BufferBudget(250)
        admission = self.core.admission("sse", limits=ConnectionLimits(), max_connections=3)
        feeds = []
        for _ in range(3):
            opened = SubscriptionStream.open(
                self.core.hub, admission, "192.0.2.1", ANN, lambda delivery: 100, "room.*", budget=shared
            )
            feeds.append(self.successResultOf(Deferred.fromCoroutine(opened)))
        self.publish(1)
        self.assertEqual(
            (shared.used_bytes, [stream.farewell is None for stream in feeds]), (200, [True, True, False])
        )
        feeds[0].unsubscribe()
        self.publish(2)
        self.assertEqual((shared.used_bytes, feeds[1].farewell), (200, None))
        self.publish(3)
        assert feeds[1].farewell is not None
        self.assertEqual((shared.used_bytes, feeds[1].farewell.reason), (200, CloseReason.SLOW_CONSUMER))
        self.assertEqual([self.heard(feeds[1]) for _ in range(3)], [1, 2, None])
        self.assertEqual(shared.used_bytes, 0)

    def test_a_reader_that_asks_again_gets_all(self) -> None:
        self.weight = MAX_BUFFERED // 2
        stream = self.open()
        self.publish(1, 2, 3, 4)
        self.assertEqual([self.heard(stream) for _ in range(4)], [1, 2, 3, 4])
        self.publish(5)
        self.assertEqual(self.heard(stream), 5)

    def test_a_quiet_stream_stays_and_says_so(self) -> None:
        """A stream can't answer a ping: it is a chance to tell the client, and no sign of death."""
        stream = self.open()
        waiting = stream.next()
        self.clock.pump([1] * 300)
        self.assertEqual(self.successResultOf(waiting), Ping())
        self.assertIsNone(stream.farewell)

    def test_a_reader_that_never_leaves_is_cut(self) -> None:
        self.open()
        done = self.core.hub.stopService()
        self.clock.pump([1] * 5)
        self.successResultOf(done)
