"""The commands of a connected peer and the replies of the server, the same for every wire.

A codec decodes bytes to a `Command` and encodes a `Reply` to bytes.  The values
are immutable and compare by content, so tests read as dialogues.  A `ref` is the
client's own `id` for a command: the reply has the same, and it means nothing
else (docs/websocket.md#messages, docs/tcp.md#what-you-send).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Mapping, Union

from attrs import evolve, field, frozen

from .errors import Refusal

Ref = Union[str, int, float, None]


# Commands.


@frozen
class Authenticate:
    token: str = field(repr=False)
    ref: Ref = None


@frozen
class Subscribe:
    pattern: str
    after: str | None = None  # a cursor
    ref: Ref = None
    repeatable: bool = False  # whether a pattern that is subscribed already is accepted again


@frozen
class Unsubscribe:
    pattern: str
    ref: Ref = None


@frozen
class Publish:
    topic: str
    content: object = field(repr=False)
    metadata: Mapping[str, object] | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    ref: Ref = None


@frozen
class Ping:
    """Either side may send it; the other replies with `Pong`, and with the same payload where the wire has one."""

    ref: Ref = None
    payload: object = field(factory=dict, repr=False)  # any JSON


@frozen
class Pong:
    ref: Ref = None
    payload: object = field(factory=dict, repr=False)


@frozen
class BadCommand:
    """Bytes that are no command: a codec gives the refusal to reply with."""

    refusal: Refusal
    ref: Ref = None
    # The class of the command, where it is known and its refusal differs from others.
    meant: type | None = None


class CloseReason(Enum):
    """Why a connection is closed; each wire has its own code for it."""

    CLIENT_CLOSED = "left"  # by the peer
    SHUTDOWN = "shutdown"  # the server stops; the client may reconnect later
    LOG_REPLACED = "replaced"  # the log is another one, that of a backup: the client may reconnect at once
    TOKEN_EXPIRED = "expired"  # the client has to log in again
    REVOKED = "revoked"  # the account was closed, or the session ended
    AUTH_TIMEOUT = "unauthenticated"  # not authenticated in time
    IDLE_TIMEOUT = "silent"  # nothing received for `ConnectionLimits.idle_timeout`
    SLOW_CONSUMER = "slow"  # the peer reads more slowly than its deliveries come
    PROTOCOL_ERROR = "untrusted"  # the byte stream can't be parsed any further
    INTERNAL_ERROR = "broken"  # a bug of the server


@frozen
class EndOfInput:
    """The peer sends nothing more: the connection closes once all earlier commands are answered."""

    reason: CloseReason = CloseReason.CLIENT_CLOSED
    ref: Ref = None


# Replies.


@frozen
class Authenticated:
    user_id: str
    connection_id: str
    ref: Ref = None


@frozen
class Subscribed:
    pattern: str
    subscription_id: str
    retention: str  # "log" or "live"
    cursor: str | None = None  # from which the subscription follows the log
    recovered: bool | None = None  # whether it resumes without a gap; `None` if it was not to resume
    ref: Ref = None
    position: int = field(default=0, eq=False, repr=False)  # of the cursor; never sent
    scope: str | None = None  # "instance" while a live topic does not reach the other instances
    warning: str | None = None  # why nothing will ever be delivered


@frozen
class Unsubscribed:
    pattern: str
    was_subscribed: bool
    ref: Ref = None


@frozen
class Accepted:
    """A publication with a `ref` was accepted; on a logged topic: is durable."""

    ref: Ref
    cursor: str | None = None


@frozen(eq=False)
class Delivery:
    """One publication or event, on the one topic that it is delivered on.

    The same object goes to every subscriber, so that each wire encodes it once:
    `encoded` has the bytes by codec, `sizes` their number where a wire needs only
    that.
    """

    topic: str
    content: object = field(repr=False)
    metadata: Mapping[str, object] = field(repr=False)
    accepted_at: float  # seconds since the epoch
    sender_id: str | None = None  # user id; none for the server's own events
    id: str | None = None
    cursor: str | None = None  # only from the log
    replay_pattern: str | None = None  # the pattern of the subscription that catches up, if it is replayed
    position: int = field(default=0, repr=False)  # of the cursor; never sent
    # `content` as JSON, where known: to splice.
    encoded_content: bytes | None = field(default=None, repr=False)
    # Of a message in a channel, on `messages`: the channel's topic, which its reader must be able to read.
    required_topic: str | None = field(default=None, repr=False)
    patterns: tuple[str, ...] = ()  # that it answers, where a connection has several
    encoded: dict[Any, bytes] = field(factory=dict, init=False, repr=False)
    sizes: dict[str, int] = field(factory=dict, init=False, repr=False)
    _naming: dict[tuple[str, ...], Delivery] = field(factory=dict, init=False, repr=False)

    def naming(self, patterns: tuple[str, ...]) -> Delivery:
        """This delivery with `patterns`: the same object for all connections that have these."""
        named = self._naming.get(patterns)
        if named is None:
            named = self._naming[patterns] = evolve(self, patterns=patterns)
        return named

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Delivery) and self._comparison_key() == other._comparison_key()

    def _comparison_key(self) -> tuple[object, ...]:
        return (
            self.topic,
            self.content,
            self.metadata,
            self.accepted_at,
            self.sender_id,
            self.id,
            self.cursor,
            self.replay_pattern,
            self.patterns,
        )


# Bytes of deliveries that may be written without a check whether the transport is clogged.
MAX_BATCH_BYTES = 65_536


@frozen(eq=False)
class DeliveryBatch:
    """Deliveries on one topic, in order, of one turn of the reactor: each wire may write them as one."""

    topic: str
    deliveries: tuple[Delivery, ...] = field(repr=False)
    encoded: dict[str, bytes] = field(factory=dict, init=False, repr=False)  # as `Delivery.encoded`
    _variants: dict[object, DeliveryBatch] = field(factory=dict, init=False, repr=False)

    def naming(self, patterns: tuple[str, ...]) -> DeliveryBatch:
        """As `Delivery.naming`."""
        if patterns not in self._variants:
            deliveries = tuple(delivery.naming(patterns) for delivery in self.deliveries)
            self._variants[patterns] = DeliveryBatch(self.topic, deliveries)
        return self._variants[patterns]

    def repeated(self, times: int) -> DeliveryBatch:
        """Each delivery so many times: for connections that want one for each of their patterns."""
        if times not in self._variants:
            deliveries = tuple(delivery for delivery in self.deliveries for _ in range(times))
            self._variants[times] = DeliveryBatch(self.topic, deliveries)
        return self._variants[times]


@frozen
class CaughtUp:
    """All that a resumed subscription had missed is replayed; what follows is new."""

    pattern: str
    cursor: str | None
    ref: Ref = None
    position: int = field(default=0, eq=False, repr=False)  # of the cursor; never sent


@frozen
class TokenExpiring:
    """The token expires soon: a fresh one of the same user extends the connection.  Sent once for each token."""

    expires_at: float  # seconds since the epoch
    ref: Ref = None


@frozen
class ErrorReply:
    """A command was refused; `command_type` is its class, since some wires have an error of its own for AUTH."""

    refusal: Refusal
    command_type: type | None = None
    ref: Ref = None


@frozen
class Farewell:
    """The last reply of a connection."""

    reason: CloseReason
    message: str
    cursor: str | None = None  # the lowest one to resume from


Command = Union[Authenticate, Subscribe, Unsubscribe, Publish, Ping, Pong, BadCommand, EndOfInput]
Reply = Union[
    Authenticated,
    TokenExpiring,
    Subscribed,
    Unsubscribed,
    Accepted,
    Delivery,
    CaughtUp,
    ErrorReply,
    Ping,
    Pong,
]
