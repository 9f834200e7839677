"""What was acknowledged is there after `kill -9` (docs/guarantees.md#g1-durable-acknowledgement)."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import multiproto
from multiproto.storage.sqlite.store import DATABASE_FILE

ROOT = Path(multiproto.__file__).parent.parent


class KillTests(SynchronousTestCase):
    def acknowledged(self, directory: Path) -> set[int]:
        """The numbers that a process acknowledged before it was killed in the midst of its work."""
        command = [sys.executable, "-m", "tests.storage.committing", str(directory)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = [process.stdout.readline() for _ in range(200)]
            process.kill()
            rest = process.stdout.readlines()
        return {int(line) for line in first + rest if line.endswith("\n")}

    def test_everything_acknowledged_survives_and_the_log_is_dense(self) -> None:
        directory = Path(self.mktemp()).absolute()
        acknowledged = self.acknowledged(directory)
        with sqlite3.connect(directory / DATABASE_FILE) as reopened:
            messages = {int(row[0][1:]) for row in reopened.execute("SELECT id FROM messages")}
            log = reopened.execute("SELECT position, subject FROM events ORDER BY position").fetchall()
            head = reopened.execute("SELECT position FROM head").fetchall()
            integrity = reopened.execute("PRAGMA integrity_check").fetchall()
        reopened.close()
        self.assertGreaterEqual(len(acknowledged), 200)
        self.assertEqual(acknowledged - messages, set())
        self.assertEqual({int(subject[1:]) for _, subject in log}, messages)
        self.assertEqual([position for position, _ in log], list(range(1, len(log) + 1)))
        self.assertEqual((head, integrity), ([(len(log),)], [("ok",)]))
