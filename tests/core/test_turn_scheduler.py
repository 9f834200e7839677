"""Who has the reactor's time, once there is more to do than a turn has time for."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.turn_scheduler import (
    IDLE_REST,
    MAX_OVERDRAWN,
    MAX_REST,
    TIME_SLICE,
    TURN_BUDGET,
    TurnScheduler,
)

from ..fakes import ManualTurn, run_one_turn

LONG = 1.5 * TURN_BUDGET  # seconds of a piece that is a long one, with no rest after it


class TurnCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.turn = Clock(), ManualTurn()
        self.turns = TurnScheduler(
            partial(self.clock.callLater, 0), self.turn, self.turn, lambda host: host == "192.0.2.99"
        )
        self.done: list[str] = []

    def work(self, name: str, seconds: float = 0.0) -> None:
        """Something that takes so many seconds and can't be interrupted."""
        self.done.append(name)
        self.turn.seconds += seconds

    def later(self, key: str, name: str, seconds: float = 0.0) -> None:
        self.turns.run_later(key, "test", lambda: self.work(name, seconds))

    def next_turn(self) -> list[str]:
        self.turn.end()
        before = len(self.done)
        run_one_turn(self.clock)
        return self.done[before:]


class BudgetTests(TurnCase):
    def test_while_there_is_time_nothing_waits(self) -> None:
        for _ in range(3):
            self.turn.seconds += TURN_BUDGET * 0.99
            self.assertTrue(self.turns.has_time("a"))
            self.turn.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_the_budget_everybody_waits(self) -> None:
        self.turn.seconds += TURN_BUDGET
        self.assertEqual((self.turns.has_time("a"), self.turns.has_time("b")), (False, False))
        self.turn.end()
        self.assertTrue(self.turns.has_time("b"))

    def test_who_waits_is_not_overtaken_by_the_same_address(self) -> None:
        self.later("a", "first")
        self.assertEqual((self.turns.has_time("a"), self.turns.has_time("b")), (False, True))
        self.assertEqual(self.next_turn(), ["first"])
        self.assertTrue(self.turns.has_time("a"))

    def test_what_waited_has_a_slice(self) -> None:
        looks: list[bool] = []

        def work() -> None:
            looks.append(self.turns.has_time("a"))
            self.turn.seconds += TIME_SLICE
            looks.append(self.turns.has_time("a"))

        self.turns.run_later("a", "test", work)
        self.next_turn()
        self.assertEqual(looks, [True, False])

    def test_what_waited_leaves_time_for_what_comes(self) -> None:
        """The rest waits for a further turn."""
        for n in range(5):
            self.later("a", str(n), TURN_BUDGET / 2)
        self.assertEqual(self.next_turn(), ["0", "1"])
        self.assertEqual(self.next_turn(), ["2", "3"])
        self.assertEqual(self.next_turn(), ["4"])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RestTests(TurnCase):
    """After a long piece, what others ask for in several steps goes first."""

    def setUp(self) -> None:
        super().setUp()
        self.later("a", "long", 3 * TURN_BUDGET)
        self.later("a", "next")
        self.assertEqual(self.next_turn(), ["long"])

    def rest(self) -> None:
        """Let the time pass, and do what waited for that."""
        self.turn.seconds += 3 * TURN_BUDGET
        self.assertEqual(self.next_turn(), ["next"])

    def test_while_something_else_is_ready(self) -> None:
        self.turn.is_idle = False
        self.turn.seconds += 3 * TURN_BUDGET * 0.99
        self.assertEqual(self.next_turn(), [])
        self.rest()

    def test_for_a_quarter_while_nothing_is(self) -> None:
        """What others have in threads, or on the disk, comes back meanwhile."""
        self.turn.seconds += 3 * TURN_BUDGET * IDLE_REST * 0.99
        self.assertEqual(self.next_turn(), [])
        self.turn.seconds += 3 * TURN_BUDGET * IDLE_REST * 0.02
        self.assertEqual(self.next_turn(), ["next"])

    def test_also_after_one_that_did_not_wait(self) -> None:
        self.rest()
        began = self.turns.now()
        self.turn.seconds += 3 * TURN_BUDGET
        self.turns.count("b", "test", began)
        self.turn.end()
        self.assertEqual((self.turns.has_time("a"), self.turns.has_time("b")), (True, False))
        self.later("b", "b")
        self.turn.is_idle = False
        self.assertEqual(self.next_turn(), [])

    def test_for_so_long_and_no_longer(self) -> None:
        self.rest()
        self.later("a", "very long", 1.0)
        self.later("a", "last")
        self.assertEqual(self.next_turn(), ["very long"])
        self.turn.is_idle = False
        self.turn.seconds += MAX_REST * 0.99
        self.assertEqual(self.next_turn(), [])
        self.turn.seconds += MAX_REST * 0.02
        self.assertEqual(self.next_turn(), ["last"])


class FairnessTests(TurnCase):
    def test_by_address_first(self) -> None:
        """A hundred connections of one address delay another address by one piece of work."""
        for n in range(100):
            self.later("a", f"a{n}", TURN_BUDGET)
        self.later("b", "b")
        self.assertEqual(self.next_turn() + self.next_turn(), ["a0", "b", "a1"])

    def test_after_a_long_piece_an_address_waits_in_any_case(self) -> None:
        """So a turn has one long piece of it, and not one more when it is read; a short one ends that."""
        self.later("a", "long", LONG)
        self.assertEqual(self.next_turn(), ["long"])
        self.turn.end()
        self.assertEqual((self.turns.has_time("a"), self.turns.has_time("b")), (False, True))
        self.later("a", "short")
        self.assertEqual(self.next_turn(), ["short"])
        self.assertTrue(self.turns.has_time("a"))

    def test_a_short_piece_does_not_wait_behind_the_long_ones_of_several_addresses(self) -> None:
        for key in ("a", "b", "c"):
            self.later(key, f"{key}1", LONG)
            self.later(key, f"{key}2", LONG)
        self.assertEqual([self.next_turn() for _ in range(3)], [["a1"], ["b1"], ["c1"]])
        self.assertTrue(self.turn.has_long_work)
        self.later("d", "short")
        self.assertEqual(self.next_turn(), ["short", "a2"])
        self.assertTrue(self.turn.has_long_work)
        self.assertEqual([self.next_turn() for _ in range(2)], [["b2"], ["c2"]])
        self.assertFalse(self.turn.has_long_work)

    def test_after_a_short_piece_the_rest_of_an_address_is_not_overtaken(self) -> None:
        """Neither by what comes then and is read, nor by what waits later."""
        for key in ("a", "b"):
            self.later(key, f"{key}1", LONG)
            self.next_turn()
        for key, name, seconds in (
            ("a", "a2", TURN_BUDGET / 2),
            ("a", "a3", 0.0),
            ("b", "b2", LONG),
        ):
            self.later(key, name, seconds)
        self.assertEqual(self.next_turn(), ["a2", "b2"])
        self.turn.end()
        self.assertFalse(self.turns.has_time("a"))
        self.later("a", "a4")
        self.assertEqual(self.next_turn(), ["a3", "a4"])
        self.turn.end()
        self.assertTrue(self.turns.has_time("a"))

    def test_after_a_long_piece_the_rest_of_an_address_is_not_overtaken(self) -> None:
        self.later("a", "a1", LONG)
        self.later("a", "a2")
        self.assertEqual(self.next_turn(), ["a1"])
        self.later("a", "a3")
        self.assertEqual(self.next_turn(), ["a2", "a3"])

    def test_long_pieces_have_their_turn_beside_many_short_ones(self) -> None:
        self.later("a", "long", LONG)
        self.next_turn()
        self.later("a", "next", LONG)
        for n in range(9):
            self.later("b", str(n), TURN_BUDGET / 2)
        self.assertEqual(self.next_turn(), ["0", "1", "next"])

    def test_how_many_long_pieces_are_remembered(self) -> None:
        for n in range(MAX_OVERDRAWN + 1):
            self.later(str(n), "long", LONG)
            self.next_turn()
        self.turn.end()
        self.assertEqual([self.turns.has_time(key) for key in ("0", str(MAX_OVERDRAWN))], [True, False])

    def test_what_has_begun_goes_on_before_the_others_of_its_address(self) -> None:
        """In another turn than it began in."""

        def begin() -> None:
            self.work("begun", LONG)
            self.turns.run_in_later_turn("a", "test", lambda: self.work("rest"))

        self.turns.run_later("a", "test", begin)
        self.later("a", "other")
        self.assertEqual([self.next_turn(), self.next_turn()], [["begun"], ["rest", "other"]])

    def test_one_that_goes_on_waits_behind_the_others_of_its_address(self) -> None:
        def again() -> None:
            self.work("again")
            self.later("a", "rest")

        self.turns.run_later("a", "test", again)
        self.later("a", "other")
        self.assertEqual(self.next_turn(), ["again", "other", "rest"])

    def test_whose_time_it_is(self) -> None:
        for host, key in (
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1:2:3:4", "2001:db8::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ):
            self.assertEqual(self.turns.key(host, "c1"), key)
        self.assertNotEqual(self.turns.key("192.0.2.99", "c1"), self.turns.key("192.0.2.99", "c2"))

    def test_a_bug_costs_only_itself(self) -> None:
        self.turns.run_later("a", "test", lambda: 1 / 0)
        self.later("b", "b")
        self.assertEqual(self.next_turn(), ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.turns.has_time("a"))


class WaitTests(TurnCase):
    def test_now_or_in_a_later_turn(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.turns.wait("a", "test")))
        self.turn.seconds += TURN_BUDGET
        waiting = Deferred.fromCoroutine(self.turns.wait("a", "test"))
        self.assertNoResult(waiting)
        self.next_turn()
        self.successResultOf(waiting)

    def test_what_is_counted(self) -> None:
        began = self.turns.now()
        self.turn.seconds += 0.25
        self.turns.count("a", "test", began)
        self.turns.count("a", "test", self.turns.now() - 1)
        self.later("a", "a")
        self.assertEqual((self.turns._work_seconds, self.turns._waits), ({"test": 1.25}, {"test": 1}))
