"""Journals: what was written is read back, and a line that a kill cut off is none."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .records import DELIVER, INVOKED, OK, SEND, Journal, Record, fingerprint, read


class JournalTests(SynchronousTestCase):
    def test_written_and_read(self) -> None:
        path = Path(self.mktemp())
        journal = Journal(path, iter((1.0, 2.5)).__next__)
        journal.write("a", "tcp", SEND, "1", "messages", INVOKED, hash="h")
        journal.write("a", "tcp", DELIVER, "s", "messages", OK, cursor="t.1", user="ann")
        with path.open("ab") as file:
            file.write(b'{"time":3.0,"cli')
        self.assertEqual(
            list(read(path)),
            [
                Record(1.0, "a", "tcp", SEND, "1", "messages", "h", INVOKED),
                Record(2.5, "a", "tcp", DELIVER, "s", "messages", "", OK, "t.1", "ann"),
            ],
        )

    def test_fingerprint(self) -> None:
        """Of the value, not of its spelling."""
        self.assertEqual(fingerprint({"a": 1, "b": ["é"]}), fingerprint({"b": ["é"], "a": 1}))
        self.assertNotEqual(fingerprint({"a": 1}), fingerprint({"a": "1"}))
