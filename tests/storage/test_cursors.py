"""How positions are named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.storage.cursors import Term, Terms


class CursorTests(SynchronousTestCase):
    def test_a_position_is_named_after_the_term_it_was_written_in(self) -> None:
        terms = Terms((Term("a", 1), Term("b", 4), Term("idle", 6), Term("c", 6)))
        named = [terms.cursor_of(position) for position in range(8)]
        self.assertEqual(named, ["a.0", "a.1", "a.2", "a.3", "b.4", "b.5", "c.6", "c.7"])
        self.assertEqual(terms.cursors_of(range(8)), named)

    def test_a_name_stands_for_its_position_and_no_other_name_does(self) -> None:
        terms = Terms((Term("a", 1), Term("b", 4), Term("idle", 6), Term("c", 6)))
        self.assertEqual(
            [terms.position_of(terms.cursor_of(position)) for position in range(8)], list(range(8))
        )
        never = ["b.3", "a.4", "idle.5", "idle.6", "b.6", "c.5", "b.0", "x.1", "a.01", "a.", ".1", "a"]
        self.assertEqual([terms.position_of(text) for text in never], [None] * len(never))

    @given(st.text() | st.from_regex(r"(a|b)\.\d+", fullmatch=True))
    def test_any_text_is_the_name_of_one_position_or_of_none(self, text: str) -> None:
        terms = Terms((Term("a", 1), Term("b", 4)))
        position = terms.position_of(text)
        self.assertTrue(position is None or terms.cursor_of(position) == text)

    def test_the_empty_log_keeps_its_name_over_restarts(self) -> None:
        self.assertEqual(
            Terms((Term("a", 1),)).cursor_of(0), Terms((Term("a", 1), Term("b", 1))).cursor_of(0)
        )
