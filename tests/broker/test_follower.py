"""The follower: every entry, in order, once, whatever hints are lost."""

from __future__ import annotations

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.broker import follower
from multiproto.broker.follower import PAGE, POLL, SLICE, Follower
from multiproto.core.audience import HELD, Audience
from multiproto.core.events import REVOKED
from multiproto.core.namespaces import REVOCATIONS
from multiproto.core.ports import Publication
from multiproto.core.sight import BLIND, PATIENCE
from multiproto.core.wire import (
    Accepted,
    Authenticate,
    Command,
    Delivery,
    Ping,
    Pong,
    Publish,
    Refused,
    Subscribe,
    Why,
)

from ..fakes import Notes, RecordingPeer, house


class Ear:
    def __init__(self) -> None:
        self.heard: list[Delivery] = []

    def hear(self, delivery: Delivery) -> bool:
        self.heard.append(delivery)
        return True


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.notes, self.audience, self.ear = Clock(), Notes(), Audience(), Ear()
        self.audience.add("users", self.ear)
        self.follower = Follower(self.notes, self.audience, self.clock)
        self.notes.write(3)
        self.successResultOf(self.follower.startService())

    def heard(self) -> list[int | None]:
        return [delivery.content["n"] for delivery in self.ear.heard]  # type: ignore[index]

    def test_it_begins_at_the_head(self) -> None:
        self.assertEqual(self.audience.cursor, "cursor3")
        self.notes.write()
        self.follower.wake()
        self.assertEqual(self.heard(), [4])
        self.assertEqual((self.ear.heard[0].cursor, self.ear.heard[0].at), ("cursor4", 5.0))

    def test_a_lost_hint_costs_a_poll(self) -> None:
        self.notes.write()
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL)
        self.assertEqual(self.heard(), [4])

    def test_more_than_a_page(self) -> None:
        self.notes.write(2 * PAGE + 1)
        self.follower.wake()
        self.assertEqual(self.heard(), list(range(4, 2 * PAGE + 5)))

    def test_a_page_that_many_hear_is_told_in_slices(self) -> None:
        """Others have their turn in between, and what comes meanwhile is told behind it."""
        ear = self.ear.hear

        def slow(delivery: Delivery) -> bool:
            self.clock.rightNow += SLICE
            return ear(delivery)

        self.audience.remove("users", self.ear)
        self.ear.hear = slow  # type: ignore[method-assign]
        self.audience.add("users", self.ear)
        self.notes.write(3)
        self.follower.wake()
        self.notes.write()
        self.follower.wake()
        for told in ([4], [4, 5]):
            self.assertEqual(self.heard(), told)
            (due,) = (call for call in self.clock.calls if call.getTime() <= self.clock.seconds())
            self.clock.calls.remove(due)  # `advance` would do all that follows from it, too
            due.func(*due.args)
        self.assertEqual(self.heard(), [4, 5, 6, 7])

    def test_between_two_slices_it_may_stop(self) -> None:
        self.patch(follower, "SLICE", 0.0)
        self.notes.write(3)
        self.follower.wake()
        stopped = maybeDeferred(self.follower.stopService)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.heard(), [])

    def test_woken_while_reading(self) -> None:
        """What was written behind the page being read is told by the next; nothing is told twice."""
        self.notes.slow = True
        self.notes.write()
        self.follower.wake()
        self.notes.write()
        self.follower.wake()
        self.follower.wake()
        self.notes.answer()
        self.notes.answer()
        self.assertEqual(self.heard(), [4, 5])
        self.assertEqual(self.notes.reads, 2)

    def test_a_log_that_is_away_comes_back(self) -> None:
        self.notes.away = True
        self.notes.write()
        self.clock.advance(POLL)
        self.notes.away = False
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL)
        self.assertEqual(self.heard(), [4])

    def test_stopping_waits_for_the_page_being_read(self) -> None:
        self.notes.slow = True
        self.notes.write()
        self.follower.wake()
        done = maybeDeferred(self.follower.stopService)
        self.assertNoResult(done)
        self.notes.answer()
        self.successResultOf(done)
        self.assertEqual(self.heard(), [4])
        self.follower.wake()
        self.assertEqual((self.notes.reads, self.clock.getDelayedCalls()), (1, []))


class BlindTests(SynchronousTestCase):
    """G7: nobody is served on rights that may have ended."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.house = house(self.clock)
        self.successResultOf(self.house.follower.startService())
        self.peer = RecordingPeer()
        self.session = self.house.hub.admit(self.peer, "h", self.house.line())
        self.say(Authenticate("token-ann"), Subscribe("users"), Subscribe("room"))
        self.peer.said.clear()

    def say(self, *commands: Command) -> None:
        for command in commands:
            self.session.receive(command)

    def pass_seconds(self, seconds: float) -> None:
        self.clock.pump([POLL / 2] * round(2 * seconds / POLL))

    @property
    def heard(self) -> list[object]:
        return [said.content for said in self.peer.said if isinstance(said, Delivery)]

    def test_an_idle_instance_is_never_blind(self) -> None:
        for _ in range(100):
            self.clock.advance(POLL / 3)
            self.assertFalse(self.house.audience.sight and self.house.audience.sight.blind)

    def test_a_command_is_held_and_then_obeyed(self) -> None:
        self.house.notes.away = True
        self.pass_seconds(BLIND + POLL)
        self.say(Publish("room", 1, ref="a"))
        self.assertEqual(self.peer.said, [])
        self.house.notes.away = False
        self.pass_seconds(POLL)
        self.assertEqual([type(said) for said in self.peer.said], [Delivery, Accepted])

    def test_a_command_of_a_long_blindness_is_refused_and_the_connection_stays(self) -> None:
        self.house.notes.away = True
        self.pass_seconds(BLIND + PATIENCE)
        self.say(Subscribe("room.2"))
        self.pass_seconds(POLL)
        (refused,) = self.peer.said
        assert isinstance(refused, Refused)
        self.assertEqual((refused.refusal.name, self.session.ended), ("SERVICE_UNAVAILABLE", None))
        self.say(Ping())
        self.assertEqual(self.peer.said[1:], [Pong()])

    def test_live_topics_are_held_in_order_and_the_oldest_go(self) -> None:
        self.house.notes.away = True
        self.pass_seconds(BLIND + POLL)
        for number in range(HELD + 2):
            self.house.audience.tell(Publication("p", "room", number, {}, "ann", 0.0))
        self.assertEqual(self.heard, [])
        self.house.notes.away = False
        self.pass_seconds(POLL)
        self.assertEqual(self.heard, list(range(2, HELD + 2)))

    def test_rights_that_ended_far_back_in_the_log_end_before_anything_is_told(self) -> None:
        """The backlog has three pages for them, and their logout behind it."""
        self.house.notes.away = True
        self.pass_seconds(BLIND + POLL)
        self.house.notes.write(3 * PAGE)
        gone = {"userId": "ann", "sessionIds": [self.session.identity and self.session.identity.session_id]}
        self.house.notes.write(1, REVOCATIONS, content=gone, type=REVOKED)
        self.house.notes.away = False
        self.pass_seconds(POLL)
        self.assertEqual(self.heard, [])
        self.assertEqual(self.session.ended and self.session.ended.why, Why.REVOKED)
        self.assertEqual(self.house.audience.position, len(self.house.notes.entries))

    def test_who_kept_their_rights_hears_the_backlog(self) -> None:
        self.house.notes.away = True
        self.pass_seconds(BLIND + POLL)
        self.house.notes.write(2 * PAGE + 1)
        self.house.notes.away = False
        self.pass_seconds(POLL)
        self.assertEqual(len(self.heard), 2 * PAGE + 1)
