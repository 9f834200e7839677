"""How positions are named."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.storage.cursors import Term, Terms


class CursorTests(SynchronousTestCase):
    def test_a_position_is_named_after_the_term_it_was_written_in(self) -> None:
        terms = Terms((Term("a", 1), Term("b", 4), Term("idle", 6), Term("c", 6)))
        named = [terms.cursor(position) for position in range(8)]
        self.assertEqual(named, ["a.0", "a.1", "a.2", "a.3", "b.4", "b.5", "c.6", "c.7"])

    def test_the_empty_log_keeps_its_name_over_restarts(self) -> None:
        self.assertEqual(Terms((Term("a", 1),)).cursor(0), Terms((Term("a", 1), Term("b", 1))).cursor(0))
