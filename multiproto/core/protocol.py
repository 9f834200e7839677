"""The words a connected peer and the server exchange, whatever carries them.

A codec turns bytes into one of `Command` and one of `Reply` into bytes.  The
values are immutable and compare by content, so tests read as dialogues.  A
`ref` is the client's own `id` for a request: its answer carries it back, and it
means nothing else (contract, sections 4 and 5).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Mapping, Union

from attrs import field, frozen

from .errors import Refusal

Ref = Union[str, int, float, None]


# What a peer says.


@frozen
class Authenticate:
    token: str = field(repr=False)
    ref: Ref = None


@frozen
class Subscribe:
    pattern: str
    after: str | None = None  # a cursor
    ref: Ref = None


@frozen
class Unsubscribe:
    pattern: str
    ref: Ref = None


@frozen
class Publish:
    topic: str
    content: object = field(repr=False)
    metadata: Mapping[str, object] | None = field(default=None, repr=False)
    idempotency_key: str | None = None  # idempotency key
    ref: Ref = None


@frozen
class Ping:
    """Either side may ask; the other answers `Pong`."""

    ref: Ref = None


@frozen
class Pong:
    ref: Ref = None


@frozen
class BadCommand:
    """What a codec makes of bytes that are no command: the refusal to answer with."""

    refusal: Refusal
    ref: Ref = None


class CloseReason(Enum):
    """How a session ends; each wire says it in its own manner."""

    CLIENT_CLOSED = "left"  # the peer hung up
    SHUTDOWN = "shutdown"  # we are stopping; come back later
    TOKEN_EXPIRED = "expired"  # the token's time is over; log in again
    REVOKED = "revoked"  # the account or session is no more
    AUTH_TIMEOUT = "unauthenticated"  # did not authenticate in time
    IDLE_TIMEOUT = "silent"  # nothing heard for `ConnectionLimits.idle_timeout`
    SLOW_CONSUMER = "slow"  # does not read as fast as it subscribed
    FLOODING = "flooding"  # goes on although it is told that it is too much
    PROTOCOL_ERROR = "untrusted"  # the byte stream can't be followed any more
    INTERNAL_ERROR = "broken"  # a bug of ours


@frozen
class EndOfInput:
    """Nothing more is to come: the session ends once all that was said before is answered."""

    reason: CloseReason = CloseReason.CLIENT_CLOSED
    ref: Ref = None


# What the server says.


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
    cursor: str | None = None  # where the subscription stands in the log
    recovered: bool | None = None  # only when asked to resume
    ref: Ref = None
    position: int = field(default=0, eq=False, repr=False)  # of the cursor; never told
    scope: str | None = None  # "instance" while a live topic does not reach the other instances


@frozen
class Unsubscribed:
    pattern: str
    was_subscribed: bool
    ref: Ref = None


@frozen
class Accepted:
    """A publication with a `ref` was taken; on a logged topic: is durable."""

    ref: Ref
    cursor: str | None = None


@frozen(eq=False)
class Delivery:
    """One publication or event, on the one topic it is heard on.

    The same object goes to every peer that hears it, so that each wire encodes
    it once: `encoded` holds the bytes by codec, `sizes` how many they are where
    a wire only wants to know that.
    """

    topic: str
    content: object = field(repr=False)
    metadata: Mapping[str, object] = field(repr=False)
    accepted_at: float  # seconds since the epoch, when it was accepted
    sender_id: str | None = None  # user id; none for the server's own events
    id: str | None = None
    cursor: str | None = None  # only from the log
    replay_pattern: str | None = None  # the pattern that is catching up, if this was missed and is told again
    position: int = field(default=0, repr=False)  # of the cursor; never told
    encoded_content: bytes | None = field(
        default=None, repr=False
    )  # `content` as JSON, where known: to splice
    encoded: dict[Any, bytes] = field(factory=dict, init=False, repr=False)
    sizes: dict[str, int] = field(factory=dict, init=False, repr=False)

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
        )


MAX_BATCH_BYTES = (
    65_536  # bytes of deliveries that may be written without a look whether the transport is clogged
)


@frozen(eq=False)
class DeliveryBatch:
    """Deliveries on one topic, in order, that came in one turn of the reactor: each wire may say them as one."""

    topic: str
    deliveries: tuple[Delivery, ...] = field(repr=False)
    encoded: dict[str, bytes] = field(factory=dict, init=False, repr=False)  # as `Delivery.encoded`


@frozen
class CaughtUp:
    """All that a resumed subscription had missed was told; what follows is new."""

    pattern: str
    cursor: str | None
    ref: Ref = None
    position: int = field(default=0, eq=False, repr=False)  # of the cursor; never told


@frozen
class TokenExpiring:
    """The token's time is nearly over: a fresh one of the same user extends it.  Said once for each token."""

    expires_at: float  # seconds since the epoch
    ref: Ref = None


@frozen
class ErrorReply:
    """`command_type` is the kind of command that was declined: some wires have a word of its own for AUTH."""

    refusal: Refusal
    command_type: type | None = None
    ref: Ref = None


@frozen
class Farewell:
    """The last reply of a session."""

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
