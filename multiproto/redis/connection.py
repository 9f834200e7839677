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

from .address import CONNECT_WITHIN, Address

ANSWER_WITHIN = 1.0  # seconds
FIRST_PAUSE = 0.05  # seconds between two attempts, then twice as many, up to
LONGEST_PAUSE = 0.8

Heard = Callable[[bytes, bytes], object]  # channel, message


class _Ours(RedisProtocol):  # type: ignore[misc]
    """Binary safe, with answers in time, and with the reason of its end."""

    def __init__(self) -> None:
        super().__init__(charset=None, convertNumbers=False, replyTimeout=ANSWER_WITHIN)
        self.reason = ""

    def connectionLost(self, why: Failure) -> None:
        self.reason = why.getErrorMessage()
        super().connectionLost(why)


class Commands(_Ours):
    """Asks and is answered."""


class Subscriber(_Ours, SubscriberProtocol):  # type: ignore[misc]
    """Hears what is published on the channels it subscribed to."""

    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self._heard = heard

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        self._heard(channel, message)


async def _nothing(protocol: Any) -> None:
    pass


@define(eq=False, repr=False)
class Connection:
    """Kept up from `start` to `stop`; `protocol` is there while it can be used."""

    _address: Address
    _make: Callable[[], RedisProtocol]
    _reactor: Any  # IReactorTime, IReactorPluggableNameResolver
    _begin: Callable[[Any], Awaitable[None]] = _nothing  # what is to be said on each new connection
    _changed: Callable[[], object] = lambda: None  # `protocol` came or went
    protocol: Any = field(default=None, init=False)
    why: str = field(default="not connected yet", init=False)  # there is none
    _keeping: Deferred[None] | None = field(default=None, init=False)
    _transport: Any = field(default=None, init=False)  # of the present attempt
    _running: bool = field(default=False, init=False)
    _pause: float = field(default=FIRST_PAUSE, init=False)  # seconds before the next attempt

    _log = Logger()

    def start(self) -> None:
        self._running = True
        self._keeping = Deferred.fromCoroutine(self._keep())
        self._keeping.addErrback(self._ended)

    def stop(self) -> Deferred[None] | None:
        """Fires when nothing is left of it."""
        self._running = False
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            self.drop()
            keeping.cancel()
        return keeping

    def drop(self) -> None:
        """The present connection is no good; the next one is made at once."""
        if self._transport is not None:
            self._transport.abortConnection()

    async def _keep(self) -> None:
        while self._running:
            try:
                await self._live()
            except CancelledError:
                raise
            except Exception as error:  # refused, unreachable, lost, no such user, no good certificate…
                self.why = " ".join(str(error).split()) or type(error).__name__
            await deferLater(self._reactor, self._pause * random.uniform(0.5, 1))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _live(self) -> None:
        """From an attempt to the end of what came of it."""
        protocol = self._make()
        factory = Factory.forProtocol(lambda: protocol)  # type: ignore[arg-type]
        factory.noisy = False
        await self._address.endpoint(self._reactor).connect(factory)
        self._transport = protocol.transport
        lost, closed = protocol.whenDisconnected(), protocol.whenDisconnected()
        try:
            greeting = Deferred.fromCoroutine(self._greet(protocol))
            await greeting.addTimeout(CONNECT_WITHIN, self._reactor)
            self.protocol, self._pause = protocol, FIRST_PAUSE
            self._changed()
            await lost
        except LostConnection:
            raise LostConnection(protocol.reason) from None
        finally:
            if self.protocol is not None:
                self.protocol, self.why = None, protocol.reason
                self._changed()
            if not closed.called:
                self.drop()
                await closed
            self._transport = None

    async def _greet(self, protocol: Any) -> None:
        address = self._address
        if address.password is not None:
            await protocol.auth(address.password, address.user)
        if address.db:
            await protocol.select(address.db)
        await protocol.execute_command("CLIENT", "SETNAME", "multiproto")
        await self._begin(protocol)

    def _ended(self, failure: Any) -> None:
        failure.trap(CancelledError)
