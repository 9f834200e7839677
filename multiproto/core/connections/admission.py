"""Who may connect by one wire: its limits for each connection, its capacity, and the rate of new connections."""

from __future__ import annotations

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ...base.client_network import ClientNetwork
from ...observe.protocol_stats import ProtocolStats
from ..errors import RateLimited, TooManyConnections
from ..protocol import CloseReason
from ..ratelimit.token_bucket import MAX_BUCKETS, Rate, TokenBuckets


@frozen
class ConnectionLimits:
    """The limits and timeouts of each connection."""

    max_unauthenticated_size: int = 16 * 1024  # bytes of a message or frame before authentication
    max_subscriptions: int = 100  # patterns
    max_queued_commands: int = 64  # commands waiting before the reading is paused
    max_queued_command_bytes: int = 2**20  # of these commands
    max_queued_replies: int = 1000  # replies waiting before the peer counts as slow
    max_queued_reply_bytes: int = 4 * 2**20  # of these replies
    max_in_flight: int = 64  # publications submitted and not yet accepted
    auth_timeout: float = 10.0  # seconds
    ping_interval: float = 30.0  # seconds
    idle_timeout: float = 240.0  # seconds without a byte before the connection is closed
    # Seconds without progress of the peer, and in all, that a graceful close may take before the connection is aborted.
    close_timeout: float = 5.0
    max_close_time: float = 60.0
    command_rate: Rate | None = None
    read_rate: Rate | None = None  # of bytes


FAREWELL_MESSAGES = {
    CloseReason.CLIENT_CLOSED: "Goodbye",
    CloseReason.SHUTDOWN: "server is shutting down",
    CloseReason.LOG_REPLACED: "the log was restored to an earlier state",
    CloseReason.TOKEN_EXPIRED: "Token has expired",
    CloseReason.REVOKED: "Token revoked",
    CloseReason.AUTH_TIMEOUT: "Not authenticated in time",
    CloseReason.IDLE_TIMEOUT: "Nothing heard for too long",
    CloseReason.SLOW_CONSUMER: "Reads more slowly than it subscribed",
    CloseReason.PROTOCOL_ERROR: "The byte stream can't be followed",
    CloseReason.INTERNAL_ERROR: "Internal server error",
}


MAX_CONNECT_WAIT = (
    5.0  # seconds that a new connection waits until it is read; one that would wait longer is refused
)


@define(eq=False, repr=False)
class ConnectionRateLimiter:
    """Limits the rate of new connections of one wire from each network; without a rate there is no limit.

    Those above the rate wait for their turn: a program that opens one connection after the other is slowed, not refused.
    """

    _rate: Rate | None
    _clock: IReactorTime
    _max_keys: int = MAX_BUCKETS
    _buckets: TokenBuckets | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._buckets = TokenBuckets(self._rate, self._max_keys) if self._rate else None

    def reserve(self, network: ClientNetwork) -> float:
        """Count a connection from `network`: the seconds until it may be read.

        Raises `RateLimited` instead of counting it if these are more than `MAX_CONNECT_WAIT`.
        """
        if self._buckets is None:
            return 0.0
        now = self._clock.seconds()
        wait = self._buckets.charge(network, now)
        if wait > MAX_CONNECT_WAIT:
            self._buckets.refund(network, now)
            raise RateLimited("Too many connections from this address", "CONNECT_RATE", wait)
        return wait

    def release(self, network: ClientNetwork) -> None:
        """Give back what was counted for a connection that left while it waited."""
        if self._buckets is not None:
            self._buckets.refund(network, self._clock.seconds())


@frozen(eq=False)
class Admission:
    """One wire's share of the hub: the limits of its connections, how many there may be, and its statistics."""

    limits: ConnectionLimits
    stats: ProtocolStats
    max_connections: int | None = None
    max_connections_per_network: int | None = None  # from one address
    rate_limiter: ConnectionRateLimiter | None = None

    def reserve(self, network: ClientNetwork) -> float:
        """As `ConnectionRateLimiter.reserve`."""
        if self.rate_limiter is None:
            return 0.0
        try:
            return self.rate_limiter.reserve(network)
        except RateLimited:
            self.stats.record_rejected()
            raise

    def release(self, network: ClientNetwork) -> None:
        """As `ConnectionRateLimiter.release`."""
        if self.rate_limiter is not None:
            self.rate_limiter.release(network)

    def check_capacity(self, network: ClientNetwork) -> None:
        """Raise `TooManyConnections` when one more from `network` would be too many."""
        if self.max_connections is not None and self.stats.active_connections >= self.max_connections:
            raise TooManyConnections(f"More than {self.max_connections} connections")
        if (
            self.max_connections_per_network is not None
            and self.stats.connections_by_network.get(network, 0) >= self.max_connections_per_network
        ):
            raise TooManyConnections(
                f"More than {self.max_connections_per_network} connections from one address"
            )
