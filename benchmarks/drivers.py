"""What a read and a durable unit cost through three ways to ask one PostgreSQL: see `contestants.py`.

Each way is a process of its own; they are measured by turns, and medians are
shown.  What was done is counted in the database: a fast wrong answer counts as
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from multiproto.base.timestamps import format_timestamp
from multiproto.storage.postgresql.migrate import migrate
from multiproto.storage.statements import load_statements, sql_directory
from tests.servers import Postgres

from .apart import Apart
from .figures import circumstances, number, table
from .server import cpu_with_children

NAMES = "reactor", "asyncio", "threads"
WORK = "read", "single", "grouped"
CALLERS = 1, 16, 100
SECONDS = 0.6  # of one round
USER = "0198a7c0-0000-7000-8000-000000000001"
COUNTS = "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM events), (SELECT position FROM head)"

Found = dict[str, list[dict[str, float]]]


def furnished(postgres: Postgres) -> str:
    """A database with all migrations and one user."""
    url = postgres.new_database()
    sql = sql_directory("postgresql")
    migrate(url, sql, load_statements(sql / "queries"), time.time(), True)
    at = format_timestamp(time.time())
    values = [USER, "ann@example.org", "ann@example.org", "Ann", "$2b$04$" + "x" * 53, at, at]
    with psycopg.connect(url) as database:
        database.execute(
            "INSERT INTO users (id, email, email_key, name, password_hash, created_at, updated_at, position)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, 0)",
            values,
        )
    return url


def measure(postgres: Postgres, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = circumstances()
    url = furnished(postgres)
    contestants = {
        name: Apart("benchmarks.contestants", (name, USER), {"DATABASE_URL": url}) for name in NAMES
    }
    for contestant in contestants.values():
        contestant.start()
    measured: Found = {}
    written = 0
    for number_ in range(rounds + 1):  # the first one warms up
        for work in WORK:
            for callers in CALLERS:
                for name, contestant in contestants.items():
                    theirs = cpu_with_children(postgres.pid)
                    seen = contestant.ask("race", work=work, callers=callers, seconds=SECONDS)
                    seen["database"] = cpu_with_children(postgres.pid) - theirs
                    written += int(seen["done"]) if work != "read" else 0
                    if number_:
                        measured.setdefault(f"{work} {callers} {name}", []).append(seen)
    for contestant in contestants.values():
        contestant.stop()
    with psycopg.connect(url) as database:
        (counts,) = database.execute(COUNTS).fetchall()
    if set(counts) != {written}:
        raise SystemExit(f"{written} units were acknowledged, but the database has {counts}")
    return found | {"units": written, "load_after": os.getloadavg(), "rounds": measured}


def shown(measured: Found) -> str:
    heads = (
        "work",
        "callers",
        *(f"{name}, {what}" for name in NAMES for what in ("/s", "µs", "PostgreSQL µs")),
    )
    rows = []
    for work in WORK:
        for callers in CALLERS:
            cells: list[object] = [work, callers]
            for name in NAMES:
                seen = measured[f"{work} {callers} {name}"]
                cells.append(number(median(each["done"] / each["took"] for each in seen)))
                cells += [
                    number(median(each[whose] / each["done"] * 1e6 for each in seen))
                    for whose in ("cpu", "database")
                ]
            rows.append(cells)
    return table(heads, rows)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m benchmarks.drivers", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="medians are shown (%(default)s)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/drivers.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    postgres = Postgres(fsync=True)
    try:
        found = measure(postgres, options.rounds)
    finally:
        postgres.stop()
    print(shown(found["rounds"]))
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
