"""Sets the clock of a process under test, while it works at full speed; its monotonic clock stays true.

libfaketime, with which `tests.live.test_clock_leaps` does the same, makes a
change of threads from 3 to 110 times as slow (noisy runs): under load, requests
took 5 s.  So `fake_clock.c` is compiled here.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Mapping

from attrs import define

MINUTE, HOUR, DAY = 60, 3600, 86_400
LEAPS = (10 * MINUTE, -HOUR, 40 * DAY, -40 * DAY)  # seconds
SOURCE = Path(__file__).with_suffix(".c")


class NoFakeClock(Exception):
    """It can't be compiled here; says why."""


@define(eq=False)
class FakeClock:
    """The time of day of every process that is started with its `environment`."""

    _directory: Path  # of its own files

    @classmethod
    def make(cls, directory: Path) -> FakeClock:
        """Raises `NoFakeClock`."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoFakeClock("there is no C compiler to make tests/fake_clock.c with")
        clock = cls(directory)
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(clock._library), str(SOURCE), "-ldl"]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            raise NoFakeClock(f"tests/fake_clock.c can't be compiled: {made.stderr.strip()}")
        clock.set(0)
        return clock

    @property
    def _library(self) -> Path:
        return self._directory / "fake_clock.so"

    @property
    def _file(self) -> Path:
        return self._directory / "fake_clock.offset"

    def set(self, seconds: int) -> None:
        """Ahead of ours by `seconds`, in place: the processes have mapped the file."""
        self._file.touch()
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    @property
    def environment(self) -> Mapping[str, str]:
        return {"LD_PRELOAD": str(self._library), "FAKE_CLOCK_FILE": str(self._file)}
