"""One connection to PostgreSQL, driven by the reactor.

In libpq's pipeline mode, statements are sent without waiting for the results of
those before.  The statements of one `execute` end with a Sync: the first that
fails makes the server skip the rest of that `execute`, and of no other.  Outside
of a BEGIN, an `execute` is one transaction.

Nothing here blocks; `connector` opens the connection, in a thread.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any, Callable, Deque, Iterable, Mapping, Sequence

from attrs import define, field, frozen
from psycopg import OperationalError, pq
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ...core.transactions import Row
from . import types
from .errors import DatabaseConnectionLost, StatementFailed
from .statements import PreparedStatement

WARNING_STATE = "01000"  # SQLSTATE of a warning of no other kind


@frozen
class StatementCall:
    """A prepared statement and its parameters by name."""

    statement: PreparedStatement
    params: Mapping[str, object] = field(factory=dict, repr=False)


@frozen
class StatementResult:
    """What one statement gave."""

    rows: tuple[Row, ...] = field(repr=False)
    affected: int  # rows that a change touched
    command_tag: str  # e.g. "COMMIT"; a COMMIT of a failed transaction gives "ROLLBACK"


@define(eq=False, repr=False)
class _PendingExecution:
    """An `execute` that was sent and is not wholly answered."""

    sent_at: float  # the clock's seconds
    statements: Sequence[PreparedStatement]  # none while the session is set up
    completed: Deferred[list[StatementResult]] = field(factory=Deferred)
    results: list[StatementResult] = field(factory=list)
    failure: StatementFailed | None = None


@implementer(IReadWriteDescriptor)
@define(eq=False, repr=False)
class PostgresConnection:
    """An open connection; it ends with `abort`, or when it is lost."""

    _connection: pq.abc.PGconn
    _reactor: Any  # IReactorFDSet, IReactorTime
    _answer_timeout: float  # seconds for a result; a connection that gives none is aborted
    _on_lost: Callable[[PostgresConnection], object] = lambda connection: None
    _on_notify: Callable[[], object] = lambda: None  # called when another session has sent NOTIFY
    is_lost: bool = False
    _is_warned: bool = False  # since the last result
    _pending: Deque[_PendingExecution] = field(factory=deque)

    # A duplicate descriptor of the socket: libpq closes its own when the connection breaks, and another file may have
    # that number by the time the reactor notices.
    _fd: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._fd = os.dup(self._connection.socket)
        self._connection.nonblocking = 1
        self._connection.enter_pipeline_mode()
        self._connection.notice_handler = self._handle_notice
        self._reactor.addReader(self)

    def __len__(self) -> int:
        """How many `execute`s are in flight."""
        return len(self._pending)

    @property
    def oldest_pending_since(self) -> float | None:
        """When the oldest unanswered `execute` was made."""
        return self._pending[0].sent_at if self._pending else None

    def execute(self, calls: Sequence[StatementCall]) -> Deferred[list[StatementResult]]:
        """The results of `calls`, in order.  Fails with `StatementFailed`, `DatabaseConnectionLost`, or what encoding a parameter raises."""
        try:
            texts = [
                [types.encode_parameter(call.params[name]) for name in call.statement.parameter_names]
                for call in calls
            ]
        except Exception:
            return fail(Failure())
        return self._send([call.statement for call in calls], lambda: self._send_calls(calls, texts))

    def prepare(self, statements: Iterable[PreparedStatement]) -> Deferred[list[StatementResult]]:
        """Prepare `statements` in this session, so that they can be executed."""

        def send() -> None:
            for statement in statements:
                self._connection.send_prepare(statement.name.encode(), statement.text)

        return self._send([], send)

    def execute_plain(self, commands: Iterable[bytes]) -> Deferred[list[StatementResult]]:
        """Execute `commands`, SQL without parameters."""

        def send() -> None:
            for command in commands:
                self._connection.send_query_params(command, None)

        return self._send([], send)

    def check_timeout(self) -> None:
        """Abort if the oldest `execute` has waited too long for its result."""
        since = self.oldest_pending_since
        if since is not None and self._reactor.seconds() - since > self._answer_timeout:
            self.abort("The database gives no answer")

    def abort(self, why: str = "closed") -> None:
        """Close the connection now; `execute`s in flight fail with `DatabaseConnectionLost`."""
        if self.is_lost:
            return
        self.is_lost = True
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        os.close(self._fd)
        self._connection.finish()
        self._on_lost(self)
        while self._pending:
            self._pending.popleft().completed.errback(DatabaseConnectionLost(why))

    # The reactor calls these.

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "postgresql"

    def connectionLost(self, reason: Failure) -> None:
        self.abort("The connection was lost")

    def doRead(self) -> None:
        try:
            self._connection.consume_input()
            self._read_results()
            while (notice := self._connection.notifies()) is not None:
                if notice.be_pid != self._connection.backend_pid:  # our own writer calls its listeners itself
                    self._on_notify()
        except OperationalError:
            self.abort("The connection was lost")

    def doWrite(self) -> None:
        try:
            if not self._connection.flush():
                self._reactor.removeWriter(self)
        except OperationalError:
            self.abort("The connection was lost")

    # Internals.

    def _send(
        self, statements: Sequence[PreparedStatement], send: Callable[[], None]
    ) -> Deferred[list[StatementResult]]:
        pending = _PendingExecution(self._reactor.seconds(), statements)
        if self.is_lost:
            pending.completed.errback(DatabaseConnectionLost("closed"))
            return pending.completed
        self._pending.append(pending)
        try:
            send()
            self._connection.pipeline_sync()
            if self._connection.flush():
                self._reactor.addWriter(self)
        except OperationalError:
            self.abort("The connection was lost")
        return pending.completed

    def _send_calls(self, calls: Sequence[StatementCall], texts: Sequence[Sequence[bytes | None]]) -> None:
        for call, text in zip(calls, texts):
            self._connection.send_query_prepared(call.statement.name.encode(), text)

    def _read_results(self) -> None:
        """Each statement gives its result and then None; a Sync gives one result of its own."""
        while self._pending and not self._connection.is_busy():
            result = self._connection.get_result()
            if result is not None:
                self._handle_result(self._pending[0], result)

    def _handle_result(self, pending: _PendingExecution, result: pq.abc.PGresult) -> None:
        match result.status:
            case pq.ExecStatus.PIPELINE_SYNC:
                self._pending.popleft()
                if pending.failure is None:
                    pending.completed.callback(pending.results)
                else:
                    pending.completed.errback(pending.failure)
            case pq.ExecStatus.TUPLES_OK | pq.ExecStatus.COMMAND_OK:
                statement = pending.statements[len(pending.results)] if pending.statements else None
                pending.results.append(_decode_result(statement, result))
                if self._is_warned:
                    self._check_warned_result(pending.results[-1])
            case pq.ExecStatus.PIPELINE_ABORTED:
                pass
            case _:
                self._handle_error(pending, result)

    def _handle_error(self, pending: _PendingExecution, result: pq.abc.PGresult) -> None:
        message = _error_field(result, pq.DiagnosticField.MESSAGE_PRIMARY) or str(result.error_message)
        if _error_field(result, pq.DiagnosticField.SEVERITY_NONLOCALIZED) != "ERROR":
            # FATAL or PANIC: the server ends the session, maybe in the middle of a COMMIT that it keeps.
            self.abort(message)
            return
        sqlstate = _error_field(result, pq.DiagnosticField.SQLSTATE)
        pending.failure = StatementFailed(sqlstate, message, [result.affected for result in pending.results])

    def _handle_notice(self, notice: pq.abc.PGresult) -> None:
        if _error_field(notice, pq.DiagnosticField.SQLSTATE) == WARNING_STATE:
            self._is_warned = True

    def _check_warned_result(self, result: StatementResult) -> None:
        """A COMMIT that was told not to wait for its standby any more warns of that, and succeeds: it is no answer."""
        self._is_warned = False
        if result.command_tag == "COMMIT":
            self.abort("A COMMIT did not wait for its standby")


def _error_field(result: pq.abc.PGresult, name: pq.DiagnosticField) -> str:
    return (result.error_field(name) or b"").decode(errors="replace").strip()


def _decode_result(statement: PreparedStatement | None, result: pq.abc.PGresult) -> StatementResult:
    command = (result.command_status or b"").decode()
    if statement is None or result.status == pq.ExecStatus.COMMAND_OK:
        return StatementResult((), result.command_tuples or 0, command)
    columns = statement.columns
    if columns is None:
        columns = statement.columns = tuple(
            ((result.fname(n) or b"").decode(), types.decoder_for(result.ftype(n)))
            for n in range(result.nfields)
        )
    get = result.get_value
    rows = tuple(
        {
            name: None if (value := get(number, index)) is None else decode(value)
            for index, (name, decode) in enumerate(columns)
        }
        for number in range(result.ntuples)
    )
    return StatementResult(rows, len(rows), command)
