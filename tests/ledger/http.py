"""Requests of a client process: blocking, one connection a thread, and honest about what is not known."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any, Mapping

from attrs import define, field, frozen

HOST = "127.0.0.1"
PATIENCE = 10.0  # seconds to wait for an answer

# HTTP statuses of refusals after which nothing can have been done (docs/common.md#error-codes).
DECLINED = frozenset((400, 401, 403, 404, 405, 409, 413, 415, 429, 503))


class Unsent(Exception):
    """There was no server to send to: nothing was done."""


class Unanswered(Exception):
    """It was sent, and no answer came: anything may have been done."""


@frozen
class Answer:
    status: int
    body: Any


@define(eq=False)
class Http:
    """JSON over one kept connection, with one user's token."""

    _port: int
    _token: str | None = None
    _connection: HTTPConnection | None = field(default=None, init=False)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Raises `Unsent`, `Unanswered`."""
        connection = self._connected()
        sent = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            text = response.read()
            return Answer(response.status, json.loads(text) if text else None)
        except (OSError, HTTPException, ValueError) as fault:
            self._hang_up()
            raise Unanswered(str(fault)) from None

    def graphql(self, query: str, **variables: object) -> Answer:
        """`status` is the one of the operation: of its first error, where it has one."""
        answer = self.ask("POST", "/graphql", {"query": query, "variables": variables})
        errors = answer.body.get("errors") if isinstance(answer.body, Mapping) else None
        if not errors:
            return answer
        return Answer(errors[0].get("extensions", {}).get("status", answer.status), answer.body)

    def _connected(self) -> HTTPConnection:
        if self._connection is None:
            connection = HTTPConnection(HOST, self._port, timeout=PATIENCE)
            try:
                connection.connect()
            except OSError as fault:
                raise Unsent(str(fault)) from None
            self._connection = connection
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
