"""Where the examples resume several patterns, when a connection ends before all have caught up."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from examples.cursors import Cursors


class CursorsTests(SynchronousTestCase):
    """docs/client-libraries.md#which-cursor-to-keep"""

    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.cursors = Cursors(self.file)
        self.assertEqual([self.cursors.after(pattern) for pattern in ("a", "b")], [None, None])
        for pattern in ("a", "b"):
            self.cursors.note("subscribed", {"topic": pattern, "cursor": "c1"})
        self.cursors.note("message", {"topic": "a", "cursor": "c5"})

    def resumed(self) -> list[str | None]:
        """Where a new connection resumes both, by what is in the file, too."""
        kept = [Cursors(self.file).after(pattern) for pattern in ("a", "b")]
        again = [self.cursors.after(pattern) for pattern in ("a", "b")]
        self.assertEqual(kept, again)
        return again

    def test_both_have_caught_up(self) -> None:
        self.assertEqual(self.resumed(), ["c5", "c5"])

    def test_one_has_and_of_the_other_nothing_was_said(self) -> None:
        self.resumed()
        self.cursors.note("subscribed", {"topic": "a", "cursor": "c5", "recovered": True})
        self.cursors.note("caught_up", {"topic": "a", "cursor": "c9"})
        self.assertEqual(self.resumed(), ["c9", "c5"])

    def test_one_has_while_the_other_catches_up(self) -> None:
        self.resumed()
        for pattern in ("a", "b"):
            self.cursors.note("subscribed", {"topic": pattern, "cursor": "c5", "recovered": True})
        self.cursors.note("message", {"topic": "b", "cursor": "c7", "replay": "b"})
        self.cursors.note("caught_up", {"topic": "a", "cursor": "c8"})
        self.cursors.note("message", {"topic": "a", "cursor": "c9"})
        self.assertEqual(self.resumed(), ["c9", "c7"])
        self.cursors.note("subscribed", {"topic": "b", "cursor": "c20", "recovered": False})
        self.assertEqual(self.resumed(), ["c9", "c20"])
