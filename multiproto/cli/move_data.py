"""Moves all data to another store, or takes over the predecessor's: `python -m multiproto.move`.

From the embedded store to PostgreSQL, for a server that has outgrown one process:
clients notice only that it stops for a while, since their tokens, cursors and
idempotency keys stay valid (docs/instances.md#from-the-embedded-store).

From the predecessor's PostgreSQL to a fresh store of either kind, or in place
(docs/from-the-predecessor.md).

The exit status is 0 for done, 1 for refused, and 2 for an error in the arguments.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Callable, Sequence

from ..config import parsers
from ..storage import takeover
from ..storage.copy import copy_to_postgresql, count_rows
from ..storage.errors import StoreUnusable
from ..storage.postgresql.predecessor import Survey
from .command_parser import CommandParser
from .wording import describe_unusable_store


def main(arguments: Sequence[str]) -> int:
    parser = _argument_parser()
    options = parser.read(arguments)
    move = _choose(parser, options)
    try:
        move(options)
    except StoreUnusable as error:
        print(f"multiproto: {describe_unusable_store(error)}", file=sys.stderr)
        return 1
    return 0


def _choose(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Callable[..., object]:
    """What the options ask for; ends the program, with what to do, where they do not go together."""
    if _is_postgresql(options.source):
        if options.undo:
            return _undo if not options.dry_run else parser.error("--undo has no --dry-run")
        if options.dry_run:
            return _show_survey
        if options.in_place:
            return _take_over_in_place
        return _copy_from_predecessor
    if options.target is None or not _is_postgresql(options.target):
        parser.error(
            "from a data directory the way leads --to postgresql://…; "
            "--in-place and --undo are for a predecessor's database: --from postgresql://…"
        )
    return _show_rows if options.dry_run else _move_to_postgresql


def _move_to_postgresql(options: argparse.Namespace) -> None:
    source = Path(options.source)
    moved = copy_to_postgresql(source, options.target, time.time(), _print_progress)
    print(f"moved {sum(moved.values()):,} rows; {source} is as it was")
    if (source / "jwt-secret").exists():
        print(f"tokens stay good with JWT_SECRET_FILE={source / 'jwt-secret'} on all instances")


def _show_rows(options: argparse.Namespace) -> None:
    for table, rows in count_rows(Path(options.source)).items():
        print(f"{table}: {rows:,}")
    print("these rows would be moved; nothing was changed")


def _show_survey(options: argparse.Namespace) -> None:
    found = takeover.survey(options.source)
    _print_survey(found)
    if found.obstacles:
        raise StoreUnusable("nothing would be taken over, until what STOPS it is mended; nothing was changed")
    where = f"; its tables would be kept in the schema {takeover.KEPT_SCHEMA}" if options.in_place else ""
    print(f"all users and messages would be taken over{where}; nothing was changed")


def _take_over_in_place(options: argparse.Namespace) -> None:
    found = takeover.take_over_in_place(options.source, time.time(), _print_survey, _print_progress)
    if found is None:
        print("this was taken over before: there is nothing to do")
        return
    print(
        f"taken over: {_total(found)}; the predecessor's own tables are in the schema {takeover.KEPT_SCHEMA}, "
        "for --undo; once you are content: "
        f"DROP SCHEMA {takeover.KEPT_SCHEMA} CASCADE"
    )


def _undo(options: argparse.Namespace) -> None:
    takeover.undo_in_place(options.source)
    print(
        "the predecessor has its tables back, as they were when they were taken over; "
        f"all that came since is in the schema {takeover.UNDONE_SCHEMA}"
    )


def _copy_from_predecessor(options: argparse.Namespace) -> None:
    source, target, now = options.source, options.target, time.time()
    if _is_postgresql(target):
        found = takeover.copy_to_postgresql_from_predecessor(
            source, target, now, _print_survey, _print_progress
        )
    else:
        found = takeover.copy_to_sqlite_from_predecessor(
            source, Path(target), now, _print_survey, _print_progress
        )
    print(f"taken over: {_total(found)}; the predecessor's database is as it was")


def _total(found: Survey) -> str:
    return f"{found.counts['users']:,} users and {found.counts['messages']:,} messages"


def _print_survey(found: Survey) -> None:
    for table, rows in found.counts.items():
        print(f"{table}: {rows:,}")
    for note in found.notes:
        print(f"  {note}")
    for obstacle in found.obstacles:
        print(f"  STOPS: {obstacle}")
    sys.stdout.flush()  # before hours may pass


def _print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _is_postgresql(store: str | None) -> bool:
    return store is not None and store.startswith(("postgresql://", "postgres://"))


def _store(text: str) -> str:
    """A directory, or an address that libpq can read, whose password no message shows."""
    if "://" in text:
        try:
            return parsers.postgresql_url(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, or a data directory") from None
    return text


def _argument_parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m multiproto.move",
        description="Move everything to another store, or take over the predecessor's. Stop the server first.",
        epilog="All or nothing is done, also if it is interrupted: then start it again.",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=_store,
        default="data",
        metavar="STORE",
        help="a data directory, or the address of the predecessor's PostgreSQL (%(default)s)",
    )
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--to",
        dest="target",
        type=_store,
        metavar="STORE",
        help="an empty PostgreSQL, as DATABASE_URL is written; from the predecessor also a new data directory",
    )
    goal.add_argument(
        "--in-place", action="store_true", help="make the predecessor's database that of this server"
    )
    goal.add_argument(
        "--undo", action="store_true", help="give the predecessor back what --in-place took over"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    return parser
