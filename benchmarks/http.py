"""Requests over connections that stay: a small public answer, a user by id, a message that lasts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Iterator
from uuid import uuid4

import jwt
import psycopg

from tests.servers import Missing as NoPostgres
from tests.servers import Postgres

from . import load, peers, wires
from .contender import Contender, connected
from .contest import Contest, Run, measured, started
from .figures import Lap
from .ours import SECRET, Multiproto

CONNECTIONS = 64
DEPTH = 16  # requests in one write
USERS = 20
PATHS = 5000
ON_POSTGRESQL = "multiproto, PostgreSQL", "fastify, pg", "FastAPI, psycopg"
TABLES = Path(__file__).parent / "peers" / "tables.sql"


def public(rounds: int, seconds: float) -> Iterator[Contest]:
    contenders = [
        Multiproto(),
        peers.node("node:http", "http.js", "node"),
        peers.node("fastify", "http.js", "fastify"),
        peers.node("Express", "http.js", "express"),
        peers.uvicorn("Starlette", "web:starlette"),
        peers.uvicorn("FastAPI", "web:fastapi"),
        peers.floor("http"),
    ]
    live = [wires.request("GET", "/health/live", b'"alive"')]
    with started(contenders) as (there, missing):
        for title, depth in (
            ("GET a small public JSON, 11 headers", 1),
            (f"The same, {DEPTH} in one write", DEPTH),
        ):
            runs = {each.name: asking(each, live, depth) for each in there}
            yield Contest(title, "request", missing=missing).run(runs, rounds, seconds)


def proxied(rounds: int, seconds: float) -> Iterator[Contest]:
    """What a trusted proxy costs: the same server, asked directly and with the header that such a proxy adds."""
    contenders = [
        Multiproto(name="direct"),
        Multiproto(name="by a trusted proxy", settings={"TRUSTED_PROXIES": "127.0.0.0/8"}),
    ]
    with started(contenders) as (there, missing):
        small: dict[str, Run] = {}
        varied: dict[str, Run] = {}
        explained: dict[str, Run] = {}
        for each in there:
            added = {"X-Forwarded-For": "203.0.113.7"} if each is contenders[1] else {}
            small[each.name] = asking(
                each, [wires.request("GET", "/health/live", b'"alive"', wires.BROWSER | added)]
            )
            token, names = known(each, [])
            headers = wires.BROWSER | added | {"Authorization": f"Bearer {token}"}
            varied[each.name] = asking(each, reads(names, headers))
            explained[each.name] = asking(each, explanations(headers))
        title = "GET a small public JSON behind a trusted proxy"
        yield Contest(title, "request", missing=missing).run(small, rounds, seconds)
        title = f"GET /api/v1/users/:id behind a trusted proxy, {USERS} users"
        yield Contest(title, "request", missing=missing).run(varied, rounds, seconds)
        title = f"GET one of {PATHS:,} paths behind a trusted proxy"
        yield Contest(title, "request", missing=missing).run(explained, rounds, seconds)


def reads(names: list[str], headers: dict[str, str]) -> list[load.Request]:
    return [
        wires.request("GET", f"/api/v1/users/{name}", f'"id":"{name}"'.encode(), headers) for name in names
    ]


def explanations(headers: dict[str, str]) -> list[load.Request]:
    """Of more paths than are remembered, and none again before all the others: each is matched."""
    paths = (f"/api/v1/topics/room.{number}/explain" for number in range(PATHS))
    return [wires.request("GET", path, b'"allowed"', headers) for path in paths]


def asking(of: Contender, requests: list[load.Request], depth: int = 1, status: int = 200) -> Run:
    def run(seconds: float) -> Lap:
        with connected(of.port, CONNECTIONS) as lines:
            return load.http(of, lines, requests, seconds, depth, status)

    return run


def private(rounds: int, seconds: float) -> Iterator[Contest]:
    """With a token and a database, whose own work is not counted: it has the generator's core."""
    try:
        postgres: Postgres | None = Postgres(fsync=True)
    except NoPostgres:
        postgres = None
    try:
        yield from _private(postgres, rounds, seconds)
    finally:
        if postgres is not None:
            postgres.stop()


def _private(postgres: Postgres | None, rounds: int, seconds: float) -> Iterator[Contest]:
    ours = [Multiproto(name="multiproto, SQLite")]
    theirs: list[Contender] = []
    ids: list[str] = []
    if postgres is not None:
        ours.append(Multiproto(name=ON_POSTGRESQL[0], database=postgres.new_database()))
        address = postgres.new_database()
        ids = filled(address)
        environment = {"DATABASE_URL": address, "JWT_SECRET": SECRET}
        theirs = [
            peers.node(ON_POSTGRESQL[1], "users.js", **environment),
            peers.uvicorn(ON_POSTGRESQL[2], "users:app", **environment),
        ]
    with started([*ours, *theirs]) as (there, missing):
        if postgres is None:
            missing |= dict.fromkeys(
                ON_POSTGRESQL, "PostgreSQL is not installed (apt-get install postgresql)"
            )
        callers = {each.name: known(each, ids) for each in there}
        reading, writing = {}, {}
        for each in there:
            token, names = callers[each.name]
            headers = wires.BROWSER | {"Authorization": f"Bearer {token}"}
            said = {"content": "x" * 100, "channelId": "bench"}
            write = wires.request("POST", "/api/v1/messages", b"xxxxxxxx", headers, said)
            reading[each.name] = asking(each, reads(names, headers))
            writing[each.name] = asking(each, [write], status=201)
        title = f"GET /api/v1/users/:id with a token, {USERS} users"
        yield Contest(title, "request", missing=missing).run(reading, rounds, seconds)
        title = "POST /api/v1/messages, answered when it is on the disk"
        yield Contest(title, "request", missing=missing).run(writing, rounds, seconds)


def filled(address: str) -> list[str]:
    """The ids of the users in the peers' own database."""
    ids = [str(uuid4()) for _ in range(USERS)]
    with psycopg.connect(address) as connection:
        connection.execute(TABLES.read_bytes())
        for each in ids:
            row = each, f"{each}@example.org", "Some User"
            connection.execute("INSERT INTO bench_users (id, email, name) VALUES (%s, %s, %s)", row)
    return ids


def known(of: Contender, ids: list[str]) -> tuple[str, list[str]]:
    """A token, and the ids of users that its owner may read."""
    if isinstance(of, Multiproto):
        registered = [of.register(each) for each in range(USERS)]
        return str(registered[0]["token"]), [str(each["user"]["id"]) for each in registered]
    claims: dict[str, Any] = {"userId": ids[0], "email": "user0@example.org", "exp": 2**31}
    return jwt.encode(claims, SECRET, "HS256"), ids


def measure(rounds: int, seconds: float) -> Iterator[Contest]:
    yield from public(rounds, seconds)
    yield from proxied(rounds, seconds)
    yield from private(rounds, seconds)


if __name__ == "__main__":
    measured("http", str(__doc__), measure, sys.argv[1:])
