"""Queries over HTTP: one object, and a list of fifty."""

from __future__ import annotations

import sys
from typing import Iterator

from . import load, peers, wires
from .contender import Contender, connected
from .contest import Contest, Run, measured, started
from .figures import Lap
from .ours import Multiproto

CONNECTIONS = 32
LISTED = 50
USERS = LISTED + 10
FIELDS = "id email name createdAt updatedAt"
ONE = f"query One($id: ID!) {{ user(id: $id) {{ {FIELDS} }} }}"
LIST = f"query List {{ users(limit: {LISTED}) {{ edges {{ node {{ {FIELDS} }} cursor }} }} }}"
SOMEBODY = "00000000-0000-4000-8000-000000000007"  # whom the peer knows


def query(headers: dict[str, str], text: str, expected: str, **variables: str) -> load.Request:
    body = {"query": text, "variables": variables}
    return wires.request("POST", "/graphql", expected.encode(), headers, body)


def asking(of: Contender, request: load.Request) -> Run:
    def run(seconds: float) -> Lap:
        with connected(of.port, CONNECTIONS) as lines:
            return load.http(of, lines, [request], seconds)

    return run


def measure(rounds: int, seconds: float) -> Iterator[Contest]:
    contenders = [Multiproto(), peers.node("graphql-yoga", "yoga.js")]
    with started(contenders) as (there, missing):
        one, listed = {}, {}
        for each in there:
            headers, known, oldest = wires.BROWSER, SOMEBODY, f"user{LISTED - 1}@"
            if isinstance(each, Multiproto):  # which lists the newest first
                users = [each.register(number) for number in range(USERS)]
                headers = headers | {"Authorization": f"Bearer {users[0]['token']}"}
                known, oldest = users[7]["user"]["id"], f"user{USERS - LISTED}@"
            one[each.name] = asking(each, query(headers, ONE, f'"id":"{known}"', id=known))
            listed[each.name] = asking(each, query(headers, LIST, oldest))
        yield Contest("One object by its id", "query", missing=missing).run(one, rounds, seconds)
        yield Contest(f"A list of {LISTED} objects", "query", missing=missing).run(listed, rounds, seconds)


if __name__ == "__main__":
    measured("graphql", str(__doc__), measure, sys.argv[1:])
