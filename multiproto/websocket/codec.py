"""The messages of the WebSocket endpoint: what their text says, and the frames for what we say.

Pure functions.  Each message is one JSON object; field names and codes are the
contract's, section 4.
"""

from __future__ import annotations

from typing import Any, Callable

from ..base.strict_json import InvalidJson, dumps, loads, splice
from ..core.errors import InternalError, InvalidInput, Refusal, UnknownMessageType, ValidationError
from ..core.model import format_timestamp
from ..core.protocol import (
    Accepted,
    Authenticate,
    Authenticated,
    BadCommand,
    CaughtUp,
    CloseReason,
    Command,
    Delivery,
    DeliveryBatch,
    ErrorReply,
    Farewell,
    Ping,
    Pong,
    Publish,
    Ref,
    Reply,
    Subscribe,
    Subscribed,
    TokenExpiring,
    Unsubscribe,
    Unsubscribed,
)
from ..core.validation import FieldValidator
from ..rfc6455.codec import MAX_REASON_LENGTH, encode_frame

# Three numbers that are older than "the code is the HTTP status".
ERROR_CODES: dict[type[Refusal], int] = {InternalError: 1, InvalidInput: 2, UnknownMessageType: 3}

# RFC 6455, 7.4.1 and its registry; 4000-4999 are the application's own.  Where the
# peer left or broke the protocol, what it said or did has the code.
CLOSE_CODES = {
    CloseReason.SHUTDOWN: 1001,
    CloseReason.IDLE_TIMEOUT: 1001,
    CloseReason.INTERNAL_ERROR: 1011,
    CloseReason.SLOW_CONSUMER: 1013,
    CloseReason.FLOODING: 1008,
    CloseReason.TOKEN_EXPIRED: 4401,
    CloseReason.REVOKED: 4401,
    CloseReason.AUTH_TIMEOUT: 4408,
}

Fields = dict[str, Any]


def decode(text: bytes) -> Command:
    """What a message says.  Never raises."""
    try:
        fields = loads(text)
    except InvalidJson as fault:
        return BadCommand(InvalidInput(f"Message is {fault}"))
    if not isinstance(fields, dict):
        return BadCommand(InvalidInput("Message is not a JSON object"))
    form = FieldValidator(fields)
    ref = form.ref()
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in _COMMAND_PARSERS:
        return BadCommand(UnknownMessageType("Unknown message type"), ref)
    try:
        command = _COMMAND_PARSERS[kind](form, fields, ref)
        form.check()
    except ValidationError as refusal:
        return BadCommand(refusal, ref)
    return command


def encode(reply: Reply, now: float) -> bytes:
    """The whole text frame for `reply`, said `now` (seconds since the epoch)."""
    if isinstance(reply, Delivery):
        return _encode_delivery(reply)
    fields = _reply_fields(reply)
    fields["timestamp"] = format_timestamp(now)
    if reply.ref is not None:
        fields["id"] = reply.ref
    return encode_frame(dumps(fields))


def encode_batch(burst: DeliveryBatch) -> bytes:
    """The frames of all its deliveries; made once for all peers."""
    frames = burst.encoded.get(__name__)
    if frames is None:
        frames = burst.encoded[__name__] = b"".join(map(_encode_delivery, burst.deliveries))
    return frames


def _encode_delivery(delivery: Delivery) -> bytes:
    if __name__ not in delivery.encoded:
        delivery.encoded[__name__] = encode_frame(dumps(_delivery_fields(delivery)))
    return delivery.encoded[__name__]


def farewell_reason(why: Farewell) -> str:
    """For the Close frame; what follows its last "after=" is the cursor to resume from."""
    if why.cursor is None:
        return why.message
    return f"{why.message}; after={why.cursor}"[-MAX_REASON_LENGTH:]


# Reading.


def _parse_publish(form: FieldValidator, fields: Fields, ref: Ref) -> Publish:
    metadata = fields.get("metadata")
    if not isinstance(metadata, (dict, type(None))):
        form.add_error("metadata", "Must be an object")
    return Publish(form.text("topic"), fields.get("data"), metadata, form.optional_text("key"), ref)


_COMMAND_PARSERS: dict[str, Callable[[FieldValidator, Fields, Ref], Command]] = {
    "auth": lambda form, fields, ref: Authenticate(form.text("token"), ref),
    "subscribe": lambda form, fields, ref: Subscribe(form.text("topic"), form.optional_text("after"), ref),
    "unsubscribe": lambda form, fields, ref: Unsubscribe(form.text("topic"), ref),
    "message": _parse_publish,
    "ping": lambda form, fields, ref: Ping(ref),
}


# Writing.


def _delivery_fields(delivery: Delivery) -> Fields:
    fields: Fields = {
        "type": "message",
        "topic": delivery.topic,
        "data": splice(delivery.content, delivery.encoded_content),
        "metadata": delivery.metadata,
        "timestamp": format_timestamp(delivery.accepted_at),
    }
    if delivery.id is not None:
        fields["id"] = delivery.id
    if delivery.cursor is not None:
        fields["cursor"] = delivery.cursor
    if delivery.replay_pattern is not None:
        fields["replay"] = delivery.replay_pattern
    return fields


def _reply_fields(reply: Reply) -> Fields:
    match reply:
        case Authenticated(user_id=user_id, connection_id=connection_id):
            return {"type": "auth_success", "userId": user_id, "connectionId": connection_id}
        case TokenExpiring(expires_at=until):
            return {"type": "expiring", "expiresAt": format_timestamp(until)}
        case Subscribed():
            return _subscribed_fields(reply)
        case Unsubscribed(pattern=pattern):
            return {"type": "unsubscribed", "topic": pattern}
        case Accepted(cursor=cursor):
            return {"type": "ack"} | ({} if cursor is None else {"cursor": cursor})
        case CaughtUp(pattern=pattern, cursor=cursor):
            return {"type": "caught_up", "topic": pattern, "cursor": cursor}
        case Pong():
            return {"type": "pong"}
        case ErrorReply(refusal=refusal, command_type=to):
            return _error_fields(refusal, to)
    raise AssertionError(reply)


def _subscribed_fields(reply: Subscribed) -> Fields:
    fields: Fields = {"type": "subscribed", "topic": reply.pattern, "retention": reply.retention}
    if reply.cursor is not None:
        fields["cursor"] = reply.cursor
    if reply.recovered is not None:
        fields["recovered"] = reply.recovered
    if reply.scope is not None:
        fields["scope"] = reply.scope
    return fields


def _error_fields(refusal: Refusal, to: type | None) -> Fields:
    said: Fields = {"name": refusal.name, "message": refusal.message, **refusal.retry_after_fields}
    if to is Authenticate:
        return {"type": "auth_error", "code": refusal.status} | said
    if refusal.details is not None:
        said["details"] = refusal.details
    return {"type": "error", "code": ERROR_CODES.get(type(refusal), refusal.status)} | said
