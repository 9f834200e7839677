"""How far two names are apart."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.spelling import edit_distance, nearest


class SpellingTests(SynchronousTestCase):
    def test_distances(self) -> None:
        for one, other, distance in [
            ("", "", 0),
            ("", "abc", 3),
            ("key", "key", 0),
            ("key", "KEY", 0),
            ("key", "kye", 1),
            ("ab", "bca", 3),
            ("secret", "escret", 1),
            ("after", "aftr", 1),
            ("kitten", "sitting", 3),
            ("content", "data", 6),
        ]:
            self.assertEqual(edit_distance(one, other), distance, (one, other))
            self.assertEqual(edit_distance(other, one), distance, (other, one))

    def test_the_nearest(self) -> None:
        self.assertEqual(nearest("tokn", ["topic", "token"]), "token")
        self.assertEqual(nearest("x", ["one", "two"]), "one")

    def test_only_the_beginning_of_a_long_name_is_compared(self) -> None:
        self.assertEqual(edit_distance("x" * 10**6, "y" * 10**6), 40)
        self.assertEqual(
            edit_distance("\u0390" * 40, ""), 40
        )  # each is three characters without regard to case
