"""Every program of this checkout explains itself, and says what is wrong with an argument that it does not know."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

from ..timing import RESCUE

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "examples", "multiproto", "tests")
# Whose arguments are those of another program, which reads them itself: twistd, and trial.
OTHERS = {"multiproto.workers", "tests.watched"}
COMMANDS = ("user", "check-config", "check-data", "explain", "move")  # of `python -m multiproto`
SHORTEST = 200  # characters that can teach anything


def programs() -> Iterator[str]:
    """The modules that run as `python -m`."""
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" in file.parts:
                continue
            if file.name == "__main__.py" or re.search(r'^if __name__ == "__main__"', file.read_text(), re.M):
                yield ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")


class HelpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())  # where nothing is, and nothing is to be afterwards
        self.folder.mkdir()
        self.calls = [(each,) for each in programs() if each not in OTHERS]
        self.calls += [("multiproto", command) for command in COMMANDS]

    def run_all(self, argument: str) -> Iterator[tuple[str, subprocess.CompletedProcess[str]]]:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            yield from zip(
                map(" ".join, self.calls), threads.map(lambda call: self.run_one(*call, argument), self.calls)
            )

    def run_one(self, *call: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *call],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RESCUE,
        )

    def test_each_has_a_help_that_teaches(self) -> None:
        self.assertGreater(len(self.calls), 40)
        for name, ran in self.run_all("--help"):
            self.assertEqual((ran.returncode, ran.stderr), (0, ""), name)
            self.assertIn("usage:", ran.stdout.lower(), name)
            self.assertGreater(len(ran.stdout), SHORTEST, name)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_each_says_how_it_is_used_after_a_wrong_argument(self) -> None:
        for name, ran in self.run_all("--no-such-option"):
            said = ran.stdout + ran.stderr
            self.assertEqual(ran.returncode, 2, f"{name}: {said}")
            self.assertRegex(said, "usage:|--help", name)
            self.assertNotIn("Traceback", said, name)
        self.assertEqual(list(self.folder.iterdir()), [])
