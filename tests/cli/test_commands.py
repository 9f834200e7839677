"""The commands that operators type, as programs: their names outlive any move of the code behind them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent


class CommandTests(SynchronousTestCase):
    def run_module(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Status, stdout and stderr of `python -m` in an empty folder."""
        folder = Path(self.mktemp())
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def test_explain(self) -> None:
        rules = '[{"match": "fleet.{user}.**", "allow": ["publish"]}]'
        arguments = ("multiproto.explain", "--user", "ann", "publish")
        for topic, status, answer in (("fleet.ann.pump", 0, "yes"), ("fleet.bob.pump", 1, "no")):
            found = self.run_module(*arguments, topic, RULES=rules)
            self.assertEqual((found[0], found[1].partition(":")[0]), (status, answer), found)

    def test_move(self) -> None:
        """It names what is missing, and itself as it was typed."""
        status, _, stderr = self.run_module("multiproto.move")
        self.assertEqual(status, 2)
        self.assertIn("python -m multiproto.move: error: the following arguments are required: --to", stderr)
        status, _, stderr = self.run_module(
            "multiproto.move", "--from", "nowhere", "--to", "postgresql://x/y"
        )
        self.assertEqual(status, 1)
        self.assertTrue(stderr.startswith("multiproto: "), stderr)
