"""Which migrations a database still needs, and whether it is one of ours.

Migrations are the files `NNN_what.sql`, numbered from 001 without a hole.  A
released one is never edited: databases have had it as it was, as the checksum
that each keeps shows.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Sequence

from attrs import field, frozen

from ..core.transactions import Row
from .errors import StoreUnusable


@frozen
class Migration:
    """One file of `sql/<engine>`."""

    number: int  # from 1
    name: str  # of its file
    text: str = field(repr=False)

    @property
    def title(self) -> str:
        """What it is about: the name without its number."""
        return self.name[4:].removesuffix(".sql")

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def record(self, at: str) -> dict[str, object]:
        """The parameters of the statement `migration_record`: it was applied at the time `at`."""
        return {"number": self.number, "name": self.name, "checksum": self.checksum, "at": at}


def load_migrations(directory: Path) -> tuple[Migration, ...]:
    """The migrations that this version comes with, in order.  Raises `StoreUnusable` for a hole."""
    found = tuple(
        Migration(int(path.name[:3]), path.name, path.read_text("utf-8"))
        for path in sorted(directory.glob("*.sql"))
        if re.match(r"\d{3}_", path.name)
    )
    if not found or [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise StoreUnusable(
            f"the migrations in {directory} are not numbered 001, 002, …: install multiproto anew"
        )
    return found


def pending_migrations(migrations: Sequence[Migration], applied: Sequence[Row]) -> tuple[Migration, ...]:
    """Those of `migrations` that are still to be applied to a database with the rows `applied`.

    Raises `StoreUnusable` when an applied one was edited since, or is unknown to this version.
    """
    for migration, row in zip(migrations, applied):
        if row["checksum"] != migration.checksum:
            raise StoreUnusable(
                f"migration {migration.name} is not the one that this database has had "
                f"(SHA-256 {migration.checksum[:12]}…, was {row['checksum'][:12]}…): "
                "put the released file back and the change into a new migration"
            )
    if len(applied) > len(migrations):
        raise StoreUnusable(
            f"the database is newer than this version: it has had {applied[-1]['name']}, the last one known "
            f"here is {migrations[-1].name}: install the newer version, or restore an older backup"
        )
    return tuple(migrations[len(applied) :])
