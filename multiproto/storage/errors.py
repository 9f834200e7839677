"""The errors of a store that can't be opened."""

from __future__ import annotations

from pathlib import Path


class StoreUnusable(Exception):
    """The store can't be used as it is; the text is one line for the operator: what, where, what to do."""


class DataDirectoryInUse(StoreUnusable):
    """Another process has locked the data directory; the text is for one who starts a server."""

    def __init__(self, path: Path) -> None:
        self.what = f"data directory {path} is in use by another multiproto"
        super().__init__(f"{self.what}: stop that, or give this server a directory of its own by DATA_DIR")
