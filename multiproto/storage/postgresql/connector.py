"""How a connection to PostgreSQL is opened: in a thread, and then set up on the reactor.

Name lookups and handshakes take place in a thread, with each server of the
address in turn.  Everything after that is done through a `PostgresConnection`.
"""

from __future__ import annotations

import select
import time
from threading import Thread
from typing import Any, Callable, Sequence

from attrs import define, field, frozen
from psycopg import pq
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...base.deadline import Deadline
from ...base.one_line import one_line
from .connection import PostgresConnection
from .errors import DatabaseConnectionLost, DatabaseUnreachable, StatementFailed
from .servers import ConnectionAttempt, NameResolver, connection_attempts
from .statements import PreparedStatement


@frozen
class OpenedConnection:
    """A connection whose handshake is complete."""

    connection: pq.abc.PGconn
    address: str  # of its server, for people
    failures: Sequence[str]  # why those before it in the connection string would not do


@define(eq=False, repr=False)
class PostgresConnector:
    """Opens connections whose sessions have the `session_settings` and have prepared all `statements`."""

    _conninfo: str = field(repr=False)
    _reactor: Any  # IReactorFDSet, IReactorTime, IReactorThreads
    _statements: Sequence[PreparedStatement]
    _session_settings: Sequence[bytes]  # commands of `session`
    _answer_timeout: float  # seconds that a result may take
    _on_notify: Callable[[], object] = lambda: None
    _resolver: NameResolver = field(factory=NameResolver, init=False)
    _known_failures: Sequence[str] = field(default=(), init=False)  # of other servers, as last logged

    _log = Logger()

    async def connect(self, on_lost: Callable[[PostgresConnection], object]) -> PostgresConnection:
        """A connection that is ready for use.  Raises `DatabaseUnreachable`."""
        opened = await self._open_in_thread()
        self._log_failures(opened)
        connection = PostgresConnection(
            opened.connection, self._reactor, self._answer_timeout, on_lost, self._on_notify
        )
        deadline = Deadline(self._reactor)
        deadline.set(self._answer_timeout, lambda: connection.abort("The database gives no answer"))
        try:
            await connection.execute_plain(self._session_settings)
            await connection.prepare(self._statements)
        except (StatementFailed, DatabaseConnectionLost) as error:
            connection.abort()
            raise DatabaseUnreachable(str(error)) from None
        except CancelledError:
            connection.abort()
            raise
        finally:
            deadline.cancel()
        return connection

    def _open_in_thread(self) -> Deferred[OpenedConnection]:
        """A connection, opened in a thread of its own: neither a stop nor the process's end waits for one."""
        opened: Deferred[OpenedConnection] = Deferred(lambda cancelled: None)

        def deliver(outcome: OpenedConnection | Failure) -> None:
            if not opened.called:
                opened.callback(outcome)  # type: ignore[arg-type]  # a failure is taken for one
            elif isinstance(outcome, OpenedConnection):
                outcome.connection.finish()

        def work() -> None:
            try:
                outcome: OpenedConnection | Failure = connect_blocking(self._conninfo, self._resolver)
            except Exception:
                outcome = Failure()
            self._reactor.callFromThread(deliver, outcome)

        Thread(target=work, name="connecting", daemon=True).start()
        return opened

    def _log_failures(self, opened: OpenedConnection) -> None:
        """Say which servers were passed over, unless it is as before."""
        if opened.failures and opened.failures != self._known_failures:
            why = "; ".join(opened.failures)
            self._log.warn("connected to {address}, since {why}", address=opened.address, why=why)
        self._known_failures = opened.failures


def connect_blocking(conninfo: str, resolver: NameResolver) -> OpenedConnection:
    """Open a connection to the first server that will do.  Blocks, but lets other threads run.

    Raises `DatabaseUnreachable`, or `psycopg.ProgrammingError` for a string that libpq can't read.
    """
    failures: list[str] = []
    for attempt in connection_attempts(conninfo, resolver):
        if isinstance(attempt, ConnectionAttempt):
            connection = pq.PGconn.connect_start(attempt.conninfo.encode())
            if _wait_connected(connection, attempt.timeout):
                return OpenedConnection(connection, attempt.address, failures)
            failures.append(_explain_failure(connection, attempt))
            connection.finish()
        else:
            failures.append(str(attempt))
    raise DatabaseUnreachable("; ".join(dict.fromkeys(failures)))


def _explain_failure(connection: pq.abc.PGconn, attempt: ConnectionAttempt) -> str:
    """Why `connection` did not come about, in libpq's words, which begin with the address."""
    if connection.status != pq.ConnStatus.BAD:
        return f"connection to {attempt.address} failed: no answer within {attempt.timeout:.0f} s"
    return one_line(connection.get_error_message())


def _wait_connected(connection: pq.abc.PGconn, timeout: float) -> bool:
    """Whether the handshake is complete within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    # Asked before the socket is connected, libpq would write to it and wait for that, without an end.
    state: int = pq.PollingStatus.WRITING
    while connection.status != pq.ConnStatus.BAD and (left := deadline - time.monotonic()) > 0:
        ready = select.poll()
        ready.register(
            connection.socket, select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT
        )
        if ready.poll(left * 1000):
            state = connection.connect_poll()
            if state == pq.PollingStatus.OK:
                return True
    return False
