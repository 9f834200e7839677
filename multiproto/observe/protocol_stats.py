"""The counters of one protocol's traffic.

A delivery may cost less than a microsecond, so counting is adding to plain
integers; Prometheus (`observe.protocol_metrics`) and `/stats` (`observe.stats`)
read them on request.  Labels are closed sets: anything else counts as "other",
so no client can make a new label.
"""

from __future__ import annotations

from typing import Iterable

from attrs import define, field

from ..base.client_network import ClientNetwork
from .histogram import DURATION_BUCKETS, HistogramSeries

OTHER = "other"

# Class names in `core.protocol` -> label, which is the type in WebSocket's messages.
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

# The names of docs/common.md#error-codes; the first four are for frames that are no command.
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
    """A count of zero for each of `labels`, and one for all others together."""
    return dict.fromkeys([*labels, OTHER], 0)


@define(eq=False, repr=False)
class ProtocolStats:
    """The counters of one protocol; its connections call the methods."""

    protocol: str  # also the prefix of its metrics
    started_at: float = 0.0  # seconds since the epoch
    started_on_clock: float = 0.0  # by the clock of the intervals
    connections_by_network: dict[ClientNetwork, int] = field(factory=dict, init=False)  # -> open connections
    active_connections: int = field(default=0, init=False)
    authenticated_connections: int = field(default=0, init=False)  # of the active ones
    active_subscriptions: int = field(default=0, init=False)
    connections_by_status: dict[str, int] = field(init=False)  # status -> count
    received_by_type: dict[str, int] = field(init=False)  # label -> commands
    sent_by_type: dict[str, int] = field(init=False)  # label -> replies
    durations_by_type: dict[str, HistogramSeries] = field(init=False)  # label -> seconds of execution
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
        self.durations_by_type = {label: HistogramSeries(DURATION_BUCKETS) for label in self.received_by_type}
        self.auth_by_outcome = zero_counts((SUCCESS, *AUTH_FAILURES))
        self.refusals_by_name = zero_counts(REFUSAL_NAMES)

    # Connections.

    def record_connected(self, network: ClientNetwork) -> None:
        self.active_connections += 1
        self.connections_by_status["accepted"] += 1
        self.connections_by_network[network] = self.connections_by_network.get(network, 0) + 1

    def record_rejected(self) -> None:
        """A connection was refused for a limit; neither `record_connected` nor `record_disconnected` is called."""
        self.connections_by_status["rejected"] += 1

    def record_disconnected(self, network: ClientNetwork, authenticated: bool) -> None:
        self.active_connections -= 1
        self.authenticated_connections -= authenticated
        self.connections_by_status["closed"] += 1
        self.connections_by_network[network] -= 1
        if not self.connections_by_network[network]:
            del self.connections_by_network[network]

    def record_slow_consumer(self) -> None:
        """A connection was closed because its peer reads more slowly than its deliveries come."""
        self.slow_consumers_total += 1

    # Traffic.

    def record_bytes_received(self, size: int) -> None:
        """`size` bytes were read."""
        self.bytes_received += size

    def record_command(self, kind: str) -> None:
        self.received_by_type[COMMAND_LABELS.get(kind, OTHER)] += 1

    def record_command_duration(self, kind: str, seconds: float) -> None:
        """A command was executed in `seconds`, without its wait for earlier ones."""
        self.durations_by_type[COMMAND_LABELS.get(kind, OTHER)].observe(seconds)

    def record_sent(self, kind: str, size: int, count: int = 1) -> None:
        """`count` replies of a kind were sent, of `size` bytes in all."""
        self.sent_by_type[REPLY_LABELS.get(kind, OTHER)] += count
        self.bytes_sent += size

    def record_refusal(self, name: str) -> None:
        """A command was answered with the refusal of this name."""
        self.refusals_by_name[name if name in self.refusals_by_name else OTHER] += 1

    # Its outcome.

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
        """`n` subscriptions ended, by a command or with their connection."""
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
