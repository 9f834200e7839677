"""The messages of graphql-transport-ws, as pure functions on bytes.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from __future__ import annotations

from typing import Any, Sequence, Union

from attrs import field, frozen

from .. import jsontext
from ..core.wire import Why
from .execute import Request
from .faults import Formatted
from .negotiate import BadRequest
from .negotiate import request as read_request

PROTOCOL = "graphql-transport-ws"
MAX_ID = 255  # characters

# Close codes; clients of this protocol try again after those that are not fatal to them.
GOING_AWAY, POLICY, TRY_LATER = 1001, 1008, 1013
BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_ACCEPTABLE = 4400, 4401, 4403, 4406
TIMEOUT, ID_TAKEN, INIT_TWICE, INTERNAL = 4408, 4409, 4429, 4500

# Where the peer left, or broke this protocol or RFC 6455, what it said or did has the code.
CLOSE_CODES = {
    Why.SHUTDOWN: GOING_AWAY,
    Why.EXPIRED: FORBIDDEN,
    Why.REVOKED: FORBIDDEN,
    Why.UNAUTHENTICATED: TIMEOUT,
    Why.SILENT: TIMEOUT,
    Why.SLOW: TRY_LATER,
    Why.FLOODING: POLICY,
    Why.BROKEN: INTERNAL,
}


class Malformed(Exception):
    """No message of this protocol; the text says why."""


@frozen
class Init:
    authorization: str | None = field(default=None, repr=False)


@frozen
class Begin:
    """`subscribe`: execute an operation; its results carry `id`."""

    id: str
    request: Request | BadRequest  # what it asks for, or why that can't be read


@frozen
class Complete:
    id: str


@frozen
class Ask:
    """`ping`"""


@frozen
class Answer:
    """`pong`"""


Said = Union[Init, Begin, Complete, Ask, Answer]

ACK = b'{"type":"connection_ack"}'
PING = b'{"type":"ping"}'
PONG = b'{"type":"pong"}'


def decode(payload: bytes) -> Said:
    """Read one message.  Raises `Malformed`, never anything else."""
    try:
        message = jsontext.loads(payload)
    except jsontext.NotJson as fault:
        raise Malformed(f"Invalid message: {fault}") from None
    if not isinstance(message, dict):
        raise Malformed("Invalid message: not an object")
    match message.get("type"):
        case "ping":
            return Ask()
        case "pong":
            return Answer()
        case "connection_init":
            return Init(_authorization(message.get("payload")))
        case "subscribe":
            return Begin(_id(message), _request(message.get("payload")))
        case "complete":
            return Complete(_id(message))
    raise Malformed("Invalid message: unknown type")


def expiring(at: str) -> bytes:
    """A `ping` that clients answer like any other; this protocol has no word for more."""
    return jsontext.dumps({"type": "ping", "payload": {"expiresAt": at}})


def next_result(id: str, payload: object) -> bytes:
    return jsontext.dumps({"id": id, "type": "next", "payload": payload})


def error(id: str, errors: Sequence[Formatted]) -> bytes:
    return jsontext.dumps({"id": id, "type": "error", "payload": errors})


def complete(id: str) -> bytes:
    return jsontext.dumps({"id": id, "type": "complete"})


def _id(message: dict[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 1 <= len(id) <= MAX_ID:
        raise Malformed(f"Invalid message: id must be a string of 1 to {MAX_ID} characters")
    return id


def _request(payload: object) -> Request | BadRequest:
    try:
        return read_request(payload)
    except BadRequest as refusal:
        return refusal


def _authorization(payload: object) -> str | None:
    """What `connection_init` carries as Authorization, its name in any case."""
    if payload is None:
        return None
    if not isinstance(payload, dict):
        raise Malformed("Invalid message: payload must be an object")
    for name, value in payload.items():
        if name.lower() == "authorization" and value:
            if not isinstance(value, str):
                raise Malformed("Invalid message: authorization must be a string")
            return value
    return None
