"""A disk of its own for a database under test, which can be filled up."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from attrs import frozen

FILLER = "filler"
CHUNKS = (1 << 20, 4096, 1)  # bytes; the last ones fit where no larger ones do


class NoDisk(Exception):
    """The system allows none; says why."""


@frozen
class Disk:
    """A file system in memory, mounted on a directory of its own."""

    path: Path

    @classmethod
    def mount(cls, megabytes: int) -> Disk:
        """Raises `NoDisk`."""
        path = Path(tempfile.mkdtemp(prefix="disk-"))
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"size={megabytes}m,mode=0755".encode()
        if libc.mount(b"tmpfs", str(path).encode(), b"tmpfs", 0, options) != 0:
            path.rmdir()
            raise NoDisk(f"no tmpfs can be mounted: {os.strerror(ctypes.get_errno())}")
        return cls(path)

    def fill(self) -> None:
        """To the last byte."""
        with (self.path / FILLER).open("ab", buffering=0) as filler:
            for size in CHUNKS:
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        (self.path / FILLER).unlink()

    def unmount(self, keep: Path | None = None) -> None:
        """Its files are copied to `keep` first, if it is given."""
        if keep is not None:
            shutil.copytree(self.path, keep, ignore=shutil.ignore_patterns(FILLER), symlinks=True)
        libc = ctypes.CDLL(None, use_errno=True)
        detach = 2  # MNT_DETACH, umount2(2): somebody may still look at it
        if libc.umount2(str(self.path).encode(), detach) != 0:
            raise OSError(ctypes.get_errno(), "umount2", str(self.path))
        with suppress(OSError):
            self.path.rmdir()
