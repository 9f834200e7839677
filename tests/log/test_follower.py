"""The follower: every entry, in order, once, whatever hints are lost."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import DatabaseError
from multiproto.core.events import SESSION_REVOKED
from multiproto.core.protocol import (
    Accepted,
    Authenticate,
    CloseReason,
    Command,
    Delivery,
    ErrorReply,
    Farewell,
    Ping,
    Pong,
    Publish,
    Subscribe,
)
from multiproto.core.pubsub.dispatcher import MAX_PENDING, Dispatcher
from multiproto.core.pubsub.log_freshness import COMMAND_GRACE, STALE_AFTER
from multiproto.core.pubsub.namespaces import REVOCATIONS
from multiproto.core.transactions import Entry, Publication
from multiproto.log import follower
from multiproto.log.follower import PAGE_SIZE, POLL_INTERVAL, SKIPS_LOGGED_EVERY, TURN_BUDGET, Follower

from ..fakes import MemoryLog, RecordingTransport, make_core


class Ear:
    def __init__(self) -> None:
        self.heard: list[Delivery] = []

    def deliver(self, delivery: Delivery) -> bool:
        self.heard.append(delivery)
        return True


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.log, self.dispatcher, self.ear = Clock(), MemoryLog(), Dispatcher(), Ear()
        self.dispatcher.subscribe("users", self.ear)
        self.follower = Follower(self.log, self.dispatcher, self.clock)
        self.log.append(3)
        self.successResultOf(self.follower.startService())

    def heard(self) -> list[int | None]:
        return [delivery.content["n"] for delivery in self.ear.heard]  # type: ignore[index]

    def test_it_begins_at_the_head(self) -> None:
        self.assertEqual(self.dispatcher.cursor, "cursor3")
        self.log.append()
        self.follower.wake()
        self.assertEqual(self.heard(), [4])
        self.assertEqual((self.ear.heard[0].cursor, self.ear.heard[0].accepted_at), ("cursor4", 5.0))

    def test_a_lost_hint_costs_a_poll(self) -> None:
        self.log.append()
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.heard(), [4])

    def test_more_than_a_page(self) -> None:
        self.log.append(2 * PAGE_SIZE + 1)
        self.follower.wake()
        self.assertEqual(self.heard(), list(range(4, 2 * PAGE_SIZE + 5)))

    def test_a_page_that_many_hear_is_told_in_slices(self) -> None:
        """Others have their turn in between, and what comes meanwhile is told behind it."""
        ear = self.ear.deliver

        def slow(delivery: Delivery) -> bool:
            self.clock.rightNow += TURN_BUDGET
            return ear(delivery)

        self.dispatcher.unsubscribe("users", self.ear)
        self.ear.deliver = slow  # type: ignore[method-assign]
        self.dispatcher.subscribe("users", self.ear)
        self.log.append(3)
        self.follower.wake()
        self.log.append()
        self.follower.wake()
        for told in ([4], [4, 5]):
            self.assertEqual(self.heard(), told)
            (due,) = (call for call in self.clock.calls if call.getTime() <= self.clock.seconds())
            self.clock.calls.remove(due)  # `advance` would do all that follows from it, too
            due.func(*due.args)
        self.assertEqual(self.heard(), [4, 5, 6, 7])

    def test_between_two_slices_it_may_stop(self) -> None:
        self.patch(follower, "TURN_BUDGET", 0.0)
        self.log.append(3)
        self.follower.wake()
        stopped = maybeDeferred(self.follower.stopService)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.heard(), [])

    def test_woken_while_reading(self) -> None:
        """What was written behind the page being read is told by the next; nothing is told twice."""
        self.log.slow = True
        self.log.append()
        self.follower.wake()
        self.log.append()
        self.follower.wake()
        self.follower.wake()
        for _ in range(4):  # two pages, and after each whether the log is still the same
            self.log.release()
        self.assertEqual(self.heard(), [4, 5])
        self.assertEqual(self.log.read_count, 2)

    def test_a_log_that_is_away_comes_back(self) -> None:
        self.log.away = True
        self.log.append()
        self.clock.advance(POLL_INTERVAL)
        self.log.away = False
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.heard(), [4])

    def test_stopping_waits_for_the_page_being_read(self) -> None:
        self.log.slow = True
        self.log.append()
        self.follower.wake()
        done = maybeDeferred(self.follower.stopService)
        self.assertNoResult(done)
        self.log.release()
        self.log.release()  # whether the log is still the same
        self.successResultOf(done)
        self.assertEqual(self.heard(), [4])
        self.follower.wake()
        self.assertEqual((self.log.read_count, self.clock.getDelayedCalls()), (1, []))


class ReplacedLogTests(SynchronousTestCase):
    """A backup was restored under a running server: the log has gone back, and goes on in another term."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.core.log.append(3)
        self.successResultOf(self.core.follower.startService())
        self.peer = RecordingTransport()
        self.connection = self.core.hub.admit(self.peer, "h", self.core.admission())
        for command in (Authenticate("token-ann"), Subscribe("users")):
            self.connection.receive(command)
        self.core.log.append(7)
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.core.dispatcher.cursor, "cursor10")
        self.peer.sent.clear()

    def replace_log(self, count: int) -> None:
        """All behind the fifth entry was lost, and there are `count` others."""
        self.core.log.lost = {entry.cursor for entry in self.core.log.entries[5:]}
        del self.core.log.entries[5:]
        self.append(count)

    def append(self, count: int = 1) -> None:
        """To the other log."""
        entries = self.core.log.entries
        before = len(entries)
        self.core.log.append(count)
        entries[before:] = [evolve(entry, cursor=f"other{entry.position}") for entry in entries[before:]]

    def test_every_connection_is_closed_with_where_it_was_and_nothing_more_is_delivered_on_it(self) -> None:
        for count in (2, 9):  # the log is shorter than it was, or has grown past that again
            self.setUp()
            self.replace_log(count)
            self.clock.advance(POLL_INTERVAL)
            (farewell,) = self.peer.sent
            assert isinstance(farewell, Farewell)
            self.assertEqual((farewell.reason, farewell.cursor), (CloseReason.LOG_REPLACED, "cursor10"))

    def test_it_follows_the_other_log_from_its_head(self) -> None:
        self.replace_log(2)
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.core.dispatcher.position, 7)
        ear = Ear()
        self.core.dispatcher.subscribe("users", ear)
        self.append()
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual([delivery.content for delivery in ear.heard], [{"n": 8}])

    def test_it_begins_anew_when_the_store_says_so_though_what_was_dispatched_is_there(self) -> None:
        """What this instance has named to somebody may be further on than what it has dispatched."""
        self.core.follower.on_log_parted()
        (farewell,) = self.peer.sent
        assert isinstance(farewell, Farewell)
        self.assertEqual(farewell.reason, CloseReason.LOG_REPLACED)
        self.assertEqual(self.core.follower.replaced_at, self.clock.seconds())
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(len(self.peer.sent), 1)

    def test_who_waits_for_a_lost_entry_waits_no_more_than_the_log_takes(self) -> None:
        waiting = Deferred.fromCoroutine(self.core.dispatcher.wait_for(11))
        self.replace_log(9)
        self.clock.advance(POLL_INTERVAL)
        self.successResultOf(waiting)


class PrunedTests(SynchronousTestCase):
    """Entries were pruned before this instance has read them: it was halted for long, and counted as dead."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.core.log.append(3)
        self.successResultOf(self.core.follower.startService())
        self.peers = {pattern: self.subscribed(pattern) for pattern in ("messages.*", "kept.*.x", "room")}
        self.withdrawals: list[None] = []
        self.core.dispatcher.on_withdrawal.append(lambda: self.withdrawals.append(None))

    def subscribed(self, pattern: str) -> RecordingTransport:
        peer = RecordingTransport()
        connection = self.core.hub.admit(peer, "h", self.core.admission())
        for command in (Authenticate("token-ann"), Subscribe(pattern)):
            connection.receive(command)
        peer.sent.clear()
        return peer

    def prune(self, *positions: int, **floors: int) -> None:
        """Entries behind the head were appended, and pruned with these floors, before they are read."""
        self.core.log.append(5)
        self.core.log.pruned = set(positions)
        self.core.log.floors = floors
        self.clock.advance(POLL_INTERVAL)

    def ended(self) -> bool:
        reasons = {
            tuple(each.reason for each in peer.sent if isinstance(each, Farewell))
            for peer in self.peers.values()
        }
        self.assertIn(reasons, ({()}, {(CloseReason.LOG_REPLACED,)}))
        return reasons != {()}

    def test_where_somebody_listens_to_what_is_missing_it_begins_anew(self) -> None:
        for name, floor in (("messages.**", 4), ("kept.**", 5), ("users.**", 6), ("_sessions", 5)):
            self.setUp()
            self.prune(4, 5, 6, **{name: floor})
            self.assertTrue(self.ended(), name)
            self.assertEqual(self.core.dispatcher.position, 8)

    def test_what_nobody_listens_to_is_skipped(self) -> None:
        """Canaries and other topics, and what was pruned long ago; but it may have been a withdrawal."""
        self.prune(4, 6, **{"_canary": 6, "kept.it.y": 6, "other.**": 4, "messages.**": 3})
        self.assertFalse(self.ended())
        self.assertEqual((self.core.dispatcher.position, len(self.withdrawals)), (8, 1))

    def test_the_last_page_before_a_hole_and_a_hole_at_its_end(self) -> None:
        """What is pruned at the end of the log shows with the next entry behind it."""
        self.prune(8, **{"messages.**": 8})
        self.assertEqual((self.ended(), self.core.dispatcher.position), (False, 7))
        self.core.log.append()
        self.clock.advance(POLL_INTERVAL)
        self.assertTrue(self.ended())

    def test_without_a_hole_no_floor_is_read(self) -> None:
        self.core.log.append(5)
        self.core.log.floors = None  # type: ignore[assignment]  # to read them is an error
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual((self.ended(), self.core.dispatcher.position, self.withdrawals), (False, 8, []))


class DamagedTests(SynchronousTestCase):
    """What is stored of an entry can't be read: it is damaged, and no attempt will ever succeed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.core.log.append(3)
        self.successResultOf(self.core.follower.startService())
        self.peer = self.subscribed()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def subscribed(self) -> RecordingTransport:
        peer = RecordingTransport()
        connection = self.core.hub.admit(peer, "h", self.core.admission())
        for command in (Authenticate("token-ann"), Subscribe("users")):
            connection.receive(command)
        peer.sent.clear()
        return peer

    def observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            self.lines.append(formatEvent(event))

    def damage(self, *positions: int) -> None:
        self.core.log.damaged.update(positions)

    def test_who_follows_is_closed_with_where_it_was_and_what_comes_is_delivered(self) -> None:
        self.damage(5)
        self.core.log.append(3)
        self.clock.advance(POLL_INTERVAL)
        (farewell,) = self.peer.sent
        assert isinstance(farewell, Farewell)
        self.assertEqual((farewell.reason, farewell.cursor), (CloseReason.LOG_REPLACED, "cursor3"))
        self.assertEqual(
            self.lines,
            [
                "what follows position 3 of the log is damaged and skipped, up to 6 (1 times since this was last "
                "said): all connections are closed",
            ],
        )
        later = self.subscribed()
        self.core.log.append()
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual([said.content for said in later.sent if isinstance(said, Delivery)], [{"n": 7}])
        freshness = self.core.dispatcher.freshness
        self.assertFalse(freshness is None or freshness.is_stale)

    def test_another_error_ends_nothing(self) -> None:
        """As of a disk that can't be read for a while."""

        async def fail(log: MemoryLog, position: int, limit: int) -> tuple[Entry, ...]:
            raise DatabaseError("Database error")

        self.core.log.append(2)
        reading = self.patch(MemoryLog, "read_after", fail)
        self.clock.pump([POLL_INTERVAL] * 10)
        self.assertEqual(self.peer.sent, [])
        reading.restore()
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(
            [said.content for said in self.peer.sent if isinstance(said, Delivery)], [{"n": 4}, {"n": 5}]
        )

    def test_damage_in_what_is_read_ahead(self) -> None:
        """Of a backlog, when the log was away: a revocation in it may be the damaged one."""
        self.core.log.away = True
        self.core.log.append(2 * PAGE_SIZE)
        self.damage(3 + PAGE_SIZE + 1)
        self.clock.pump([POLL_INTERVAL] * 8)
        self.core.log.away = False
        self.clock.pump([POLL_INTERVAL] * 2)
        self.assertEqual([type(said) for said in self.peer.sent], [Farewell])
        self.assertEqual(self.core.dispatcher.position, 3 + 2 * PAGE_SIZE)

    def test_damage_that_goes_on_is_told_each_time_and_said_once_a_minute(self) -> None:
        """And is read no more often than the log is polled."""
        self.damage(*range(4, 1000))
        for number in range(1, 4):
            peer, reads = self.subscribed(), self.core.log.read_count
            for _ in range(int(SKIPS_LOGGED_EVERY / 3 / POLL_INTERVAL)):
                if peer.sent == []:
                    self.core.log.append()
                self.clock.advance(POLL_INTERVAL)
            self.assertEqual(len([said for said in peer.sent if isinstance(said, Farewell)]), 1, number)
            self.assertLessEqual(self.core.log.read_count - reads, SKIPS_LOGGED_EVERY / POLL_INTERVAL)
        self.assertEqual(len([line for line in self.lines if "damaged and skipped" in line]), 1)
        self.clock.advance(SKIPS_LOGGED_EVERY)
        self.core.log.append()
        self.clock.pump([POLL_INTERVAL] * 2)
        self.assertIn("(3 times since", self.lines[-1])

    def test_where_there_is_nothing_to_skip_it_goes_on_trying(self) -> None:
        """As where an index is damaged: this instance is stale, and not ready."""
        self.core.log.index_damaged = True
        self.clock.pump([POLL_INTERVAL] * 40)
        self.assertEqual(self.peer.sent, [])
        self.assertEqual(self.lines, ["the log can't be read: Stored data is damaged"])
        freshness = self.core.dispatcher.freshness
        self.assertTrue(freshness is not None and freshness.is_stale)


class StaleTests(SynchronousTestCase):
    """Nobody is served on rights that may have ended (docs/guarantees.md#g7-authority-is-current)."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.successResultOf(self.core.follower.startService())
        self.peer = RecordingTransport()
        self.connection = self.core.hub.admit(self.peer, "h", self.core.admission())
        self.say(Authenticate("token-ann"), Subscribe("users"), Subscribe("room"))
        self.peer.sent.clear()

    def say(self, *commands: Command) -> None:
        for command in commands:
            self.connection.receive(command)

    def pass_seconds(self, seconds: float) -> None:
        self.clock.pump([POLL_INTERVAL / 2] * round(2 * seconds / POLL_INTERVAL))

    @property
    def heard(self) -> list[object]:
        return [said.content for said in self.peer.sent if isinstance(said, Delivery)]

    def test_an_idle_instance_is_never_blind(self) -> None:
        for _ in range(100):
            self.clock.advance(POLL_INTERVAL / 3)
            self.assertFalse(self.core.dispatcher.freshness and self.core.dispatcher.freshness.is_stale)

    def test_a_command_is_held_and_then_obeyed(self) -> None:
        self.core.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        self.say(Publish("room", 1, ref="a"))
        self.assertEqual(self.peer.sent, [])
        self.core.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual([type(said) for said in self.peer.sent], [Delivery, Accepted])

    def test_a_command_of_a_long_blindness_is_refused_and_the_connection_stays(self) -> None:
        self.core.log.away = True
        self.pass_seconds(STALE_AFTER + COMMAND_GRACE)
        self.say(Subscribe("room.2"))
        self.pass_seconds(POLL_INTERVAL)
        (refused,) = self.peer.sent
        assert isinstance(refused, ErrorReply)
        self.assertEqual((refused.refusal.name, self.connection.farewell), ("SERVICE_UNAVAILABLE", None))
        self.say(Ping())
        self.assertEqual(self.peer.sent[1:], [Pong()])

    def test_live_topics_are_held_in_order_and_the_oldest_go(self) -> None:
        self.core.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        for number in range(MAX_PENDING + 2):
            self.core.dispatcher.dispatch_live(Publication("p", "room", number, {}, "ann", 0.0))
        self.assertEqual(self.heard, [])
        self.core.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual(self.heard, list(range(2, MAX_PENDING + 2)))

    def test_rights_that_ended_far_back_in_the_log_end_before_anything_is_told(self) -> None:
        """The backlog has three pages for them, and their logout behind it."""
        self.core.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        self.core.log.append(3 * PAGE_SIZE)
        gone = {
            "userId": "ann",
            "sessionIds": [self.connection.identity and self.connection.identity.session_id],
        }
        self.core.log.append(1, REVOCATIONS, content=gone, type=SESSION_REVOKED)
        self.core.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual(self.heard, [])
        self.assertEqual(self.connection.farewell and self.connection.farewell.reason, CloseReason.REVOKED)
        self.assertEqual(self.core.dispatcher.position, len(self.core.log.entries))

    def test_who_kept_their_rights_hears_the_backlog(self) -> None:
        self.core.log.away = True
        self.pass_seconds(STALE_AFTER + POLL_INTERVAL)
        self.core.log.append(2 * PAGE_SIZE + 1)
        self.core.log.away = False
        self.pass_seconds(POLL_INTERVAL)
        self.assertEqual(len(self.heard), 2 * PAGE_SIZE + 1)
