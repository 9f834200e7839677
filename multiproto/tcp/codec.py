"""The frames of the device protocol: what their bytes say, and the bytes for what we say.

Pure functions.  A frame is four bytes of length, one byte of type, and a JSON
object in UTF-8.  Numbers and field names are the contract's, section 5.
"""

from __future__ import annotations

from typing import Any, Callable

from ..base.strict_json import InvalidJson, dumps, loads, splice
from ..core.errors import (
    InternalError,
    InvalidFrame,
    NotFound,
    RateLimited,
    Refusal,
    TimedOut,
    Unauthorized,
    Unavailable,
    UnknownMessageType,
    ValidationError,
)
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

AUTH, AUTH_SUCCESS, AUTH_ERROR, AUTH_EXPIRING = 0x01, 0x02, 0x03, 0x04
SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBED, UNSUBSCRIBED, CAUGHT_UP = 0x10, 0x11, 0x12, 0x13, 0x14
MESSAGE, SERVER_MESSAGE, MESSAGE_ACK = 0x20, 0x21, 0x22
PING, PONG = 0x30, 0x31
ERROR = 0xFF

Fields = dict[str, Any]

# Those that are not here are said by closing alone.
FAREWELL_ERRORS: dict[CloseReason, type[Refusal]] = {
    CloseReason.SHUTDOWN: Unavailable,
    CloseReason.TOKEN_EXPIRED: Unauthorized,
    CloseReason.REVOKED: Unauthorized,
    CloseReason.AUTH_TIMEOUT: Unauthorized,
    CloseReason.IDLE_TIMEOUT: TimedOut,
    CloseReason.SLOW_CONSUMER: Unavailable,
    CloseReason.FLOODING: RateLimited,
    CloseReason.INTERNAL_ERROR: InternalError,
}


def decode(body: bytes) -> Command:
    """What a frame of one byte or more says, without its length.  Never raises."""
    if body[0] not in _COMMAND_PARSERS:
        return BadCommand(UnknownMessageType(f"Unknown message type 0x{body[0]:02X}"))
    try:
        fields = loads(body[1:]) if len(body) > 1 else {}
    except InvalidJson as fault:
        return BadCommand(InvalidFrame(f"Invalid payload: {fault}"))
    if body[0] == PING:
        return Ping()
    if body[0] == PONG:
        return Pong()
    if not isinstance(fields, dict):
        return BadCommand(InvalidFrame("Invalid payload: not a JSON object"))
    return _parse_command(_COMMAND_PARSERS[body[0]], fields)


def encode(reply: Reply, now: float) -> bytes:
    """The whole frame for `reply`, said `now` (seconds since the epoch)."""
    if isinstance(reply, Delivery):
        return _encode_delivery(reply)
    kind, fields = _reply_type_and_fields(reply, now)
    if reply.ref is not None:
        fields["id"] = reply.ref
    return _encode_frame(kind, fields)


def encode_batch(burst: DeliveryBatch) -> bytes:
    """The frames of all its deliveries; made once for all peers."""
    frames = burst.encoded.get(__name__)
    if frames is None:
        frames = burst.encoded[__name__] = b"".join(map(_encode_delivery, burst.deliveries))
    return frames


def _encode_delivery(delivery: Delivery) -> bytes:
    if __name__ not in delivery.encoded:
        delivery.encoded[__name__] = _encode_frame(SERVER_MESSAGE, _delivery_fields(delivery))
    return delivery.encoded[__name__]


def encode_farewell(why: Farewell) -> bytes:
    """The last frame of a connection, or nothing."""
    refusal = FAREWELL_ERRORS.get(why.reason)
    if refusal is None:
        return b""
    fields: Fields = {"error": why.message, "code": str(refusal.code)}
    if why.cursor is not None:
        fields["details"] = {"cursor": why.cursor}
    return _encode_frame(ERROR, fields)


# Reading.


def _parse_command(make: Callable[[FieldValidator, Fields, Ref], Command], fields: Fields) -> Command:
    form = FieldValidator(fields)
    ref = form.ref()
    try:
        command = make(form, fields, ref)
        form.check()
    except ValidationError as refusal:
        return BadCommand(refusal, ref)
    return command


def _parse_publish(form: FieldValidator, fields: Fields, ref: Ref) -> Publish:
    metadata = fields.get("metadata")
    if not isinstance(metadata, (dict, type(None))):
        form.add_error("metadata", "Must be an object")
    return Publish(form.text("topic"), fields.get("content"), metadata, form.optional_text("key"), ref)


_COMMAND_PARSERS: dict[int, Callable[[FieldValidator, Fields, Ref], Command]] = {
    AUTH: lambda form, fields, ref: Authenticate(form.text("token"), ref),
    SUBSCRIBE: lambda form, fields, ref: Subscribe(form.text("topic"), form.optional_text("after"), ref),
    UNSUBSCRIBE: lambda form, fields, ref: Unsubscribe(form.text("topic"), ref),
    MESSAGE: _parse_publish,
    PING: lambda form, fields, ref: Ping(),
    PONG: lambda form, fields, ref: Pong(),
}


# Writing.


def _encode_frame(kind: int, fields: Fields) -> bytes:
    text = dumps(fields)
    return (len(text) + 1).to_bytes(4, "big") + bytes([kind]) + text


def _delivery_fields(delivery: Delivery) -> Fields:
    fields: Fields = {
        "topic": delivery.topic,
        "content": splice(delivery.content, delivery.encoded_content),
        "timestamp": format_timestamp(delivery.accepted_at),
    }
    if delivery.sender_id is not None:
        fields["userId"] = delivery.sender_id
    if delivery.cursor is not None:
        fields["cursor"] = delivery.cursor
    if delivery.replay_pattern is not None:
        fields["replay"] = delivery.replay_pattern
    if delivery.metadata:
        fields["metadata"] = delivery.metadata
    return fields


def _reply_type_and_fields(reply: Reply, now: float) -> tuple[int, Fields]:
    match reply:
        case Authenticated(user_id=user_id):
            return AUTH_SUCCESS, {"userId": user_id, "message": "Authentication successful"}
        case TokenExpiring(expires_at=until):
            return AUTH_EXPIRING, {"expiresAt": format_timestamp(until)}
        case Subscribed():
            return SUBSCRIBED, _subscribed_fields(reply)
        case Unsubscribed(pattern=pattern, was_subscribed=True):
            return UNSUBSCRIBED, {"topic": pattern}
        case Unsubscribed(pattern=pattern):
            # The one refusal that only this protocol knows (contract, section 1).
            return ERROR, _error_fields(NotFound.of("Subscription", pattern))
        case CaughtUp(pattern=pattern, cursor=cursor):
            return CAUGHT_UP, {"topic": pattern, "cursor": cursor}
        case Accepted(cursor=cursor):
            return MESSAGE_ACK, {} if cursor is None else {"cursor": cursor}
        case Ping():
            return PING, {"timestamp": int(now * 1000)}
        case Pong():
            return PONG, {"timestamp": int(now * 1000)}
        case ErrorReply(refusal=refusal, command_type=to):
            return AUTH_ERROR if to is Authenticate else ERROR, _error_fields(refusal)
    raise AssertionError(reply)


def _error_fields(refusal: Refusal) -> Fields:
    fields: Fields = {"error": refusal.message, "code": str(refusal.code), **refusal.retry_after_fields}
    if refusal.details is not None:
        fields["details"] = refusal.details
    return fields


def _subscribed_fields(reply: Subscribed) -> Fields:
    fields: Fields = {
        "topic": reply.pattern,
        "subscriptionId": reply.subscription_id,
        "retention": reply.retention,
    }
    if reply.cursor is not None:
        fields["cursor"] = reply.cursor
    if reply.recovered is not None:
        fields["recovered"] = reply.recovered
    if reply.scope is not None:
        fields["scope"] = reply.scope
    return fields
