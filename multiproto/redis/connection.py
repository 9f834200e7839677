"""One connection to Redis that is made anew whenever it is lost.

The protocol is txredisapi's, with what it leaves to its users: bytes stay
bytes, an answer that does not come ends the connection, and whoever subscribed
is asked to subscribe again.
"""

from __future__ import annotations

import random
from typing import Any, Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ConnectionError as LostConnection
from txredisapi import RedisProtocol, SubscriberProtocol

from .address import CONNECT_TIMEOUT, RedisAddress

REPLY_TIMEOUT = 1.0  # seconds
INITIAL_BACKOFF = 0.05  # seconds between two attempts, then twice as many, up to
MAX_BACKOFF = 0.8

OnMessage = Callable[[bytes, bytes], object]  # channel, message


class _BaseRedisProtocol(RedisProtocol):  # type: ignore[misc]
    """Binary safe, with answers in time, and with the reason of its end."""

    def __init__(self) -> None:
        super().__init__(charset=None, convertNumbers=False, replyTimeout=REPLY_TIMEOUT)
        self.reason = ""

    def connectionLost(self, why: Failure) -> None:
        self.reason = why.getErrorMessage()
        super().connectionLost(why)


class RedisCommandProtocol(_BaseRedisProtocol):
    """Asks and is answered."""


class RedisSubscriberProtocol(_BaseRedisProtocol, SubscriberProtocol):  # type: ignore[misc]
    """Hears what is published on the channels it subscribed to."""

    def __init__(self, heard: OnMessage) -> None:
        super().__init__()
        self._on_message = heard

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        self._on_message(channel, message)


async def _do_nothing(protocol: Any) -> None:
    pass


@define(eq=False, repr=False)
class RedisConnection:
    """Kept up from `start` to `stop`; `protocol` is there while it can be used."""

    _address: RedisAddress
    _make_protocol: Callable[[], RedisProtocol]
    _reactor: Any  # IReactorTime, IReactorPluggableNameResolver
    _on_connected: Callable[[Any], Awaitable[None]] = _do_nothing  # what is to be said on each new connection
    _on_change: Callable[[], object] = lambda: None  # `protocol` came or went
    protocol: Any = field(default=None, init=False)
    down_reason: str = field(default="not connected yet", init=False)  # there is none
    _connecting: Deferred[None] | None = field(default=None, init=False)
    _transport: Any = field(default=None, init=False)  # of the present attempt
    _running: bool = field(default=False, init=False)
    _backoff: float = field(default=INITIAL_BACKOFF, init=False)  # seconds before the next attempt

    _log = Logger()

    def start(self) -> None:
        self._running = True
        self._connecting = Deferred.fromCoroutine(self._keep_connected())
        self._connecting.addErrback(self._ignore_cancellation)

    def stop(self) -> Deferred[None] | None:
        """Fires when nothing is left of it."""
        self._running = False
        keeping, self._connecting = self._connecting, None
        if keeping is not None:
            self.abort()
            keeping.cancel()
        return keeping

    def abort(self) -> None:
        """The present connection is no good; the next one is made at once."""
        if self._transport is not None:
            self._transport.abortConnection()

    async def _keep_connected(self) -> None:
        while self._running:
            try:
                await self._connect_until_lost()
            except CancelledError:
                raise
            except Exception as error:  # refused, unreachable, lost, no such user, no good certificate…
                self.down_reason = " ".join(str(error).split()) or type(error).__name__
            await deferLater(self._reactor, self._backoff * random.uniform(0.5, 1))
            self._backoff = min(2 * self._backoff, MAX_BACKOFF)

    async def _connect_until_lost(self) -> None:
        """From an attempt to the end of what came of it."""
        protocol = self._make_protocol()
        factory = Factory.forProtocol(lambda: protocol)  # type: ignore[arg-type]
        factory.noisy = False
        await self._address.endpoint(self._reactor).connect(factory)
        self._transport = protocol.transport
        lost, closed = protocol.whenDisconnected(), protocol.whenDisconnected()
        try:
            greeting = Deferred.fromCoroutine(self._set_up_protocol(protocol))
            await greeting.addTimeout(CONNECT_TIMEOUT, self._reactor)
            self.protocol, self._backoff = protocol, INITIAL_BACKOFF
            self._on_change()
            await lost
        except LostConnection:
            raise LostConnection(protocol.reason) from None
        finally:
            if self.protocol is not None:
                self.protocol, self.down_reason = None, protocol.reason
                self._on_change()
            if not closed.called:
                self.abort()
                await closed
            self._transport = None

    async def _set_up_protocol(self, protocol: Any) -> None:
        address = self._address
        if address.password is not None:
            await protocol.auth(address.password, address.user)
        if address.db:
            await protocol.select(address.db)
        await protocol.execute_command("CLIENT", "SETNAME", "multiproto")
        await self._on_connected(protocol)

    def _ignore_cancellation(self, failure: Any) -> None:
        failure.trap(CancelledError)
