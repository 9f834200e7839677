"""What one session may take of the server, and what it is told when it has to end."""

from __future__ import annotations

from attrs import frozen

from .rates import Rate
from .wire import CloseReason


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
