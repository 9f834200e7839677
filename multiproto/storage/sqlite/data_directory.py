"""The directory of the embedded store's files, locked for one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from attrs import define

from ..errors import DataDirectoryInUse, StoreUnusable


@define(eq=False, repr=False)
class DataDirectory:
    """Locked from `acquire` to `release`; the system unlocks it when the process dies."""

    path: Path
    _lock_descriptor: int

    @classmethod
    def acquire(cls, path: Path) -> DataDirectory:
        """Create `path` if it is missing, for its owner only, and lock it.  Raises `StoreUnusable`, also as `DataDirectoryInUse`."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / "multiproto.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise DataDirectoryInUse(path) from None
        except OSError as error:
            raise StoreUnusable(f"data directory {path} can't be used: {error.strerror}") from error
        return cls(path, lock)

    def create_file(self, name: str) -> Path:
        """The path of the file `name`, created if it is missing, for its owner only."""
        path = self.path / name
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnusable(f"{path} can't be written: {error.strerror}") from error
        return path

    def release(self) -> None:
        os.close(self._lock_descriptor)
