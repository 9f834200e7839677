"""Commands to Redis with a short timeout, bounded in number and on a connection of their own.

On the broker's connection a reply could come behind many publications, and too
late.  While a command is overdue, no other one is sent, until its reply comes
or the connection ends for lack of it: when Redis is slow, only the first few
callers wait for the timeout.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any, Callable, Generic, TypeVar

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from txredisapi import ResponseError

from ..core.errors import Unavailable
from .address import RedisAddress
from .connection import RedisCommandProtocol, RedisConnection, check_writable

CALL_TIMEOUT = 0.05  # seconds that a caller waits at most
MAX_IN_FLIGHT = 1000  # commands that Redis has not answered

# How errors begin that say that another server is meant.
UNUSABLE_SERVER = ("READONLY", "MASTERDOWN", "MOVED", "CLUSTERDOWN", "NOAUTH", "NOPERM")

T = TypeVar("T")
ParseReply = Callable[[Any], T | None]  # the value of a reply; `None` for a malformed one


@frozen
class RedisScript:
    """A Lua script on one key, which Redis executes atomically."""

    text: bytes
    sha: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text).hexdigest().encode())

    def command(self, key: bytes, *args: object) -> tuple[object, ...]:
        return "EVALSHA", self.sha, 1, key, *args


@define(eq=False, repr=False)
class RedisClient(Service):
    """Sends commands and scripts; each fails with `Unavailable` rather than wait long."""

    _address: RedisAddress
    _scripts: tuple[RedisScript, ...]  # all that `execute` may be given
    _check_key: bytes  # is written to see whether anything can be
    _reactor: Any  # IReactorTime, IReactorPluggableNameResolver
    _call_timeout: float = CALL_TIMEOUT
    in_flight: int = field(default=0, init=False)
    overdue: int = field(default=0, init=False)  # of them, those whose callers have been refused already
    _connection: RedisConnection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = RedisConnection(self._address, RedisCommandProtocol, self._reactor, self._set_up)

    @property
    def connections(self) -> int:
        return int(self._connection.protocol is not None)

    def startService(self) -> None:
        """Begin to connect, without waiting for it: callers can do without Redis."""
        super().startService()
        self._connection.start()

    def stopService(self) -> Deferred[None] | None:
        """Fires when the connection is closed."""
        super().stopService()
        return self._connection.stop()

    def execute(self, command: tuple[object, ...], parse_reply: ParseReply[T]) -> Deferred[T]:
        """The value of the reply.  Fails with `Unavailable` within the timeout; the command may have been executed."""
        protocol = self._connection.protocol
        if protocol is None or self.overdue or self.in_flight >= MAX_IN_FLIGHT:
            return fail(_unavailable())
        pending = _PendingRedisCommand(self, parse_reply, command, protocol)
        pending.send()
        return pending.result

    def leave_if_unusable(self, protocol: Any, error: str) -> None:
        """Give a server up that has become a replica, or one of others: the name may lead to another by now."""
        if protocol is self._connection.protocol and error.startswith(UNUSABLE_SERVER):
            self._connection.abort()

    def reconnect(self) -> None:
        """Give this server up: other instances are on another one."""
        self._connection.abort()

    async def _set_up(self, protocol: Any) -> None:
        """Make sure that this is a master, and load all scripts, so that each call takes one round trip."""
        await check_writable(protocol, self._check_key)
        for script in self._scripts:
            await protocol.execute_command("SCRIPT", "LOAD", script.text)


@define(eq=False, repr=False)
class _PendingRedisCommand(Generic[T]):
    """A command from `send` to the reply, which may come after the timeout."""

    _client: RedisClient
    _parse_reply: ParseReply[T]
    _command: tuple[object, ...]
    _protocol: Any
    result: Deferred[T] = field(factory=Deferred)
    _timeout_call: IDelayedCall | None = None

    def send(self) -> None:
        client = self._client
        client.in_flight += 1
        self._timeout_call = client._reactor.callLater(client._call_timeout, self._on_timeout)
        reply = self._protocol.execute_command(*self._command)
        reply.addErrback(self._retry_with_script_text)
        reply.addBoth(self._on_reply)

    def _retry_with_script_text(self, failure: Failure) -> object:
        """Redis may drop a script while the connection stays: SCRIPT FLUSH."""
        failure.trap(ResponseError)
        texts = [script.text for script in self._client._scripts if script.sha in self._command]
        if not texts or not failure.getErrorMessage().startswith("NOSCRIPT"):
            return failure
        return self._protocol.execute_command("EVAL", texts[0], *self._command[2:])

    def _on_timeout(self) -> None:
        self._timeout_call = None
        self._client.overdue += 1
        self.result.errback(_unavailable())

    def _on_reply(self, result: object) -> None:
        self._client.in_flight -= 1
        if self._timeout_call is None:
            self._client.overdue -= 1
            return
        self._timeout_call.cancel()
        # A failure is a lost connection, or an error of Redis: no memory, a replica, a key of another type.
        if isinstance(result, Failure) and result.check(ResponseError):
            self._client.leave_if_unusable(self._protocol, result.getErrorMessage())
        value = None if isinstance(result, Failure) else self._parse_reply(result)
        if value is None:
            self.result.errback(_unavailable())
        else:
            self.result.callback(value)


def _unavailable() -> Unavailable:
    return Unavailable("The shared rate limits are away")
