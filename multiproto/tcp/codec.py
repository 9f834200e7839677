"""The frames of the device protocol: what their bytes say, and the bytes for what we say.

Pure functions.  A frame is four bytes of length, one byte of type, and a JSON
object in UTF-8.  Numbers and field names are the contract's, section 5.
"""

from __future__ import annotations

from typing import Any, Callable

from ..core.errors import (
    Internal,
    Invalid,
    InvalidFrame,
    NotFound,
    RateLimited,
    Refusal,
    TimedOut,
    Unauthorized,
    Unavailable,
    UnknownType,
)
from ..core.forms import Form
from ..core.model import timestamp
from ..core.wire import (
    Accepted,
    Authenticate,
    Authenticated,
    Burst,
    CaughtUp,
    Command,
    Delivery,
    Expiring,
    Farewell,
    Ping,
    Pong,
    Publish,
    Ref,
    Refused,
    Reply,
    Subscribe,
    Subscribed,
    Unreadable,
    Unsubscribe,
    Unsubscribed,
    Why,
)
from ..jsontext import NotJson, dumps, loads

AUTH, AUTH_SUCCESS, AUTH_ERROR, AUTH_EXPIRING = 0x01, 0x02, 0x03, 0x04
SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBED, UNSUBSCRIBED, CAUGHT_UP = 0x10, 0x11, 0x12, 0x13, 0x14
MESSAGE, SERVER_MESSAGE, MESSAGE_ACK = 0x20, 0x21, 0x22
PING, PONG = 0x30, 0x31
ERROR = 0xFF

Fields = dict[str, Any]

# Those that are not here are said by closing alone.
FAREWELLS: dict[Why, type[Refusal]] = {
    Why.SHUTDOWN: Unavailable,
    Why.EXPIRED: Unauthorized,
    Why.REVOKED: Unauthorized,
    Why.UNAUTHENTICATED: Unauthorized,
    Why.SILENT: TimedOut,
    Why.SLOW: Unavailable,
    Why.FLOODING: RateLimited,
    Why.BROKEN: Internal,
}


def decode(body: bytes) -> Command:
    """What a frame of one byte or more says, without its length.  Never raises."""
    if body[0] not in _COMMANDS:
        return Unreadable(UnknownType(f"Unknown message type 0x{body[0]:02X}"))
    try:
        fields = loads(body[1:]) if len(body) > 1 else {}
    except NotJson as fault:
        return Unreadable(InvalidFrame(f"Invalid payload: {fault}"))
    if body[0] == PING:
        return Ping()
    if body[0] == PONG:
        return Pong()
    if not isinstance(fields, dict):
        return Unreadable(InvalidFrame("Invalid payload: not a JSON object"))
    return _read(_COMMANDS[body[0]], fields)


def encode(reply: Reply, now: float) -> bytes:
    """The whole frame for `reply`, said `now` (seconds since the epoch)."""
    if isinstance(reply, Delivery):
        return _told(reply)
    kind, fields = _shape(reply, now)
    if reply.ref is not None:
        fields["id"] = reply.ref
    return _frame(kind, fields)


def encode_all(burst: Burst) -> bytes:
    """The frames of all its deliveries; made once for all peers."""
    frames = burst.encoded.get(__name__)
    if frames is None:
        frames = burst.encoded[__name__] = b"".join(map(_told, burst.deliveries))
    return frames


def _told(delivery: Delivery) -> bytes:
    if __name__ not in delivery.encoded:
        delivery.encoded[__name__] = _frame(SERVER_MESSAGE, _delivery(delivery))
    return delivery.encoded[__name__]


def encode_farewell(why: Farewell) -> bytes:
    """The last frame of a connection, or nothing."""
    refusal = FAREWELLS.get(why.why)
    if refusal is None:
        return b""
    fields: Fields = {"error": why.message, "code": str(refusal.code)}
    if why.cursor is not None:
        fields["details"] = {"cursor": why.cursor}
    return _frame(ERROR, fields)


# Reading.


def _read(make: Callable[[Form, Fields, Ref], Command], fields: Fields) -> Command:
    form = Form(fields)
    ref = form.ref()
    try:
        command = make(form, fields, ref)
        form.check()
    except Invalid as refusal:
        return Unreadable(refusal, ref)
    return command


def _publish(form: Form, fields: Fields, ref: Ref) -> Publish:
    metadata = fields.get("metadata")
    if not isinstance(metadata, (dict, type(None))):
        form.fault("metadata", "Must be an object")
    return Publish(form.secret("topic"), fields.get("content"), metadata, form.optional("key"), ref)


_COMMANDS: dict[int, Callable[[Form, Fields, Ref], Command]] = {
    AUTH: lambda form, fields, ref: Authenticate(form.secret("token"), ref),
    SUBSCRIBE: lambda form, fields, ref: Subscribe(form.secret("topic"), form.optional("after"), ref),
    UNSUBSCRIBE: lambda form, fields, ref: Unsubscribe(form.secret("topic"), ref),
    MESSAGE: _publish,
    PING: lambda form, fields, ref: Ping(),
    PONG: lambda form, fields, ref: Pong(),
}


# Writing.


def _frame(kind: int, fields: Fields) -> bytes:
    text = dumps(fields)
    return (len(text) + 1).to_bytes(4, "big") + bytes([kind]) + text


def _delivery(delivery: Delivery) -> Fields:
    fields: Fields = {
        "topic": delivery.topic,
        "content": delivery.content,
        "timestamp": timestamp(delivery.at),
    }
    if delivery.sender is not None:
        fields["userId"] = delivery.sender
    if delivery.cursor is not None:
        fields["cursor"] = delivery.cursor
    if delivery.replay is not None:
        fields["replay"] = delivery.replay
    if delivery.metadata:
        fields["metadata"] = delivery.metadata
    return fields


def _shape(reply: Reply, now: float) -> tuple[int, Fields]:
    match reply:
        case Authenticated(user_id=user_id):
            return AUTH_SUCCESS, {"userId": user_id, "message": "Authentication successful"}
        case Expiring(until=until):
            return AUTH_EXPIRING, {"expiresAt": timestamp(until)}
        case Subscribed():
            return SUBSCRIBED, _subscribed(reply)
        case Unsubscribed(pattern=pattern, was_subscribed=True):
            return UNSUBSCRIBED, {"topic": pattern}
        case Unsubscribed(pattern=pattern):
            # The one refusal that only this protocol knows (contract, section 1).
            return ERROR, _refused(NotFound.of("Subscription", pattern))
        case CaughtUp(pattern=pattern, cursor=cursor):
            return CAUGHT_UP, {"topic": pattern, "cursor": cursor}
        case Accepted(cursor=cursor):
            return MESSAGE_ACK, {} if cursor is None else {"cursor": cursor}
        case Ping():
            return PING, {"timestamp": int(now * 1000)}
        case Pong():
            return PONG, {"timestamp": int(now * 1000)}
        case Refused(refusal=refusal, to=to):
            return AUTH_ERROR if to is Authenticate else ERROR, _refused(refusal)
    raise AssertionError(reply)


def _refused(refusal: Refusal) -> Fields:
    fields: Fields = {"error": refusal.message, "code": str(refusal.code), **refusal.pause}
    if refusal.details is not None:
        fields["details"] = refusal.details
    return fields


def _subscribed(reply: Subscribed) -> Fields:
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
