"""Stopping anywhere and going on at the exact message: replay, and joining what happens."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.timestamps import format_timestamp
from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.connections.connection import Connection
from multiproto.core.connections.stream import MAX_BUFFERED, SubscriptionStream
from multiproto.core.identity import Identity
from multiproto.core.protocol import (
    Authenticate,
    CaughtUp,
    CloseReason,
    Delivery,
    ErrorReply,
    Farewell,
    Publish,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from multiproto.core.pubsub.replay import MAX_CACHED_PAGES, PAGE_SPAN

from ...fakes import RecordingTransport, make_core


class ResumeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock, "log.**")
        self.log = self.core.log
        self.admission = self.core.admission(limits=ConnectionLimits(max_queued_replies=2))
        self.log.append(5)
        self.successResultOf(self.core.follower.startService())
        self.peer, self.connection = self.connect()

    def connect(self, name: str = "ann") -> tuple[RecordingTransport, Connection]:
        peer = RecordingTransport()
        connection = self.core.hub.admit(peer, "192.0.2.1", self.admission)
        connection.receive(Authenticate(f"token-{name}"))
        peer.sent.clear()
        return peer, connection

    def turn(self) -> None:
        """Let the reactor turn until nothing waits for it."""
        for _ in range(200):
            self.clock.advance(0)

    def happen(self, *topics: str, count: int = 1) -> None:
        self.log.append(count, *topics)
        self.core.follower.wake()

    def resume(self, after: str, pattern: str = "users") -> list[object]:
        self.connection.receive(Subscribe(pattern, after))
        self.turn()
        return list(self.peer.sent)

    def told(self, position: int, replay: str | None = None, topic: str = "users") -> Delivery:
        shown = {"eventType": "user.created", "eventId": f"e{position}", "timestamp": format_timestamp(5)}
        cursor, id = f"cursor{position}", f"e{position}"
        return Delivery(topic, {"n": position}, shown, 5.0, None, id, cursor, replay)

    def heard(self, peer: RecordingTransport | None = None) -> list[tuple[object, str | None]]:
        """(position, replay) of all deliveries."""
        said = (peer or self.peer).sent
        told = [(d.content, d.replay_pattern) for d in said if isinstance(d, Delivery)]
        return [(content.get("n"), replay) for content, replay in told if isinstance(content, dict)]


class ResumeTests(ResumeCase):
    def test_dialogue(self) -> None:
        """`subscribed` first, with the cursor resumed from; then what was missed; then what happens."""
        self.resume("cursor3")
        self.happen()
        self.assertEqual(
            self.peer.sent,
            [
                Subscribed("users", self.peer.sent[0].subscription_id, "log", "cursor3", True),  # type: ignore[union-attr]
                self.told(4, "users"),
                self.told(5, "users"),
                CaughtUp("users", "cursor5"),
                self.told(6),
            ],
        )

    def test_nothing_was_missed(self) -> None:
        said = self.resume("cursor5")
        self.assertEqual(said[1:], [CaughtUp("users", "cursor5")])

    def test_without_a_cursor_there_is_no_replay(self) -> None:
        self.connection.receive(Subscribe("users"))
        self.turn()
        subscribed = self.peer.sent[0]
        assert isinstance(subscribed, Subscribed)
        self.assertEqual((subscribed.cursor, subscribed.recovered), ("cursor5", None))
        self.assertEqual(len(self.peer.sent), 1)

    def test_a_cursor_that_is_no_good(self) -> None:
        """Malformed, foreign, or from the future: said at once, with the cursor to go on from."""
        for after in ("", "nonsense", "cursor6", "cursor-1", "é" * 1000):
            self.peer.sent.clear()
            [subscribed] = self.resume(after)
            assert isinstance(subscribed, Subscribed)
            self.assertEqual((subscribed.cursor, subscribed.recovered), ("cursor5", False), after)
            self.connection.receive(Unsubscribe("users"))
        self.resume("nonsense")
        self.happen()
        self.assertEqual(self.heard(), [(6, None)])

    def test_the_cursors_of_a_list_will_do(self) -> None:
        """Of one that is behind its last page, or whose rows are older than the log; and of one that is `before`."""
        for after, start, missed in (
            ("older999", "older999", [1, 2, 3, 4, 5]),
            ("cursor3~", "cursor3", [4, 5]),
        ):
            self.peer.sent.clear()
            subscribed, *_ = self.resume(after)
            assert isinstance(subscribed, Subscribed)
            self.assertEqual((subscribed.recovered, subscribed.cursor), (True, start))
            self.assertEqual(self.heard(), [(position, "users") for position in missed])
            self.connection.receive(Unsubscribe("users"))
        self.log.retention_floor = 1
        self.peer.sent.clear()
        [subscribed] = self.resume("older999")
        assert isinstance(subscribed, Subscribed)
        self.assertFalse(subscribed.recovered)

    def test_what_was_pruned_is_no_silent_gap(self) -> None:
        self.log.retention_floor = 4
        subscribed = self.resume("cursor3")[0]
        assert isinstance(subscribed, Subscribed)
        self.assertEqual(subscribed.recovered, False)
        self.connection.receive(Unsubscribe("users"))
        self.peer.sent.clear()
        self.resume("cursor4")
        self.assertEqual(self.heard(), [(5, "users")])

    def test_what_is_pruned_while_it_is_replayed(self) -> None:
        """The session ends where it stands; resuming from there says that something is lost."""
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor1"))
        self.log.release()  # where the cursor is
        self.log.retention_floor = 3
        self.log.slow = False
        self.log.release()
        self.turn()
        self.assertEqual(
            self.peer.sent[-1],
            Farewell(CloseReason.SLOW_CONSUMER, "Reads more slowly than it subscribed", "cursor1"),
        )

    def test_a_live_topic_has_nothing_to_resume(self) -> None:
        subscribed = self.resume("cursor3", "room.1")[0]
        assert isinstance(subscribed, Subscribed)
        self.assertEqual(
            (subscribed.retention, subscribed.cursor, subscribed.recovered), ("live", None, None)
        )

    def test_joining_without_a_hole(self) -> None:
        """Others go on publishing while pages are read and sent; each is told once, in order."""
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor1"))
        for _ in range(30):
            self.happen()
            self.log.release()
            self.clock.advance(0)
        self.log.slow = False
        self.log.release()
        self.turn()
        self.happen()
        positions = [position for position, _ in self.heard()]
        self.assertEqual(positions, list(range(2, 37)))
        marks = [mark for _, mark in self.heard()]
        self.assertEqual(marks, sorted(marks, key=lambda mark: mark is None))
        self.assertEqual(len([said for said in self.peer.sent if isinstance(said, CaughtUp)]), 1)

    def test_ahead_of_the_follower(self) -> None:
        """A cursor from an answer that came before the follower told of it: withheld up to it."""
        self.log.append(2)
        self.connection.receive(Subscribe("users", "cursor6"))
        self.turn()
        self.assertEqual(self.heard(), [])
        self.core.follower.wake()
        self.turn()
        self.assertEqual([position for position, _ in self.heard()], [7])

    def test_only_what_is_covered_and_readable(self) -> None:
        """Filtered as of now: someone else's direct messages are not replayed, whatever the pattern."""
        self.happen("messages.user.bob")
        self.happen("messages.user.bob", "messages.user.ann")
        self.happen("messages", "messages.user.ann", "messages.channel.c")
        self.resume("cursor5", "messages.**")
        replayed = [said for said in self.peer.sent if isinstance(said, Delivery)]
        self.assertEqual([d.topic for d in replayed], ["messages.user.ann", "messages"])

    def test_what_was_withdrawn_is_not_replayed(self) -> None:
        """Not even from a page that was read before it was withdrawn."""
        self.log.append(PAGE_SPAN)
        self.core.follower.wake()
        _, connection = self.connect("bob")
        connection.receive(Subscribe("users", "cursor3"))
        self.turn()
        self.log.entries[3] = evolve(self.log.entries[3], redacted=True)
        self.log.append(1, "users", content={"userId": "x"}, type="user.deleted")
        self.core.follower.wake()
        self.resume("cursor3")
        self.assertNotIn((4, "users"), self.heard())
        self.assertIn((5, "users"), self.heard())

    def test_what_another_history_has_not_is_not_replayed(self) -> None:
        """Nor from a page that was read before a backup was restored, whose positions have other events."""
        self.log.append(PAGE_SPAN)
        self.core.follower.wake()
        _, connection = self.connect("bob")
        connection.receive(Subscribe("users", "cursor3"))
        self.turn()
        del self.log.entries[4]
        self.log.append(1)
        self.core.follower.on_log_parted()
        self.peer, self.connection = self.connect("ann")
        self.peer.sent.clear()
        self.resume("cursor3")
        self.assertIn((4, "users"), self.heard())
        self.assertNotIn((5, "users"), self.heard())

    def test_nor_from_a_page_that_was_being_read(self) -> None:
        """Who resumes after the withdrawal was told waits for no page that was asked for before it."""
        self.log.append(PAGE_SPAN)
        self.core.follower.wake()
        _, early = self.connect("bob")
        self.log.slow = True
        early.receive(Subscribe("users", "cursor3"))
        self.log.release()  # where the cursor is; the page is still being read
        held, self.log.pending = self.log.pending, []
        self.log.slow = False
        self.log.entries[3] = evolve(self.log.entries[3], redacted=True)
        self.log.append(1, "users", content={"userId": "x"}, type="user.deleted")
        self.core.follower.wake()
        self.connection.receive(Subscribe("users", "cursor3"))
        for each in held:
            each.callback(None)
        self.turn()
        self.assertNotIn((4, "users"), self.heard())
        self.assertIn((5, "users"), self.heard())

    def test_a_logged_publication_is_replayed_as_it_was_told(self) -> None:
        self.connection.receive(Subscribe("log.*"))
        self.connection.receive(Publish("log.a", {"x": 1}, {"mood": "good"}, ref=1))
        self.turn()
        [first] = [said for said in self.peer.sent if isinstance(said, Delivery)]
        self.assertEqual((first.content, first.sender_id, first.cursor), ({"x": 1}, "ann", "cursor6"))
        self.assertEqual(first.metadata["mood"], "good")
        other, connection = self.connect("bob")
        connection.receive(Subscribe("log.**", "cursor5"))
        self.turn()
        [again] = [said for said in other.sent if isinstance(said, Delivery)]
        self.assertEqual(
            (again.topic, again.content, again.metadata, again.id, again.cursor, again.replay_pattern),
            (first.topic, first.content, first.metadata, first.id, first.cursor, "log.**"),
        )


class SubscribingAgainTests(ResumeCase):
    """On a wire that has it so."""

    def subscribe_again(self, after: str | None = None, pattern: str = "users") -> Subscribed:
        self.peer.sent.clear()
        self.connection.receive(Subscribe(pattern, after, repeatable=True))
        reply = self.peer.sent[0]
        assert isinstance(reply, Subscribed)
        return reply

    def test_it_is_confirmed_and_goes_on_as_it_was(self) -> None:
        self.connection.receive(Subscribe("users"))
        self.happen()
        again = self.subscribe_again()
        self.assertEqual((again.retention, again.cursor, again.recovered), ("log", "cursor6", None))
        self.happen()
        self.assertEqual(self.heard(), [(7, None)])
        self.assertEqual(self.admission.stats.active_subscriptions, 1)

    def test_on_a_live_topic(self) -> None:
        self.connection.receive(Subscribe("room.1"))
        self.assertEqual(self.subscribe_again("cursor1", "room.1").retention, "live")
        self.connection.receive(Publish("room.1", {"n": 0}))
        self.assertEqual(self.heard(), [(0, None)])
        self.connection.receive(Unsubscribe("room.1"))
        self.assertEqual(self.admission.stats.active_subscriptions, 0)

    def test_while_it_catches_up(self) -> None:
        """Nothing is lost: the answer has the cursor up to which all was sent."""
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor2"))
        self.log.release()
        again = self.subscribe_again()
        self.assertEqual((again.cursor, again.recovered), ("cursor2", True))
        self.log.slow = False
        self.log.release()
        self.turn()
        self.assertEqual(self.heard(), [(3, "users"), (4, "users"), (5, "users")])
        self.assertEqual(self.peer.sent[-1], CaughtUp("users", "cursor5"))

    def test_with_a_cursor_the_replay_begins_anew(self) -> None:
        self.resume("cursor3")
        self.happen()
        again = self.subscribe_again("cursor4")
        self.assertEqual((again.cursor, again.recovered), ("cursor4", True))
        self.turn()
        self.happen()
        self.assertEqual(self.heard(), [(5, "users"), (6, "users"), (7, None)])
        self.assertEqual(self.admission.stats.active_subscriptions, 1)

    def test_the_replay_that_was_under_way_ends(self) -> None:
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor1"))
        self.log.release()
        self.connection.receive(Subscribe("users", "cursor4", repeatable=True))
        self.log.slow = False
        self.log.release()
        self.turn()
        self.assertEqual(self.heard(), [(5, "users")])
        self.assertEqual(
            [said for said in self.peer.sent if isinstance(said, CaughtUp)], [CaughtUp("users", "cursor5")]
        )

    def test_a_cursor_that_is_no_good_leaves_it_as_it_is(self) -> None:
        self.connection.receive(Subscribe("users"))
        self.assertIs(self.subscribe_again("nonsense").recovered, False)
        self.happen()
        self.assertEqual(self.heard(), [(6, None)])

    def test_a_log_that_is_away_leaves_it_as_it_is(self) -> None:
        self.connection.receive(Subscribe("users"))
        self.log.away = True
        self.connection.receive(Subscribe("users", "cursor1", repeatable=True))
        self.assertIsInstance(self.peer.sent[-1], ErrorReply)
        self.log.away = False
        self.happen()
        self.assertEqual(self.heard(), [(6, None)])


class LeavingTests(ResumeCase):
    def test_unsubscribing_while_catching_up(self) -> None:
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor1"))
        self.log.release()  # where the cursor is
        self.turn()
        self.connection.receive(Unsubscribe("users"))
        self.log.slow = False
        self.log.release()
        self.turn()
        self.happen()
        self.assertEqual(self.heard(), [])
        self.assertEqual(self.admission.stats.active_subscriptions, 0)

    def test_the_connection_is_lost_while_its_cursor_is_looked_up(self) -> None:
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor1"))
        self.connection.connection_lost()
        self.log.slow = False
        self.log.release()
        self.turn()
        self.assertEqual((self.heard(), self.flushLoggedErrors()), ([], []))

    def test_subscribing_anew_while_the_transport_is_slow(self) -> None:
        """What the first subscription waited to send is no part of the second."""
        self.connection.receive(Subscribe("users", "cursor1"))
        self.connection.send_queue.pauseProducing()
        self.turn()
        self.connection.receive(Unsubscribe("users"))
        self.connection.receive(Subscribe("users", "cursor4"))
        self.connection.send_queue.resumeProducing()
        self.turn()
        self.assertEqual(self.heard(), [(5, "users")])

    def test_leaving_while_the_cursor_is_looked_up(self) -> None:
        listeners = self.core.dispatcher._tree.match("users")
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor1"))
        self.connection.connection_lost()
        self.log.slow = False
        self.log.release()
        self.turn()
        self.assertEqual(self.core.dispatcher._tree.match("users"), listeners)
        self.assertEqual(self.peer.sent, [])

    def test_a_log_that_is_away(self) -> None:
        """Refused when it can't say where the cursor is; ended, to be resumed, when a page can't be read."""
        self.log.away = True
        self.resume("cursor1")
        self.assertEqual([type(said).__name__ for said in self.peer.sent], ["ErrorReply"])
        self.assertEqual(self.admission.stats.active_subscriptions, 0)
        self.log.away = False
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor1"))
        self.log.release()  # where the cursor is
        self.log.away = True
        self.log.release()  # a page
        self.turn()
        self.assertEqual(
            self.peer.sent[-1], Farewell(CloseReason.INTERNAL_ERROR, "Internal server error", "cursor1")
        )


class FlowTests(ResumeCase):
    def test_a_client_that_resumes_and_never_reads(self) -> None:
        """Nothing piles up for it: the next is taken from the log when the last one was taken by the client."""
        self.log.append(3000)
        self.core.follower.wake()
        self.connection.send_queue.pauseProducing()
        self.resume("cursor1")
        self.assertEqual(self.heard(), [])
        self.assertFalse(self.connection.farewell)
        self.connection.send_queue.resumeProducing()
        for _ in range(5):
            self.turn()
        self.assertEqual([position for position, _ in self.heard()], list(range(2, 3006)))

    def test_what_it_has_no_room_for_waits_here(self) -> None:
        """From the first replay to the end of the last: in the kernel it would stand before the farewell for minutes."""
        self.connection.receive(Subscribe("users", "cursor1"))
        self.connection.send_queue.pauseProducing()
        self.turn()
        self.assertTrue(self.peer.unsent_is_limited)
        self.connection.receive(Subscribe("log.a", "cursor5"))  # which has caught up at once
        self.turn()
        self.assertTrue(self.peer.unsent_is_limited)
        self.connection.send_queue.resumeProducing()
        self.turn()
        self.assertEqual(self.peer.sent[-1], CaughtUp("users", "cursor5"))
        self.assertFalse(self.peer.unsent_is_limited)

    def test_so_it_does_of_a_stream(self) -> None:
        limited: list[bool] = []
        ann = Identity("ann", "session-ann", 1000.0, deadline=1000.0)
        opening = SubscriptionStream.open(
            self.core.hub,
            self.admission,
            "192.0.2.1",
            ann,
            lambda delivery: MAX_BUFFERED // 2,
            "users",
            "cursor1",
            limit_unsent=limited.append,
        )
        opened = Deferred.fromCoroutine(opening)
        self.turn()
        stream = self.successResultOf(opened)
        self.assertEqual(limited, [True])
        for _ in range(4):
            self.assertIsInstance(self.successResultOf(stream.next()), Delivery)
            self.turn()
        self.assertEqual(limited, [True, False])

    def test_its_cursor_if_it_must_go(self) -> None:
        """The lowest of its patterns: nothing is missed on any when it resumes from there."""
        self.connection.receive(Subscribe("users.*"))
        self.log.slow = True
        self.connection.receive(Subscribe("users", "cursor2"))
        self.log.release()
        self.happen("users.x")
        self.log.pending.pop().callback(None)  # the follower's page; the subscription's is still read
        self.connection.close(CloseReason.SHUTDOWN)
        self.assertEqual(
            self.peer.sent[-1], Farewell(CloseReason.SHUTDOWN, "server is shutting down", "cursor2")
        )

    def test_its_cursor_when_another_pattern_resumes_ahead_of_what_was_heard(self) -> None:
        """What the follower has not told yet is missed on the first pattern, whatever the second has."""
        self.connection.receive(Subscribe("users"))
        self.log.append(2)
        self.connection.receive(Subscribe("log.a", "cursor7"))
        self.connection.close(CloseReason.SHUTDOWN)
        self.assertEqual(
            self.peer.sent[-1], Farewell(CloseReason.SHUTDOWN, "server is shutting down", "cursor5")
        )

    def test_its_cursor_when_what_was_heard_is_still_waiting(self) -> None:
        """Nor does a cursor count that waits behind what its client never got."""
        self.connection.receive(Subscribe("users"))
        self.connection.send_queue.pauseProducing()
        self.happen(count=2)
        self.connection.receive(Subscribe("log.a", "cursor6"))  # more than the outbox has room for
        self.assertEqual(
            self.peer.sent[-1],
            Farewell(CloseReason.SLOW_CONSUMER, "Reads more slowly than it subscribed", "cursor5"),
        )

    def test_its_cursor_when_it_has_caught_up(self) -> None:
        """As far as all was told, though nothing of it was for this client."""
        self.resume("cursor1", "log.a")
        self.connection.close(CloseReason.SHUTDOWN)
        self.assertEqual(
            self.peer.sent[-1], Farewell(CloseReason.SHUTDOWN, "server is shutting down", "cursor5")
        )

    def test_many_who_resume_share_their_pages(self) -> None:
        """Reads grow with pages, not with clients, wherever each of them left off."""
        self.log.append(4 * PAGE_SPAN)
        self.core.follower.wake()
        self.log.read_count = 0
        peers = []
        for number in range(60):
            peer, connection = self.connect(f"user{number}")
            connection.receive(Subscribe("users", f"cursor{number % 3}"))
            peers.append(peer)
        for _ in range(60):
            self.turn()
        for number, peer in enumerate(peers):
            self.assertEqual(len(self.heard(peer)), 4 * PAGE_SPAN + 5 - number % 3)
        # Three first pages up to the end of the stretch, then one for each of the others.
        self.assertLess(self.log.read_count, 3 + 5 + 5)

    def test_so_do_those_who_left_off_at_different_places(self) -> None:
        """150 places, and no more reads than grains of the log."""
        self.log.append(195)
        self.core.follower.wake()
        self.log.read_count = 0
        peers = []
        for number in range(600):
            peer, connection = self.connect(f"user{number}")
            connection.receive(Subscribe("users", f"cursor{number % 150}"))
            peers.append(peer)
        for _ in range(60):
            self.turn()
        for number, peer in enumerate(peers):
            expected = [(position, "users") for position in range(number % 150 + 1, 201)]
            self.assertEqual(self.heard(peer), expected)
        self.assertEqual(self.log.read_count, 3)

    def test_what_is_kept_of_them_is_bounded(self) -> None:
        self.log.append((MAX_CACHED_PAGES + 8) * PAGE_SPAN)
        self.core.follower.wake()
        self.connection.receive(Subscribe("users", "cursor1"))
        for _ in range(MAX_CACHED_PAGES * 10):
            self.turn()
        self.assertEqual(len(self.connection._replay_reader._cached_pages), MAX_CACHED_PAGES)

    def test_others_get_their_turn(self) -> None:
        """No more than a handful is sent between two looks of somebody else."""
        self.log.append(100)
        self.core.follower.wake()
        looks: list[int] = []

        def look() -> None:
            looks.append(len(self.heard()))
            if looks[-1] < 104:
                self.clock.callLater(0, look)

        look()
        self.connection.receive(Subscribe("users", "cursor1"))
        self.turn()
        self.assertLessEqual(max(later - earlier for earlier, later in zip(looks, looks[1:])), 32)
        self.assertEqual(looks[-1], 104)
