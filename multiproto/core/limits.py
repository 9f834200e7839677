"""What one session may take of the server, and what it is told when it has to end."""

from __future__ import annotations

from attrs import frozen

from .rates import Rate
from .wire import Why


@frozen
class Limits:
    subscriptions: int = 100  # patterns per session
    inbox: int = 64  # commands waiting before we stop reading
    inbox_bytes: int = 2**20  # of them
    outbox: int = 1000  # replies waiting before the peer counts as slow
    outbox_bytes: int = 4 * 2**20  # of them
    outstanding: int = 64  # publications submitted and not yet accepted
    auth_within: float = 10.0  # seconds
    ping_every: float = 30.0  # seconds
    silence: float = 240.0  # seconds without a byte before we hang up
    linger: float = 5.0  # seconds a farewell may take before we cut the line
    commands: Rate | None = None
    bytes: Rate | None = None  # of what is read


FAREWELLS = {
    Why.LEFT: "Goodbye",
    Why.SHUTDOWN: "server is shutting down",
    Why.EXPIRED: "Token expired",
    Why.REVOKED: "Token revoked",
    Why.UNAUTHENTICATED: "Not authenticated in time",
    Why.SILENT: "Nothing heard for too long",
    Why.SLOW: "Reads more slowly than it subscribed",
    Why.FLOODING: "Too many commands, in spite of being told",
    Why.UNTRUSTED: "The byte stream can't be followed",
    Why.BROKEN: "Internal server error",
}
