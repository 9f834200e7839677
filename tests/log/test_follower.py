"""The follower: every entry, in order, once, whatever hints are lost."""

from __future__ import annotations

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.events import SESSION_REVOKED
from multiproto.core.protocol import (
    Accepted,
    Authenticate,
    CloseReason,
    Command,
    Delivery,
    ErrorReply,
    Ping,
    Pong,
    Publish,
    Subscribe,
)
from multiproto.core.pubsub.dispatcher import MAX_PENDING, Dispatcher
from multiproto.core.pubsub.log_freshness import COMMAND_GRACE, STALE_AFTER
from multiproto.core.pubsub.namespaces import REVOCATIONS
from multiproto.core.transactions import Publication
from multiproto.log import follower
from multiproto.log.follower import PAGE_SIZE, POLL_INTERVAL, TURN_BUDGET, Follower

from ..fakes import MemoryLog, RecordingTransport, make_core


class Ear:
    def __init__(self) -> None:
        self.heard: list[Delivery] = []

    def deliver(self, delivery: Delivery) -> bool:
        self.heard.append(delivery)
        return True


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.notes, self.audience, self.ear = Clock(), MemoryLog(), Dispatcher(), Ear()
        self.audience.subscribe("users", self.ear)
        self.follower = Follower(self.notes, self.audience, self.clock)
        self.notes.append(3)
        self.successResultOf(self.follower.startService())

    def heard(self) -> list[int | None]:
        return [delivery.content["n"] for delivery in self.ear.heard]  # type: ignore[index]

    def test_it_begins_at_the_head(self) -> None:
        self.assertEqual(self.audience.cursor, "cursor3")
        self.notes.append()
        self.follower.wake()
        self.assertEqual(self.heard(), [4])
        self.assertEqual((self.ear.heard[0].cursor, self.ear.heard[0].accepted_at), ("cursor4", 5.0))

    def test_a_lost_hint_costs_a_poll(self) -> None:
        self.notes.append()
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.heard(), [4])

    def test_more_than_a_page(self) -> None:
        self.notes.append(2 * PAGE_SIZE + 1)
        self.follower.wake()
        self.assertEqual(self.heard(), list(range(4, 2 * PAGE_SIZE + 5)))

    def test_a_page_that_many_hear_is_told_in_slices(self) -> None:
        """Others have their turn in between, and what comes meanwhile is told behind it."""
        ear = self.ear.deliver

        def slow(delivery: Delivery) -> bool:
            self.clock.rightNow += TURN_BUDGET
            return ear(delivery)

        self.audience.unsubscribe("users", self.ear)
        self.ear.deliver = slow  # type: ignore[method-assign]
        self.audience.subscribe("users", self.ear)
        self.notes.append(3)
        self.follower.wake()
        self.notes.append()
        self.follower.wake()
        for told in ([4], [4, 5]):
            self.assertEqual(self.heard(), told)
            (due,) = (call for call in self.clock.calls if call.getTime() <= self.clock.seconds())
            self.clock.calls.remove(due)  # `advance` would do all that follows from it, too
            due.func(*due.args)
        self.assertEqual(self.heard(), [4, 5, 6, 7])

    def test_between_two_slices_it_may_stop(self) -> None:
        self.patch(follower, "TURN_BUDGET", 0.0)
        self.notes.append(3)
        self.follower.wake()
        stopped = maybeDeferred(self.follower.stopService)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.heard(), [])

    def test_woken_while_reading(self) -> None:
        """What was written behind the page being read is told by the next; nothing is told twice."""
        self.notes.slow = True
        self.notes.append()
        self.follower.wake()
        self.notes.append()
        self.follower.wake()
        self.follower.wake()
        self.notes.release()
        self.notes.release()
        self.assertEqual(self.heard(), [4, 5])
        self.assertEqual(self.notes.read_count, 2)

    def test_a_log_that_is_away_comes_back(self) -> None:
        self.notes.away = True
        self.notes.append()
        self.clock.advance(POLL_INTERVAL)
        self.notes.away = False
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.heard(), [4])

    def test_stopping_waits_for_the_page_being_read(self) -> None:
        self.notes.slow = True
        self.notes.append()
        self.follower.wake()
        done = maybeDeferred(self.follower.stopService)
        self.assertNoResult(done)
        self.notes.release()
        self.successResultOf(done)
        self.assertEqual(self.heard(), [4])
        self.follower.wake()
        self.assertEqual((self.notes.read_count, self.clock.getDelayedCalls()), (1, []))


class BlindTests(SynchronousTestCase):
    """Nobody is served on rights that may have ended (docs/guarantees.md#g7-authority-is-current)."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.house = make_core(self.clock)
        self.successResultOf(self.house.follower.startService())
        self.peer = RecordingTransport()
        self.session = self.house.hub.admit(self.peer, "h", self.house.admission())
        self.say(Authenticate("token-ann"), Subscribe("users"), Subscribe("room"))
        self.peer.sent.clear()

    def say(self, *commands: Command) -> None:
        for command in commands:
            self.session.receive(command)

    def pass_seconds(self, seconds: float) -> None:
        self.clock.pump([POLL_INTERVAL / 2] * round(2 * seconds / POLL_INTERVAL))

    @property
    def heard(self) -> list[object]:
        return [said.content for said in self.peer.sent if isinstance(said, Delivery)]

    def test_an_idle_instance_is_never_blind(self) -> None:
        for _ in range(100):
            self.clock.advance(POLL_INTERVAL / 3)
            self.assertFalse(self.house.dispatcher.freshness and self.house.dispatcher.freshness.is_stale)

    def test_a_command_is_held_and_then_obeyed(self) -> None:
        self.house.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        self.say(Publish("room", 1, ref="a"))
        self.assertEqual(self.peer.sent, [])
        self.house.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual([type(said) for said in self.peer.sent], [Delivery, Accepted])

    def test_a_command_of_a_long_blindness_is_refused_and_the_connection_stays(self) -> None:
        self.house.log.away = True
        self.pass_seconds(STALE_AFTER + COMMAND_GRACE)
        self.say(Subscribe("room.2"))
        self.pass_seconds(POLL_INTERVAL)
        (refused,) = self.peer.sent
        assert isinstance(refused, ErrorReply)
        self.assertEqual((refused.refusal.name, self.session.farewell), ("SERVICE_UNAVAILABLE", None))
        self.say(Ping())
        self.assertEqual(self.peer.sent[1:], [Pong()])

    def test_live_topics_are_held_in_order_and_the_oldest_go(self) -> None:
        self.house.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        for number in range(MAX_PENDING + 2):
            self.house.dispatcher.dispatch_live(Publication("p", "room", number, {}, "ann", 0.0))
        self.assertEqual(self.heard, [])
        self.house.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual(self.heard, list(range(2, MAX_PENDING + 2)))

    def test_rights_that_ended_far_back_in_the_log_end_before_anything_is_told(self) -> None:
        """The backlog has three pages for them, and their logout behind it."""
        self.house.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        self.house.log.append(3 * PAGE_SIZE)
        gone = {
            "userId": "ann",
            "sessionIds": [self.session.identity and self.session.identity.session_id],
        }
        self.house.log.append(1, REVOCATIONS, content=gone, type=SESSION_REVOKED)
        self.house.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual(self.heard, [])
        self.assertEqual(self.session.farewell and self.session.farewell.reason, CloseReason.REVOKED)
        self.assertEqual(self.house.dispatcher.position, len(self.house.log.entries))

    def test_who_kept_their_rights_hears_the_backlog(self) -> None:
        self.house.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        self.house.log.append(2 * PAGE_SIZE + 1)
        self.house.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual(len(self.heard), 2 * PAGE_SIZE + 1)
