"""The errors of a store that can't be opened, and of one whose data is damaged."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import DatabaseError


class StoreUnusable(Exception):
    """The store can't be used as it is; the text is one line for the operator: what, where, what to do."""


class DataDirectoryInUse(StoreUnusable):
    """Another process has locked the data directory; the text is for one who starts a server."""

    def __init__(self, path: Path) -> None:
        self.what = f"data directory {path} is in use by another multiproto"
        super().__init__(f"{self.what}: stop that, or give this server a directory of its own by DATA_DIR")


class DataDamaged(DatabaseError):
    """What is stored is not what was written: a disk, a file system or another program has changed it.

    `evidence` is for the operator, and has nothing of the data in it.
    """

    def __init__(self, evidence: str) -> None:
        super().__init__("Stored data is damaged")
        self.evidence = evidence
