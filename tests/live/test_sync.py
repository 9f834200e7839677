"""Nothing is acknowledged that the disk did not confirm.


docs/guarantees.md#g1-durable-acknowledgement
`kill -9` can't tell what was synced from what only the kernel had, so the sync
itself is made to fail.  A full disk is the subject of
`tests.storage.sqlite.test_writer`.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

import multiproto
from multiproto.storage.sqlite.store import DATABASE_FILE

from ..timing import RESCUE
from .syncing import ACKNOWLEDGED, REFUSED

ROOT = Path(multiproto.__file__).parent.parent
UNITS = 30
GOOD = 20  # syncs of one thread that succeed; what follows fails: the writer's, well after the start


def traced(directory: Path, *options: str) -> list[str]:
    """The system calls of a process that commits `UNITS` units, in order."""
    strace = shutil.which("strace")
    if strace is None:
        raise SkipTest("strace is not installed")
    trace = directory.with_suffix(".strace")
    child = [sys.executable, "-m", "tests.live.syncing", str(directory), str(UNITS)]
    command = [strace, "-f", "-o", str(trace), "-e", "trace=fdatasync,fsync,write", *options, *child]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RESCUE)
    if "ptrace" in done.stderr:
        raise SkipTest(f"strace can't attach here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return trace.read_text().splitlines()


def said(calls: list[str], outcome: str) -> list[str]:
    """The ids of the units of which the process said `outcome` in `calls`."""
    found = [re.search(rf'write\(1, "{outcome} (\w+)', call) for call in calls]
    return [match[1] for match in found if match]


class SyncTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()

    def kept(self) -> list[str]:
        """The ids in the log of the reopened file, which must be sound."""
        with sqlite3.connect(self.directory / DATABASE_FILE) as reopened:
            self.assertEqual(reopened.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            found = reopened.execute("SELECT id FROM events ORDER BY position").fetchall()
        reopened.close()
        return [id for (id,) in found]

    def test_each_acknowledgement_follows_a_sync_of_its_own(self) -> None:
        """One writer at a time, so no sync is shared; this is what the next test relies on."""
        calls = traced(self.directory)
        begin = next(n for n, call in enumerate(calls) if "acknowledged e0" in call)
        order = [
            "sync" if "sync(" in call else "acknowledged"
            for call in calls[begin:]
            if re.search(r"f(data)?sync\(.* = 0$", call) or 'write(1, "acknowledged' in call
        ]
        self.assertEqual(order, ["acknowledged"] + ["sync", "acknowledged"] * (UNITS - 1))
        self.assertEqual(self.kept(), [f"e{n}" for n in range(UNITS)])

    def test_no_acknowledgement_follows_a_sync_that_failed(self) -> None:
        calls = traced(self.directory, "-e", f"inject=fdatasync,fsync:error=EIO:when={GOOD}+")
        failed = next(n for n, call in enumerate(calls) if "(INJECTED)" in call)
        before, after = calls[:failed], calls[failed:]
        acknowledged = said(before, ACKNOWLEDGED)
        self.assertGreater(len(acknowledged), 3)
        self.assertEqual((said(before, REFUSED), said(after, ACKNOWLEDGED)), ([], []))
        refused = [f"e{n}" for n in range(len(acknowledged), UNITS)]
        self.assertEqual(said(after, REFUSED), refused)
        self.assertEqual(self.kept()[: len(acknowledged)], acknowledged)
