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
from .address import Address
from .connection import Commands, Connection

PATIENCE = 0.05  # seconds that a caller waits at most
MOST_UNDER_WAY = 1000  # questions that Redis has not answered

T = TypeVar("T")
Read = Callable[[Any], T | None]  # what an answer means; `None` for one that can't be right


@frozen
class Script:
    """In Lua, of one key: nothing comes between what it reads and what it writes."""

    text: bytes
    sha: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text).hexdigest().encode())

    def command(self, key: bytes, *args: object) -> tuple[object, ...]:
        return "EVALSHA", self.sha, 1, key, *args


@define(eq=False, repr=False)
class Questions(Service):
    _address: Address
    _scripts: tuple[Script, ...]  # that may be asked for
    _reactor: Any  # IReactorTime, IReactorPluggableNameResolver
    _patience: float = PATIENCE
    under_way: int = field(default=0, init=False)
    overdue: int = field(default=0, init=False)  # of them, those that nobody waits for any more
    _connection: Connection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = Connection(self._address, Commands, self._reactor, self._teach)

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

    def ask(self, command: tuple[object, ...], read: Read[T]) -> Deferred[T]:
        """What Redis says.  Fails with `Unavailable` within the patience; it may have been done."""
        protocol = self._connection.protocol
        if protocol is None or self.overdue or self.under_way >= MOST_UNDER_WAY:
            failed: Deferred[T] = Deferred()
            failed.errback(_away())
            return failed
        question = _Question(self, read, command, protocol)
        question.ask()
        return question.answer

    async def _teach(self, protocol: Any) -> None:
        """So that a script takes one round trip from the first time on."""
        for script in self._scripts:
            await protocol.execute_command("SCRIPT", "LOAD", script.text)


@define(eq=False, repr=False)
class _Question(Generic[T]):
    """From being asked to Redis's answer, which may come after ours."""

    _questions: Questions
    _read: Read[T]
    _command: tuple[object, ...]
    _protocol: Any
    answer: Deferred[T] = field(factory=Deferred)
    _late: IDelayedCall | None = None

    def ask(self) -> None:
        questions = self._questions
        questions.under_way += 1
        self._late = questions._reactor.callLater(questions._patience, self._give_up)
        asked = self._protocol.execute_command(*self._command)
        asked.addErrback(self._teach_again)
        asked.addBoth(self._answered)

    def _teach_again(self, failure: Failure) -> object:
        """A script can be forgotten while the connection stays: SCRIPT FLUSH."""
        failure.trap(ResponseError)
        texts = [script.text for script in self._questions._scripts if script.sha in self._command]
        if not texts or not failure.getErrorMessage().startswith("NOSCRIPT"):
            return failure
        return self._protocol.execute_command("EVAL", texts[0], *self._command[2:])

    def _give_up(self) -> None:
        self._late = None
        self._questions.overdue += 1
        self.answer.errback(_away())

    def _answered(self, result: object) -> None:
        self._questions.under_way -= 1
        if self._late is None:
            self._questions.overdue -= 1
            return
        self._late.cancel()
        # Lost, or an error of Redis: no memory, a replica, a key that holds something else.
        meant = None if isinstance(result, Failure) else self._read(result)
        if meant is None:
            self.answer.errback(_away())
        else:
            self.answer.callback(meant)


def _away() -> Unavailable:
    return Unavailable("The shared rate limits are away")
