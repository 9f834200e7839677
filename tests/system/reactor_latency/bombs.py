"""Requests that are as much work as the limits let through, and those that are just past them."""

from __future__ import annotations

import json
from contextlib import suppress
from http.client import HTTPConnection
from typing import Iterator

from ...ledger.http import HOST
from ...timing import RESCUE

FIELDS = "id email name createdAt updatedAt"
PUBLISH = 'mutation($d: JSON) { publish(topic: "a", data: $d) { topic } }'


def documents() -> Iterator[object]:
    deep = (
        "{ users(limit: 10) { edges { node { messages(limit: 10) { edges { node { user { name } } } } } } } }"
    )
    yield {"query": deep}
    for count in (30, 31, 300):
        yield {
            "query": "{ "
            + " ".join(f"a{n}: users(limit: 30) {{ edges {{ node {{ {FIELDS} }} }} }}" for n in range(count))
            + " }"
        }
    for count in (150, 900, 5000):
        yield {"query": "{ " + "me { name } " * count + "}"}
        yield {"query": "{ me { " + "name " * count + "} }"}
        yield {"query": "{ " + "x { " * count + "}" * count + " }"}
        yield {"query": "{ " + "nothing " * count + "}"}
        spread = " ".join(f"fragment F{n} on User {{ name ...F{n + 1} }}" for n in range(min(count, 150)))
        yield {"query": "{ me { ...F0 } } " + spread}
        yield {"query": "{ me { id } } " + "#" + "x" * count * 20}
        variables = {f"v{n}": n for n in range(count)}
        names = " ".join(f"$v{n}: Int" for n in range(count))
        yield {"query": f"query({names}) {{ me {{ id }} }}", "variables": variables}
    for value in (
        [[0] * 300] * 300,
        {f"k{n}": n for n in range(50_000)},
        "x" * 900_000,
        nested(60),
    ):
        yield {"query": PUBLISH, "variables": {"d": value}}
    introspection = "{ __schema { types { name fields { name args { name type { name } } type { name ofType { name } } } } } }"
    yield {"query": introspection}
    yield [{"query": deep}] * 10
    yield [{"query": "{ " + "nothing " * 900 + "}"}] * 10


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


def graphql(port: int, token: str) -> None:
    for document in documents():
        ask(port, token, "/graphql", json.dumps(document).encode())


def bodies(port: int, token: str) -> None:
    for path in ("/graphql", "/api/v1/topics/a", "/api/v1/messages", "/api/v1/auth/login"):
        for body in (
            b"[" * 1_000_000,
            b'{"a":' * 200_000,
            b'{"query":%s,"variables":{"d":%s}}'
            % (json.dumps(PUBLISH).encode(), b"[" * 10**5 + b"]" * 10**5),
            b"[" + b"0," * 500_000 + b"0]",
            b"{" + b",".join(b'"k%d":0' % n for n in range(80_000)) + b"}",
            b'{"data":"' + b"\\u00e4" * 160_000 + b'"}',
            b'{"data":' + b"9" * 1_000_000 + b"}",
            b'{"data":[' + b"1e308," * 160_000 + b"1]}",
            b'{"data":"' + b"x" * 999_000 + b'"}',
            b'"' + b"[" * 100_001 + b'\\"' * 450_000,
            b'"' + b'1e308\\"' * 120_000,
            b"x" * 2**20,
            b"x" * (2**20 + 1),
        ):
            ask(port, token, path, body)


def ask(port: int, token: str, path: str, body: bytes) -> None:
    """Whatever is answered, something is: none of these ends the server, or the patience of its clients."""
    connection = HTTPConnection(HOST, port, timeout=RESCUE)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with suppress(BrokenPipeError, ConnectionResetError):  # it was told so before it had said all
        connection.request("POST", path, body, headers)
    response = connection.getresponse()
    response.read()
    assert response.status < 500, (path, body[:80], response.status)
    connection.close()
