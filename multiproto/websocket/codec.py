"""The messages of the WebSocket endpoint: what their text says, and the frames for what we say.

Pure functions.  Each message is one JSON object; field names and codes are the
contract's, section 4.
"""

from __future__ import annotations

from typing import Any, Callable

from ..core.errors import Internal, Invalid, InvalidInput, Refusal, UnknownType
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
from ..rfc6455.codec import MAX_REASON, frame

# Three numbers that are older than "the code is the HTTP status".
CODES: dict[type[Refusal], int] = {Internal: 1, InvalidInput: 2, UnknownType: 3}

# RFC 6455, 7.4.1 and its registry; 4000-4999 are the application's own.  Where the
# peer left or broke the protocol, what it said or did has the code.
CLOSE_CODES = {
    Why.SHUTDOWN: 1001,
    Why.SILENT: 1001,
    Why.BROKEN: 1011,
    Why.SLOW: 1013,
    Why.FLOODING: 1008,
    Why.EXPIRED: 4401,
    Why.REVOKED: 4401,
    Why.UNAUTHENTICATED: 4408,
}

Fields = dict[str, Any]


def decode(text: bytes) -> Command:
    """What a message says.  Never raises."""
    try:
        fields = loads(text)
    except NotJson as fault:
        return Unreadable(InvalidInput(f"Message is {fault}"))
    if not isinstance(fields, dict):
        return Unreadable(InvalidInput("Message is not a JSON object"))
    form = Form(fields)
    ref = form.ref()
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in _COMMANDS:
        return Unreadable(UnknownType("Unknown message type"), ref)
    try:
        command = _COMMANDS[kind](form, fields, ref)
        form.check()
    except Invalid as refusal:
        return Unreadable(refusal, ref)
    return command


def encode(reply: Reply, now: float) -> bytes:
    """The whole text frame for `reply`, said `now` (seconds since the epoch)."""
    if isinstance(reply, Delivery):
        return _told(reply)
    fields = _shape(reply)
    fields["timestamp"] = timestamp(now)
    if reply.ref is not None:
        fields["id"] = reply.ref
    return frame(dumps(fields))


def encode_all(burst: Burst) -> bytes:
    """The frames of all its deliveries; made once for all peers."""
    frames = burst.encoded.get(__name__)
    if frames is None:
        frames = burst.encoded[__name__] = b"".join(map(_told, burst.deliveries))
    return frames


def _told(delivery: Delivery) -> bytes:
    if __name__ not in delivery.encoded:
        delivery.encoded[__name__] = frame(dumps(_delivery(delivery)))
    return delivery.encoded[__name__]


def close_reason(why: Farewell) -> str:
    """For the Close frame; what follows its last "after=" is the cursor to resume from."""
    if why.cursor is None:
        return why.message
    return f"{why.message}; after={why.cursor}"[-MAX_REASON:]


# Reading.


def _publish(form: Form, fields: Fields, ref: Ref) -> Publish:
    metadata = fields.get("metadata")
    if not isinstance(metadata, (dict, type(None))):
        form.fault("metadata", "Must be an object")
    return Publish(form.secret("topic"), fields.get("data"), metadata, form.optional("key"), ref)


_COMMANDS: dict[str, Callable[[Form, Fields, Ref], Command]] = {
    "auth": lambda form, fields, ref: Authenticate(form.secret("token"), ref),
    "subscribe": lambda form, fields, ref: Subscribe(form.secret("topic"), form.optional("after"), ref),
    "unsubscribe": lambda form, fields, ref: Unsubscribe(form.secret("topic"), ref),
    "message": _publish,
    "ping": lambda form, fields, ref: Ping(ref),
}


# Writing.


def _delivery(delivery: Delivery) -> Fields:
    fields: Fields = {
        "type": "message",
        "topic": delivery.topic,
        "data": delivery.content,
        "metadata": delivery.metadata,
        "timestamp": timestamp(delivery.at),
    }
    if delivery.id is not None:
        fields["id"] = delivery.id
    if delivery.cursor is not None:
        fields["cursor"] = delivery.cursor
    if delivery.replay is not None:
        fields["replay"] = delivery.replay
    return fields


def _shape(reply: Reply) -> Fields:
    match reply:
        case Authenticated(user_id=user_id, connection_id=connection_id):
            return {"type": "auth_success", "userId": user_id, "connectionId": connection_id}
        case Expiring(until=until):
            return {"type": "expiring", "expiresAt": timestamp(until)}
        case Subscribed():
            return _subscribed(reply)
        case Unsubscribed(pattern=pattern):
            return {"type": "unsubscribed", "topic": pattern}
        case Accepted(cursor=cursor):
            return {"type": "ack"} | ({} if cursor is None else {"cursor": cursor})
        case CaughtUp(pattern=pattern, cursor=cursor):
            return {"type": "caught_up", "topic": pattern, "cursor": cursor}
        case Pong():
            return {"type": "pong"}
        case Refused(refusal=refusal, to=to):
            return _refused(refusal, to)
    raise AssertionError(reply)


def _subscribed(reply: Subscribed) -> Fields:
    fields: Fields = {"type": "subscribed", "topic": reply.pattern, "retention": reply.retention}
    if reply.cursor is not None:
        fields["cursor"] = reply.cursor
    if reply.recovered is not None:
        fields["recovered"] = reply.recovered
    if reply.scope is not None:
        fields["scope"] = reply.scope
    return fields


def _refused(refusal: Refusal, to: type | None) -> Fields:
    said: Fields = {"name": refusal.name, "message": refusal.message, **refusal.pause}
    if to is Authenticate:
        return {"type": "auth_error", "code": refusal.status} | said
    if refusal.details is not None:
        said["details"] = refusal.details
    return {"type": "error", "code": CODES.get(type(refusal), refusal.status)} | said
