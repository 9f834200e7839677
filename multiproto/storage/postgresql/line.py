"""One connection to PostgreSQL, driven by the reactor.

libpq's pipeline mode: statements are sent without waiting for the answers to
those before.  All that one `ask` sends ends with a Sync: the first of them
that fails keeps the rest of that `ask` from being done, and no other.  Outside
of a BEGIN, an `ask` is one transaction.

Nothing here blocks; a connection is made elsewhere, in a thread.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any, Callable, Deque, Iterable, Mapping, Sequence

from attrs import define, field, frozen
from psycopg import OperationalError, pq
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ...core.ports import Row
from . import values
from .statements import Statement


class Lost(Exception):
    """The connection is no more.  What was asked and not answered may have happened."""


class Failed(Exception):
    """A statement failed, and nothing of its `ask` behind it was done.

    `state` is the SQLSTATE; `place` says which one of the `ask` it was, from 0.
    """

    def __init__(self, state: str, message: str, place: int) -> None:
        super().__init__(f"{message} (SQLSTATE {state})")
        self.state = state
        self.place = place


@frozen
class Call:
    statement: Statement
    params: Mapping[str, object] = field(factory=dict, repr=False)


@frozen
class Result:
    rows: tuple[Row, ...] = field(repr=False)
    affected: int  # rows that a change touched
    command: str  # what was done, e.g. "COMMIT"; that of a failed transaction gives "ROLLBACK"


@define(eq=False, repr=False)
class _Asked:
    at: float  # the clock's seconds
    statements: Sequence[Statement]  # none while the line is set up
    answer: Deferred[list[Result]] = field(factory=Deferred)
    results: list[Result] = field(factory=list)
    failure: Failed | None = None


@implementer(IReadWriteDescriptor)
@define(eq=False, repr=False)
class Line:
    _connection: pq.abc.PGconn
    _reactor: Any  # IReactorFDSet, IReactorTime
    _patience: float  # seconds for an answer; a line that gives none is cut
    _on_lost: Callable[[Line], object] = lambda line: None
    _on_notify: Callable[[], object] = lambda: None  # another session has said NOTIFY
    lost: bool = False
    _asked: Deque[_Asked] = field(factory=deque)

    # A descriptor of our own for the same socket: libpq closes its one when the connection breaks, and another
    # file may have that number by the time the reactor hears of it.
    _fd: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._fd = os.dup(self._connection.socket)
        self._connection.nonblocking = 1
        self._connection.enter_pipeline_mode()
        self._reactor.addReader(self)

    def __len__(self) -> int:
        """How many `ask`s are unanswered."""
        return len(self._asked)

    @property
    def busy_since(self) -> float | None:
        """When the oldest unanswered `ask` was made."""
        return self._asked[0].at if self._asked else None

    def ask(self, calls: Sequence[Call]) -> Deferred[list[Result]]:
        """The results of `calls`, in order.  Fails with `Failed`, `Lost`, or what a parameter raises."""
        try:
            texts = [[values.sent(call.params[name]) for name in call.statement.params] for call in calls]
        except Exception:
            answer: Deferred[list[Result]] = Deferred()
            answer.errback(Failure())
            return answer
        return self._send([call.statement for call in calls], lambda: self._send_calls(calls, texts))

    def prepare(self, statements: Iterable[Statement]) -> Deferred[list[Result]]:
        """Make `statements` known to the server; before they can be asked."""

        def send() -> None:
            for statement in statements:
                self._connection.send_prepare(statement.name.encode(), statement.text)

        return self._send([], send)

    def set_up(self, commands: Iterable[bytes]) -> Deferred[list[Result]]:
        """Do `commands`, plain SQL."""

        def send() -> None:
            for command in commands:
                self._connection.send_query_params(command, None)

        return self._send([], send)

    def check(self) -> None:
        """Cut the line if it owes an answer for too long."""
        since = self.busy_since
        if since is not None and self._reactor.seconds() - since > self._patience:
            self.cut("The database gives no answer")

    def cut(self, why: str = "closed") -> None:
        """End it now; what is unanswered fails with `Lost`."""
        if self.lost:
            return
        self.lost = True
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        os.close(self._fd)
        self._connection.finish()
        self._on_lost(self)
        while self._asked:
            self._asked.popleft().answer.errback(Lost(why))

    # The reactor calls these.

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "postgresql"

    def connectionLost(self, reason: Failure) -> None:
        self.cut("The connection was lost")

    def doRead(self) -> None:
        try:
            self._connection.consume_input()
            self._take_all()
            while (notice := self._connection.notifies()) is not None:
                if notice.be_pid != self._connection.backend_pid:  # who writes needs no hint
                    self._on_notify()
        except OperationalError:
            self.cut("The connection was lost")

    def doWrite(self) -> None:
        try:
            if not self._connection.flush():
                self._reactor.removeWriter(self)
        except OperationalError:
            self.cut("The connection was lost")

    # Behind them.

    def _send(self, statements: Sequence[Statement], send: Callable[[], None]) -> Deferred[list[Result]]:
        asked = _Asked(self._reactor.seconds(), statements)
        if self.lost:
            asked.answer.errback(Lost("closed"))
            return asked.answer
        self._asked.append(asked)
        try:
            send()
            self._connection.pipeline_sync()
            if self._connection.flush():
                self._reactor.addWriter(self)
        except OperationalError:
            self.cut("The connection was lost")
        return asked.answer

    def _send_calls(self, calls: Sequence[Call], texts: Sequence[Sequence[bytes | None]]) -> None:
        for call, text in zip(calls, texts):
            self._connection.send_query_prepared(call.statement.name.encode(), text)

    def _take_all(self) -> None:
        """Each statement gives its results and then None; a Sync gives itself alone."""
        while self._asked and not self._connection.is_busy():
            result = self._connection.get_result()
            if result is not None:
                self._take(self._asked[0], result)

    def _take(self, asked: _Asked, result: pq.abc.PGresult) -> None:
        match result.status:
            case pq.ExecStatus.PIPELINE_SYNC:
                self._asked.popleft()
                if asked.failure is None:
                    asked.answer.callback(asked.results)
                else:
                    asked.answer.errback(asked.failure)
            case pq.ExecStatus.TUPLES_OK | pq.ExecStatus.COMMAND_OK:
                statement = asked.statements[len(asked.results)] if asked.statements else None
                asked.results.append(_result(statement, result))
            case pq.ExecStatus.PIPELINE_ABORTED:
                pass
            case _:
                self._fail(asked, result)

    def _fail(self, asked: _Asked, result: pq.abc.PGresult) -> None:
        message = _error_field(result, pq.DiagnosticField.MESSAGE_PRIMARY) or str(result.error_message)
        if _error_field(result, pq.DiagnosticField.SEVERITY_NONLOCALIZED) != "ERROR":
            # FATAL or PANIC: the server ends the session, maybe in the middle of a COMMIT that it keeps.
            self.cut(message)
            return
        state = _error_field(result, pq.DiagnosticField.SQLSTATE)
        asked.failure = Failed(state, message, len(asked.results))


def _error_field(result: pq.abc.PGresult, name: pq.DiagnosticField) -> str:
    return (result.error_field(name) or b"").decode(errors="replace").strip()


def _result(statement: Statement | None, result: pq.abc.PGresult) -> Result:
    command = (result.command_status or b"").decode()
    if statement is None or result.status == pq.ExecStatus.COMMAND_OK:
        return Result((), result.command_tuples or 0, command)
    columns = statement.columns
    if columns is None:
        columns = statement.columns = tuple(
            ((result.fname(n) or b"").decode(), values.decoder(result.ftype(n)))
            for n in range(result.nfields)
        )
    get = result.get_value
    rows = tuple(
        {
            name: None if (value := get(number, place)) is None else decode(value)
            for place, (name, decode) in enumerate(columns)
        }
        for number in range(result.ntuples)
    )
    return Result(rows, len(rows), command)
