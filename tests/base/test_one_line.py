"""Texts of other programs as one line."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.one_line import one_line


class OneLineTests(SynchronousTestCase):
    def test_blanks_and_line_ends_become_one_space(self) -> None:
        self.assertEqual(one_line("  no route\n\tto host: \r\n5432 "), "no route to host: 5432")

    def test_of_an_exception_it_is_the_message(self) -> None:
        self.assertEqual(one_line(OSError("a\nb")), "a b")
        self.assertEqual(one_line(ValueError()), "")
