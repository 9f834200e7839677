"""How a connection to PostgreSQL is opened: in a thread, and then set up on the reactor.

Name lookup and handshake take place in a thread, within `CONNECT_TIMEOUT`
seconds.  Everything after that is done through a `PostgresConnection`.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any, Callable, Sequence

from attrs import field, frozen
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from twisted.internet.threads import deferToThreadPool

from ...base.deadline import Deadline
from ...base.one_line import one_line
from .connection import PostgresConnection
from .errors import DatabaseConnectionLost, DatabaseUnreachable, StatementFailed
from .statements import PreparedStatement

CONNECT_TIMEOUT = 2  # seconds


@frozen
class PostgresConnector:
    """Opens connections whose sessions have the `session_settings` and have prepared all `statements`."""

    _conninfo: str = field(repr=False)
    _reactor: Any  # IReactorFDSet, IReactorTime, IReactorThreads
    _statements: Sequence[PreparedStatement]
    _session_settings: Sequence[bytes]  # commands of `session`
    _answer_timeout: float  # seconds that a result may take
    _on_notify: Callable[[], object] = lambda: None

    async def connect(self, on_lost: Callable[[PostgresConnection], object]) -> PostgresConnection:
        """A connection that is ready for use.  Raises `DatabaseUnreachable`."""
        threads = self._reactor.getThreadPool()
        opened = await deferToThreadPool(self._reactor, threads, connect_blocking, self._conninfo)
        connection = PostgresConnection(opened, self._reactor, self._answer_timeout, on_lost, self._on_notify)
        deadline = Deadline(self._reactor)
        deadline.set(self._answer_timeout, lambda: connection.abort("The database gives no answer"))
        try:
            await connection.execute_plain(self._session_settings)
            await connection.prepare(self._statements)
        except (StatementFailed, DatabaseConnectionLost) as error:
            connection.abort()
            raise DatabaseUnreachable(str(error)) from None
        finally:
            deadline.cancel()
        return connection


def connect_blocking(conninfo: str) -> pq.abc.PGconn:
    """Open a connection.  Blocks, but lets other threads run.  Raises `DatabaseUnreachable`."""
    try:
        connection = pq.PGconn.connect_start(with_resolved_hosts(conninfo).encode())
    except OSError as error:
        raise DatabaseUnreachable(str(error)) from error
    if not _wait_connected(connection, CONNECT_TIMEOUT):
        why = "no answer" if connection.status != pq.ConnStatus.BAD else connection.get_error_message()
        connection.finish()
        raise DatabaseUnreachable(one_line(why))
    return connection


def with_resolved_hosts(conninfo: str) -> str:
    """`conninfo` with the addresses of its hosts: libpq would look names up while it holds Python's lock."""
    wanted = conninfo_to_dict(conninfo, application_name="multiproto")
    if wanted.get("host") and not wanted.get("hostaddr"):
        port = str(wanted.get("port") or 5432)
        wanted["hostaddr"] = ",".join(_resolve_host(host, port) for host in str(wanted["host"]).split(","))
    return make_conninfo("", **wanted)


def _resolve_host(host: str, port: str) -> str:
    """The address of one host; "" for a directory with a Unix socket."""
    if not host or host.startswith(("/", "@")):
        return ""
    found = socket.getaddrinfo(host, port.split(",")[0], type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def _wait_connected(connection: pq.abc.PGconn, timeout: float) -> bool:
    """Whether the handshake is complete within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (state := connection.connect_poll()) != pq.PollingStatus.OK:
        left = deadline - time.monotonic()
        if state == pq.PollingStatus.FAILED or left <= 0:
            return False
        ready = select.poll()
        ready.register(
            connection.socket, select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT
        )
        ready.poll(left * 1000)
    return True
