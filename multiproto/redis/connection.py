"""One connection to Redis that is opened again whenever it is lost.

The protocol is txredisapi's, with what that leaves to its users: bytes stay
bytes, a reply that does not come in time ends the connection, and each new
connection is set up and subscribed again.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ConnectionError as LostConnection
from txredisapi import RedisProtocol, SubscriberProtocol

from ..base.backoff import Backoff
from ..base.one_line import one_line
from .address import CONNECT_TIMEOUT, RedisAddress

REPLY_TIMEOUT = 1.0  # seconds
WRITE_CHECK_LIFETIME = 60_000  # ms that a key is kept which only shows that it can be written
INITIAL_BACKOFF, MAX_BACKOFF = 0.05, 0.8  # seconds between two attempts

OnMessage = Callable[[bytes, bytes], object]  # channel, message


class _BaseRedisProtocol(RedisProtocol):  # type: ignore[misc]
    """Binary safe, with a timeout of replies, and with the reason why it ended."""

    def __init__(self) -> None:
        super().__init__(charset=None, convertNumbers=False, replyTimeout=REPLY_TIMEOUT)
        self.reason = ""

    def connectionLost(self, why: Failure) -> None:
        self.reason = why.getErrorMessage()
        super().connectionLost(why)


class RedisCommandProtocol(_BaseRedisProtocol):
    """Sends commands and receives replies."""


class RedisSubscriberProtocol(_BaseRedisProtocol, SubscriberProtocol):  # type: ignore[misc]
    """Receives what is published on the channels that it has subscribed to."""

    def __init__(self, on_message: OnMessage) -> None:
        super().__init__()
        self._on_message = on_message

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        self._on_message(channel, message)


async def check_writable(protocol: Any, key: bytes) -> None:
    """Write `key`.  Raises Redis's error where that is refused: by a replica, for lack of memory or rights, …

    A replica answers PING and delivers what is published to it: only a write shows that this is the master.
    """
    await protocol.execute_command("SET", key, b"1", "PX", WRITE_CHECK_LIFETIME)


async def _do_nothing(protocol: Any) -> None:
    pass


@define(eq=False, repr=False)
class RedisConnection:
    """Kept open from `start` to `stop`; `protocol` is set while it can be used."""

    _address: RedisAddress
    _make_protocol: Callable[[], RedisProtocol]
    _reactor: Any  # IReactorTime, IReactorPluggableNameResolver
    # Sets a new connection up, beyond login and database; one for which it fails is given up.
    _on_connected: Callable[[Any], Awaitable[None]] = _do_nothing
    _on_change: Callable[[], object] = lambda: None  # called when `protocol` was set or cleared
    protocol: Any = field(default=None, init=False)
    down_reason: str = field(default="not connected yet", init=False)  # why there is no connection
    _connecting: Deferred[None] | None = field(default=None, init=False)
    _transport: Any = field(default=None, init=False)  # of the present attempt
    _running: bool = field(default=False, init=False)
    _failed_attempts: int = field(
        default=0, init=False
    )  # since the last success: each takes the next address
    _backoff: Backoff = field(factory=partial(Backoff, INITIAL_BACKOFF, MAX_BACKOFF), init=False)

    _log = Logger()

    def start(self) -> None:
        self._running = True
        self._connecting = Deferred.fromCoroutine(self._keep_connected())
        self._connecting.addErrback(self._ignore_cancellation)

    def stop(self) -> Deferred[None] | None:
        """Fires when the connection is closed."""
        self._running = False
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            self.abort()
            connecting.cancel()
        return connecting

    def abort(self) -> None:
        """Cut the present connection; it is opened again."""
        if self._transport is not None:
            self._transport.abortConnection()

    async def _keep_connected(self) -> None:
        while self._running:
            try:
                await self._connect_until_lost()
            except CancelledError:
                raise
            except Exception as error:  # refused, unreachable, lost, no such user, no good certificate…
                self.down_reason = one_line(error) or type(error).__name__
            await deferLater(self._reactor, self._backoff.next_delay())

    async def _connect_until_lost(self) -> None:
        """One attempt to connect and, if that succeeds, the life of the connection."""
        protocol = self._make_protocol()
        factory = Factory.forProtocol(lambda: protocol)  # type: ignore[arg-type]
        factory.noisy = False
        addresses = await self._address.resolve(self._reactor)
        address = addresses[self._failed_attempts % len(addresses)]
        self._failed_attempts += 1
        await self._address.endpoint(self._reactor, address).connect(factory)
        self._transport = protocol.transport
        lost, closed = protocol.whenDisconnected(), protocol.whenDisconnected()
        try:
            greeting = Deferred.fromCoroutine(self._set_up_protocol(protocol))
            await greeting.addTimeout(CONNECT_TIMEOUT, self._reactor)
            self.protocol = protocol
            self._backoff.reset()
            self._failed_attempts = 0
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
