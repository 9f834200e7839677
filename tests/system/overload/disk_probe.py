"""How long the disk takes for a sync by itself: where it stands still, no server can acknowledge what it is to keep."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event, Thread

EVERY = 0.02  # seconds between two syncs
SIZE = 4096  # bytes, written again and again


class DiskProbe:
    """Syncs a small file in `directory` from a thread of its own, until `stop`."""

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / "disk-probe", os.O_CREAT | os.O_WRONLY, 0o600)
        self._longest = 0.0
        self._stopped = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def longest(self) -> float:
        """Milliseconds of the longest sync since this was asked before."""
        longest, self._longest = self._longest, 0.0
        return longest * 1000

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        os.close(self._file)

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            os.pwrite(self._file, bytes(SIZE), 0)
            began = time.perf_counter()
            os.fdatasync(self._file)
            self._longest = max(self._longest, time.perf_counter() - began)
