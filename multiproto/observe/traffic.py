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
RECEIVED = {
    "Authenticate": "auth",
    "Subscribe": "subscribe",
    "Unsubscribe": "unsubscribe",
    "Publish": "message",
    "Ping": "ping",
    "Pong": "pong",
    "Leave": "leave",
}
SENT = {
    "Authenticated": "auth_success",
    "Expiring": "expiring",
    "Subscribed": "subscribed",
    "Unsubscribed": "unsubscribed",
    "Accepted": "ack",
    "Delivery": "message",
    "CaughtUp": "caught_up",
    "Refused": "error",
    "Farewell": "farewell",
    "Ping": "ping",
    "Pong": "pong",
}

SUCCESS = "success"
AUTH_FAILURES = ("invalid", "expired", "revoked", "conflict", "unavailable")

# Refusals by their name in the contract, section 1; the first four are frames that make no command.
FRAME_ERRORS = ("INVALID_INPUT", "TCP_FRAME_TOO_LARGE", "TCP_INVALID_FRAME", "TCP_INVALID_MESSAGE_TYPE")
REFUSALS = (
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


def tally(labels: Iterable[str]) -> dict[str, int]:
    """A count of zero for each of `labels`, and for all others together."""
    return dict.fromkeys([*labels, OTHER], 0)


BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds


@define(eq=False, repr=False)
class Durations:
    """How often something took how long."""

    counts: list[int] = field(
        factory=lambda: [0] * (len(BOUNDS) + 1), init=False
    )  # the last: longer than all
    total: float = field(default=0.0, init=False)  # seconds

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@define(eq=False, repr=False)
class Traffic:
    """The counters of one protocol; its sessions call the methods."""

    protocol: str  # also the prefix of its metrics
    started_at: float = 0.0  # seconds since the epoch
    by_host: dict[str, int] = field(factory=dict, init=False)  # host -> open connections
    active: int = field(default=0, init=False)  # open connections
    authenticated: int = field(default=0, init=False)  # of them
    subscriptions: int = field(default=0, init=False)  # in force
    connections: dict[str, int] = field(init=False)  # status -> count
    received_by: dict[str, int] = field(init=False)  # label -> commands
    sent_by: dict[str, int] = field(init=False)  # label -> replies
    durations: dict[str, Durations] = field(init=False)  # label -> from read to obeyed
    bytes_received: int = field(default=0, init=False)
    bytes_sent: int = field(default=0, init=False)
    auth_by: dict[str, int] = field(init=False)  # outcome -> attempts
    refused_by: dict[str, int] = field(init=False)  # the refusal's name -> count
    subscribed_total: int = field(default=0, init=False)
    unsubscribed_total: int = field(default=0, init=False)
    published_total: int = field(default=0, init=False)
    slow_total: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.connections = dict.fromkeys(("accepted", "rejected", "closed"), 0)
        self.received_by = tally(RECEIVED.values())
        self.sent_by = tally(SENT.values())
        self.durations = {label: Durations() for label in self.received_by}
        self.auth_by = tally((SUCCESS, *AUTH_FAILURES))
        self.refused_by = tally(REFUSALS)

    # Connections.

    def connected(self, host: str) -> None:
        self.active += 1
        self.connections["accepted"] += 1
        self.by_host[host] = self.by_host.get(host, 0) + 1

    def rejected(self) -> None:
        """A connection was turned away for a limit; neither `connected` nor `disconnected` is called."""
        self.connections["rejected"] += 1

    def disconnected(self, host: str, authenticated: bool) -> None:
        self.active -= 1
        self.authenticated -= authenticated
        self.connections["closed"] += 1
        self.by_host[host] -= 1
        if not self.by_host[host]:
            del self.by_host[host]

    def slow(self) -> None:
        """A peer was hung up on because it does not read as fast as it subscribed."""
        self.slow_total += 1

    # What passes.

    def read(self, size: int) -> None:
        """`size` bytes came in, whatever they mean."""
        self.bytes_received += size

    def received(self, kind: str) -> None:
        self.received_by[RECEIVED.get(kind, OTHER)] += 1

    def took(self, kind: str, seconds: float) -> None:
        """A command was obeyed, `seconds` after it was received."""
        self.durations[RECEIVED.get(kind, OTHER)].add(seconds)

    def sent(self, kind: str, size: int, count: int = 1) -> None:
        """`count` of a kind, which have `size` bytes together."""
        self.sent_by[SENT.get(kind, OTHER)] += count
        self.bytes_sent += size

    def refused(self, name: str) -> None:
        """A command was answered with the refusal of this name."""
        self.refused_by[name if name in self.refused_by else OTHER] += 1

    # What it meant.

    def auth(self, outcome: str, *, again: bool = False) -> None:
        """An attempt to authenticate ended in `SUCCESS` or in one of `AUTH_FAILURES`.

        `again` where the connection had authenticated before.
        """
        self.auth_by[outcome if outcome in self.auth_by else OTHER] += 1
        self.authenticated += outcome == SUCCESS and not again

    def subscribed(self, n: int = 1) -> None:
        self.subscriptions += n
        self.subscribed_total += n

    def unsubscribed(self, n: int = 1) -> None:
        """Also for those that end with their connection."""
        self.subscriptions -= n
        self.unsubscribed_total += n

    def published(self) -> None:
        self.published_total += 1

    # Sums.

    @property
    def errors(self) -> int:
        return sum(self.refused_by.values())

    @property
    def messages_received(self) -> int:
        return sum(self.received_by.values())

    @property
    def messages_sent(self) -> int:
        return sum(self.sent_by.values())

    @property
    def auth_attempts(self) -> int:
        return sum(self.auth_by.values())
