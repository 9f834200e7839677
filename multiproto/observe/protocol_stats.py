"""What passes over one protocol, counted where it happens.

A delivery may cost less than a microsecond, so counting is adding to plain
integers; Prometheus (`observe.wires`) and `/stats` (`observe.stats`) read them
when they are asked.  The words that traffic is counted by are closed sets:
what is not among them counts as "other", so no client can make a new label.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Iterable

from attrs import define, field

OTHER = "other"

# Kinds are the names of the words in `core.wire`; the label is what WebSocket calls them.
COMMAND_LABELS = {
    "Authenticate": "auth",
    "Subscribe": "subscribe",
    "Unsubscribe": "unsubscribe",
    "Publish": "message",
    "Ping": "ping",
    "Pong": "pong",
    "EndOfInput": "leave",
}
REPLY_LABELS = {
    "Authenticated": "auth_success",
    "TokenExpiring": "expiring",
    "Subscribed": "subscribed",
    "Unsubscribed": "unsubscribed",
    "Accepted": "ack",
    "Delivery": "message",
    "CaughtUp": "caught_up",
    "ErrorReply": "error",
    "Farewell": "farewell",
    "Ping": "ping",
    "Pong": "pong",
}

SUCCESS = "success"
AUTH_FAILURES = ("invalid", "expired", "revoked", "conflict", "unavailable")

# Refusals by their name in the contract, section 1; the first four are frames that make no command.
FRAME_ERRORS = ("INVALID_INPUT", "TCP_FRAME_TOO_LARGE", "TCP_INVALID_FRAME", "TCP_INVALID_MESSAGE_TYPE")
REFUSAL_NAMES = (
    *FRAME_ERRORS,
    "VALIDATION_ERROR",
    "NOT_FOUND",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "CONFLICT",
    "RATE_LIMITED",
    "PAYLOAD_TOO_LARGE",
    "TCP_PROTOCOL_ERROR",
    "TCP_CONNECTION_LIMIT",
    "INTERNAL_ERROR",
    "DEPENDENCY_ERROR",
    "DATABASE_ERROR",
    "CACHE_ERROR",
    "TIMEOUT",
    "SERVICE_UNAVAILABLE",
)


def zero_counts(labels: Iterable[str]) -> dict[str, int]:
    """A count of zero for each of `labels`, and for all others together."""
    return dict.fromkeys([*labels, OTHER], 0)


DURATION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds


@define(eq=False, repr=False)
class DurationHistogram:
    """How often something took how long."""

    bucket_counts: list[int] = field(
        factory=lambda: [0] * (len(DURATION_BUCKETS) + 1), init=False
    )  # the last: longer than all
    total: float = field(default=0.0, init=False)  # seconds

    def observe(self, seconds: float) -> None:
        self.bucket_counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self.total += seconds


@define(eq=False, repr=False)
class ProtocolStats:
    """The counters of one protocol; its sessions call the methods."""

    protocol: str  # also the prefix of its metrics
    started_at: float = 0.0  # seconds since the epoch
    connections_by_host: dict[str, int] = field(factory=dict, init=False)  # host -> open connections
    active_connections: int = field(default=0, init=False)  # open connections
    authenticated_connections: int = field(default=0, init=False)  # of them
    active_subscriptions: int = field(default=0, init=False)  # in force
    connections_by_status: dict[str, int] = field(init=False)  # status -> count
    received_by_type: dict[str, int] = field(init=False)  # label -> commands
    sent_by_type: dict[str, int] = field(init=False)  # label -> replies
    durations_by_type: dict[str, DurationHistogram] = field(init=False)  # label -> from read to obeyed
    bytes_received: int = field(default=0, init=False)
    bytes_sent: int = field(default=0, init=False)
    auth_by_outcome: dict[str, int] = field(init=False)  # outcome -> attempts
    refusals_by_name: dict[str, int] = field(init=False)  # the refusal's name -> count
    subscribed_total: int = field(default=0, init=False)
    unsubscribed_total: int = field(default=0, init=False)
    published_total: int = field(default=0, init=False)
    slow_consumers_total: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.connections_by_status = dict.fromkeys(("accepted", "rejected", "closed"), 0)
        self.received_by_type = zero_counts(COMMAND_LABELS.values())
        self.sent_by_type = zero_counts(REPLY_LABELS.values())
        self.durations_by_type = {label: DurationHistogram() for label in self.received_by_type}
        self.auth_by_outcome = zero_counts((SUCCESS, *AUTH_FAILURES))
        self.refusals_by_name = zero_counts(REFUSAL_NAMES)

    # Connections.

    def record_connected(self, host: str) -> None:
        self.active_connections += 1
        self.connections_by_status["accepted"] += 1
        self.connections_by_host[host] = self.connections_by_host.get(host, 0) + 1

    def record_rejected(self) -> None:
        """A connection was turned away for a limit; neither `record_connected` nor `record_disconnected` is called."""
        self.connections_by_status["rejected"] += 1

    def record_disconnected(self, host: str, authenticated: bool) -> None:
        self.active_connections -= 1
        self.authenticated_connections -= authenticated
        self.connections_by_status["closed"] += 1
        self.connections_by_host[host] -= 1
        if not self.connections_by_host[host]:
            del self.connections_by_host[host]

    def record_slow_consumer(self) -> None:
        """A peer was hung up on because it does not read as fast as it subscribed."""
        self.slow_consumers_total += 1

    # What passes.

    def record_bytes_received(self, size: int) -> None:
        """`size` bytes came in, whatever they mean."""
        self.bytes_received += size

    def record_command(self, kind: str) -> None:
        self.received_by_type[COMMAND_LABELS.get(kind, OTHER)] += 1

    def record_command_duration(self, kind: str, seconds: float) -> None:
        """A command was obeyed, `seconds` after it was received."""
        self.durations_by_type[COMMAND_LABELS.get(kind, OTHER)].observe(seconds)

    def record_sent(self, kind: str, size: int, count: int = 1) -> None:
        """`count` of a kind, which have `size` bytes together."""
        self.sent_by_type[REPLY_LABELS.get(kind, OTHER)] += count
        self.bytes_sent += size

    def record_refusal(self, name: str) -> None:
        """A command was answered with the refusal of this name."""
        self.refusals_by_name[name if name in self.refusals_by_name else OTHER] += 1

    # What it meant.

    def record_auth(self, outcome: str, *, again: bool = False) -> None:
        """An attempt to authenticate ended in `SUCCESS` or in one of `AUTH_FAILURES`.

        `again` where the connection had authenticated before.
        """
        self.auth_by_outcome[outcome if outcome in self.auth_by_outcome else OTHER] += 1
        self.authenticated_connections += outcome == SUCCESS and not again

    def record_subscribed(self, n: int = 1) -> None:
        self.active_subscriptions += n
        self.subscribed_total += n

    def record_unsubscribed(self, n: int = 1) -> None:
        """Also for those that end with their connection."""
        self.active_subscriptions -= n
        self.unsubscribed_total += n

    def record_published(self) -> None:
        self.published_total += 1

    # Sums.

    @property
    def errors(self) -> int:
        return sum(self.refusals_by_name.values())

    @property
    def messages_received(self) -> int:
        return sum(self.received_by_type.values())

    @property
    def messages_sent(self) -> int:
        return sum(self.sent_by_type.values())

    @property
    def auth_attempts(self) -> int:
        return sum(self.auth_by_outcome.values())
