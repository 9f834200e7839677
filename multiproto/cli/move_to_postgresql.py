"""Moves all data from the embedded store to PostgreSQL: `python -m multiproto.move --from data --to postgresql://…`.

For a server that has outgrown one process.  Clients notice only that it stops
for a while: their tokens, cursors and idempotency keys stay valid.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Sequence

from ..storage.copy import copy_to_postgresql
from ..storage.errors import StoreUnusable


def main(arguments: Sequence[str]) -> int:
    options = _argument_parser().parse_args(arguments)
    try:
        moved = copy_to_postgresql(
            options.source, options.target, time.time(), lambda line: print(line, file=sys.stderr)
        )
    except StoreUnusable as error:
        print(f"multiproto: {error}", file=sys.stderr)
        return 1
    print(f"moved {sum(moved.values()):,} rows; {options.source} is as it was")
    if (options.source / "jwt-secret").exists():
        print(f"tokens stay good with JWT_SECRET_FILE={options.source / 'jwt-secret'} on all instances")
    return 0


def _argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m multiproto.move",
        description="Move everything from the embedded store to PostgreSQL. Stop the server first.",
    )
    parser.add_argument(
        "--from", dest="source", type=Path, default=Path("data"), help="the data directory (%(default)s)"
    )
    parser.add_argument(
        "--to", dest="target", required=True, help="an empty database, as DATABASE_URL is written"
    )
    return parser
