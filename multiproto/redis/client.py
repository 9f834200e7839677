"""Asking Redis something that nobody waits long for: on a connection of its own, and bounded.

Behind what the live lane has to say an answer could take longer than its asker
has.  A Redis that owes an answer for longer than the patience is not asked until
it has given it, or the connection has ended for want of it: when Redis is slow,
the first few wait for it and not each.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any, Callable, Generic, TypeVar

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from txredisapi import ResponseError

from ..core.errors import Unavailable
from .address import RedisAddress
from .connection import RedisCommandProtocol, RedisConnection

CALL_TIMEOUT = 0.05  # seconds that a caller waits at most
MAX_IN_FLIGHT = 1000  # questions that Redis has not answered

T = TypeVar("T")
ParseReply = Callable[[Any], T | None]  # what an answer means; `None` for one that can't be right


@frozen
class RedisScript:
    """In Lua, of one key: nothing comes between what it reads and what it writes."""

    text: bytes
    sha: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text).hexdigest().encode())

    def command(self, key: bytes, *args: object) -> tuple[object, ...]:
        return "EVALSHA", self.sha, 1, key, *args


@define(eq=False, repr=False)
class RedisClient(Service):
    _address: RedisAddress
    _scripts: tuple[RedisScript, ...]  # that may be asked for
    _reactor: Any  # IReactorTime, IReactorPluggableNameResolver
    _call_timeout: float = CALL_TIMEOUT
    in_flight: int = field(default=0, init=False)
    overdue: int = field(default=0, init=False)  # of them, those that nobody waits for any more
    _connection: RedisConnection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = RedisConnection(
            self._address, RedisCommandProtocol, self._reactor, self._load_scripts
        )

    @property
    def connections(self) -> int:
        return int(self._connection.protocol is not None)

    def startService(self) -> None:
        """Waits for nothing: without Redis its callers answer for themselves."""
        super().startService()
        self._connection.start()

    def stopService(self) -> Deferred[None] | None:
        """Fires when the connection is closed."""
        super().stopService()
        return self._connection.stop()

    def execute(self, command: tuple[object, ...], read: ParseReply[T]) -> Deferred[T]:
        """What Redis says.  Fails with `Unavailable` within the patience; it may have been done."""
        protocol = self._connection.protocol
        if protocol is None or self.overdue or self.in_flight >= MAX_IN_FLIGHT:
            failed: Deferred[T] = Deferred()
            failed.errback(_unavailable())
            return failed
        question = _PendingRedisCommand(self, read, command, protocol)
        question.send()
        return question.result

    async def _load_scripts(self, protocol: Any) -> None:
        """So that a script takes one round trip from the first time on."""
        for script in self._scripts:
            await protocol.execute_command("SCRIPT", "LOAD", script.text)


@define(eq=False, repr=False)
class _PendingRedisCommand(Generic[T]):
    """From being asked to Redis's answer, which may come after ours."""

    _client: RedisClient
    _parse_reply: ParseReply[T]
    _command: tuple[object, ...]
    _protocol: Any
    result: Deferred[T] = field(factory=Deferred)
    _timeout_call: IDelayedCall | None = None

    def send(self) -> None:
        questions = self._client
        questions.in_flight += 1
        self._timeout_call = questions._reactor.callLater(questions._call_timeout, self._on_timeout)
        asked = self._protocol.execute_command(*self._command)
        asked.addErrback(self._retry_with_script_text)
        asked.addBoth(self._on_reply)

    def _retry_with_script_text(self, failure: Failure) -> object:
        """A script can be forgotten while the connection stays: SCRIPT FLUSH."""
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
        # Lost, or an error of Redis: no memory, a replica, a key that holds something else.
        meant = None if isinstance(result, Failure) else self._parse_reply(result)
        if meant is None:
            self.result.errback(_unavailable())
        else:
            self.result.callback(meant)


def _unavailable() -> Unavailable:
    return Unavailable("The shared rate limits are away")
