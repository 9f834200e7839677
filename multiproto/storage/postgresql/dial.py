"""How a connection to PostgreSQL comes about: made in a thread, set up on the reactor.

Names are looked up and hands are shaken in a thread, within `CONNECT_WITHIN`
seconds.  Everything after that is a `Line`'s.
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

from .line import Failed, Line, Lost
from .statements import Statement

CONNECT_WITHIN = 2  # seconds

EVERY_SESSION = (
    b"SET client_encoding = 'UTF8'",
    b"SET timezone = 'UTC'",
    b"SET datestyle = 'ISO'",
    b"SET client_min_messages = 'error'",
)


class Away(Exception):
    """No connection is to be had now; the text says why."""


@frozen
class Dialer:
    """Makes lines whose sessions know all `statements` and have `settings`."""

    _conninfo: str = field(repr=False)
    _reactor: Any  # IReactorFDSet, IReactorTime, IReactorThreads
    _statements: Sequence[Statement]
    _settings: Sequence[bytes]
    _patience: float  # seconds that a line may owe an answer
    _on_notify: Callable[[], object] = lambda: None

    async def dial(self, on_lost: Callable[[Line], object]) -> Line:
        """Raises `Away`."""
        threads = self._reactor.getThreadPool()
        connection = await deferToThreadPool(self._reactor, threads, connect, self._conninfo)
        line = Line(connection, self._reactor, self._patience, on_lost, self._on_notify)
        watch = self._reactor.callLater(self._patience, line.cut, "The database gives no answer")
        try:
            await line.set_up([*EVERY_SESSION, *self._settings])
            await line.prepare(self._statements)
        except (Failed, Lost) as error:
            line.cut()
            raise Away(str(error)) from None
        finally:
            if watch.active():
                watch.cancel()
        return line


def connect(conninfo: str) -> pq.abc.PGconn:
    """Blocks, but lets other threads run.  Raises `Away`."""
    try:
        connection = pq.PGconn.connect_start(resolved(conninfo).encode())
    except OSError as error:
        raise Away(str(error)) from error
    if not _finished(connection, CONNECT_WITHIN):
        why = "no answer" if connection.status != pq.ConnStatus.BAD else connection.get_error_message()
        connection.finish()
        raise Away(" ".join(why.split()))
    return connection


def resolved(conninfo: str) -> str:
    """`conninfo` with the addresses of its hosts: libpq would look names up while it keeps all of Python waiting."""
    wanted = conninfo_to_dict(conninfo, application_name="multiproto")
    if wanted.get("host") and not wanted.get("hostaddr"):
        port = str(wanted.get("port") or 5432)
        wanted["hostaddr"] = ",".join(_address(host, port) for host in str(wanted["host"]).split(","))
    return make_conninfo("", **wanted)


def _address(host: str, port: str) -> str:
    """Of one host; none for a directory with a socket."""
    if not host or host.startswith(("/", "@")):
        return ""
    found = socket.getaddrinfo(host, port.split(",")[0], type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def _finished(connection: pq.abc.PGconn, within: float) -> bool:
    """Whether the handshake has led to a connection within so many seconds."""
    deadline = time.monotonic() + within
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
