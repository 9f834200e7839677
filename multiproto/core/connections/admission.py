"""What one session may take of the server, and what it is told when it has to end."""

from __future__ import annotations

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ...observe.protocol_stats import ProtocolStats
from ..addresses import client_network
from ..errors import RateLimited, TooManyConnections
from ..protocol import CloseReason
from ..ratelimit.token_bucket import MAX_BUCKETS, Rate, TokenBuckets

# How often one address may come: connections of each wire, before anything is kept of them.


@frozen
class ConnectionLimits:
    max_subscriptions: int = 100  # patterns per session
    max_queued_commands: int = 64  # commands waiting before we stop reading
    max_queued_command_bytes: int = 2**20  # of them
    max_queued_replies: int = 1000  # replies waiting before the peer counts as slow
    max_queued_reply_bytes: int = 4 * 2**20  # of them
    max_in_flight: int = 64  # publications submitted and not yet accepted
    auth_timeout: float = 10.0  # seconds
    ping_interval: float = 30.0  # seconds
    idle_timeout: float = 240.0  # seconds without a byte before we hang up
    close_timeout: float = 5.0  # seconds a farewell may take before we cut the line
    command_rate: Rate | None = None
    read_rate: Rate | None = None  # of what is read


FAREWELL_MESSAGES = {
    CloseReason.CLIENT_CLOSED: "Goodbye",
    CloseReason.SHUTDOWN: "server is shutting down",
    CloseReason.TOKEN_EXPIRED: "Token expired",
    CloseReason.REVOKED: "Token revoked",
    CloseReason.AUTH_TIMEOUT: "Not authenticated in time",
    CloseReason.IDLE_TIMEOUT: "Nothing heard for too long",
    CloseReason.SLOW_CONSUMER: "Reads more slowly than it subscribed",
    CloseReason.FLOODING: "Too many commands, in spite of being told",
    CloseReason.PROTOCOL_ERROR: "The byte stream can't be followed",
    CloseReason.INTERNAL_ERROR: "Internal server error",
}


@define(eq=False, repr=False)
class ConnectionRateLimiter:
    """Of one wire, by network; without a rate, all may come."""

    _rate: Rate | None
    _clock: IReactorTime
    _max_keys: int = MAX_BUCKETS
    _buckets: TokenBuckets | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._buckets = TokenBuckets(self._rate, self._max_keys) if self._rate else None

    def acquire(self, host: str) -> float:
        """Seconds until `host` may come; 0.0 if it may now, and then that counts."""
        return (
            0.0
            if self._buckets is None
            else self._buckets.acquire(client_network(host), self._clock.seconds())
        )


def too_many_connections(wait: float) -> RateLimited:
    """What one is told who may come in `acquire` seconds."""
    return RateLimited("Too many connections from this address", retry_after=wait)


@frozen(eq=False)
class Admission:
    """One wire's share of the hub: what its sessions may, how many they may be, what they did."""

    limits: ConnectionLimits
    stats: ProtocolStats
    max_connections: int | None = None  # sessions
    max_connections_per_host: int | None = None  # sessions from one address
    rate_limiter: ConnectionRateLimiter | None = None  # of connections

    def acquire(self, host: str) -> float:
        """Asked before a connection is looked at: seconds until `host` may come; 0.0 if it may."""
        wait = 0.0 if self.rate_limiter is None else self.rate_limiter.acquire(host)
        if wait:
            self.stats.record_rejected()
        return wait

    def check_rate(self, host: str) -> None:
        """The same; raises `RateLimited`."""
        wait = self.acquire(host)
        if wait:
            raise too_many_connections(wait)

    def check_capacity(self, host: str) -> None:
        """Raise `TooManyConnections` when one more from `host` would be too many."""
        if self.max_connections is not None and self.stats.active_connections >= self.max_connections:
            raise TooManyConnections(f"More than {self.max_connections} connections")
        if (
            self.max_connections_per_host is not None
            and self.stats.connections_by_host.get(host, 0) >= self.max_connections_per_host
        ):
            raise TooManyConnections(
                f"More than {self.max_connections_per_host} connections from one address"
            )
