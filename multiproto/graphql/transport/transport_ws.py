"""The messages of graphql-transport-ws, as pure functions on bytes.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from __future__ import annotations

from typing import Any, Sequence, Union

from attrs import field, frozen

from ...base import strict_json
from ...base.bearer import parse_bearer
from ...core.protocol import CloseReason
from ..execution.errors import FormattedError
from ..execution.request import BadGraphQLRequest, GraphQLRequest, parse_request

SUBPROTOCOL = "graphql-transport-ws"
MAX_ID_LENGTH = 255  # characters
TOKEN_PARAMETERS = (
    "authtoken",
    "accesstoken",
    "token",
)  # of `connection_init`, in lower case: as Apollo's pages have it

# Close codes; clients of this protocol reconnect after those that are not fatal to it.
GOING_AWAY, POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER = 1001, 1008, 1012, 1013
BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, SUBPROTOCOL_NOT_ACCEPTABLE = 4400, 4401, 4403, 4406
TIMEOUT, SUBSCRIBER_ALREADY_EXISTS, TOO_MANY_INIT_REQUESTS, INTERNAL_SERVER_ERROR = 4408, 4409, 4429, 4500

# For the other reasons, the Close frame has the code that the peer sent, or that of its protocol error.
CLOSE_CODES = {
    CloseReason.SHUTDOWN: GOING_AWAY,
    CloseReason.LOG_REPLACED: SERVICE_RESTART,
    CloseReason.TOKEN_EXPIRED: FORBIDDEN,
    CloseReason.REVOKED: FORBIDDEN,
    CloseReason.AUTH_TIMEOUT: TIMEOUT,
    CloseReason.IDLE_TIMEOUT: TIMEOUT,
    CloseReason.SLOW_CONSUMER: TRY_AGAIN_LATER,
    CloseReason.INTERNAL_ERROR: INTERNAL_SERVER_ERROR,
}


class InvalidMessage(Exception):
    """Not a message of this protocol; the text says why."""


@frozen
class ConnectionInitMessage:
    authorization: str | None = field(default=None, repr=False)


@frozen
class SubscribeMessage:
    """`subscribe`: execute an operation; its results carry `id`."""

    id: str
    request: GraphQLRequest


@frozen
class CompleteMessage:
    id: str


@frozen
class PingMessage:
    """`ping`"""


@frozen
class PongMessage:
    """`pong`"""


ClientMessage = Union[ConnectionInitMessage, SubscribeMessage, CompleteMessage, PingMessage, PongMessage]

CONNECTION_ACK = b'{"type":"connection_ack"}'
PING = b'{"type":"ping"}'
PONG = b'{"type":"pong"}'


def decode(payload: bytes) -> ClientMessage:
    """The message in `payload`.  Raises `InvalidMessage`, never anything else."""
    try:
        message = strict_json.loads(payload)
    except strict_json.InvalidJson as error:
        raise InvalidMessage(f"Invalid message: {error}") from None
    if not isinstance(message, dict):
        raise InvalidMessage("Invalid message: not an object")
    match message.get("type"):
        case "ping":
            return PingMessage()
        case "pong":
            return PongMessage()
        case "connection_init":
            return ConnectionInitMessage(_parse_authorization(message.get("payload")))
        case "subscribe":
            return SubscribeMessage(_parse_id(message), _parse_request(message.get("payload")))
        case "complete":
            return CompleteMessage(_parse_id(message))
    raise InvalidMessage("Invalid message: unknown type")


def encode_expiring(expires_at: str) -> bytes:
    """The warning that the token expires: a `ping`, for this protocol has no message of its own for it."""
    return strict_json.dumps({"type": "ping", "payload": {"expiresAt": expires_at}})


def encode_next(id: str, payload: object) -> bytes:
    return strict_json.dumps({"id": id, "type": "next", "payload": payload})


def encode_error(id: str, errors: Sequence[FormattedError]) -> bytes:
    return strict_json.dumps({"id": id, "type": "error", "payload": errors})


def encode_complete(id: str) -> bytes:
    return strict_json.dumps({"id": id, "type": "complete"})


def _parse_id(message: dict[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 1 <= len(id) <= MAX_ID_LENGTH:
        raise InvalidMessage(f"Invalid message: id must be a string of 1 to {MAX_ID_LENGTH} characters")
    return id


def _parse_request(payload: object) -> GraphQLRequest:
    try:
        return parse_request(payload)
    except BadGraphQLRequest as malformed:
        raise InvalidMessage(f"Invalid message: {malformed.message}") from None


def _parse_authorization(payload: object) -> str | None:
    """The Authorization in the payload of `connection_init`, or in an object `headers` there.

    Names are in upper or lower case.  Clients also send the token alone, under a name of its own.
    """
    if payload is None:
        return None
    if not isinstance(payload, dict):
        raise InvalidMessage("Invalid message: payload must be an object")
    params = {name.lower(): value for name, value in payload.items() if value}
    headers = params.get("headers")
    if isinstance(headers, dict):
        params = {name.lower(): value for name, value in headers.items() if value} | params
    for name in ("authorization", *TOKEN_PARAMETERS):
        value = params.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise InvalidMessage(f"Invalid message: {name} must be a string")
            return value if name == "authorization" or parse_bearer(value) else f"Bearer {value}"
    return None
