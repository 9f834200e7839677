"""Reads all that is stored and says what is damaged: `python -m multiproto check-data`.

It changes nothing, and a server may run meanwhile.  The exit status is 0 where
no damage was found, 1 where some was, and 2 where the data can't be read at all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator, Mapping, Sequence

from twisted.python import usage

from ..config import ConfigError, load_config
from ..config.backends import StorageConfig
from ..config.options import SettingOptions
from ..storage.check import RowsRead
from ..storage.errors import StoreUnusable
from ..storage.postgresql import check as postgresql_check
from ..storage.sqlite import check as sqlite_check
from ..storage.sqlite.errors import translate_sqlite_errors
from ..storage.sqlite.store import DATABASE_FILE

SOUND, DAMAGED, UNREADABLE = 0, 1, 2  # exit statuses

HELP_TEXT = """
Reads everything in the database of the server that is configured so, and prints a line for each thing that is
damaged: pages that make no sense or (PostgreSQL) differ from their checksums, rows that (SQLite) differ from theirs,
texts that are not UTF-8, JSON that is none, rows that refer to none. It changes nothing, and the server may run. Give it the options and the
environment that the server is started with, as the user that it runs as.

The exit status is 0 if no damage was found, 1 if some was, 2 if the data can't be read at all.
docs/operations.md#damaged-data says what to do then.
"""


class CheckDataOptions(SettingOptions):
    """The options of the server."""

    synopsis = "Usage: python -m multiproto check-data [options]"

    def getUsage(self, width: int | None = None) -> str:
        return str(super().getUsage(width)) + HELP_TEXT


def main(arguments: Sequence[str], environ: Mapping[str, str], folder: Path = Path()) -> int:
    options = CheckDataOptions()
    try:
        options.parseOptions(arguments)
        storage = load_config(options.flag_settings(), environ, options.file, folder).config.storage
    except (usage.UsageError, ConfigError) as bad:
        print(f"multiproto: {bad}; see --help", file=sys.stderr)
        return UNREADABLE
    read, count = RowsRead(), 0
    try:
        for problem in _find_damage(storage, read):
            print(f"damaged: {problem}", flush=True)
            count += 1
    except StoreUnusable as error:
        print(f"multiproto: {error}", file=sys.stderr)
        return UNREADABLE
    what = f"{read.rows:,} rows in {read.tables} tables of {storage.display_name}"
    print(f"{what}: {f'{count} damaged' if count else 'no damage found'}")
    return DAMAGED if count else SOUND


def _find_damage(storage: StorageConfig, read: RowsRead) -> Iterator[str]:
    """Raises `StoreUnusable`."""
    if storage.postgresql_dsn is not None:
        yield from postgresql_check.find_damage(storage.postgresql_dsn, read)
        return
    file = Path(storage.directory) / DATABASE_FILE
    if not file.is_file():
        raise StoreUnusable(f"{file} is not there: name the server's directory with --data-dir")
    with translate_sqlite_errors(file):
        yield from sqlite_check.find_damage(file, read)
