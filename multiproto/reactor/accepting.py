"""Ports that the system gives no connection, for descriptors or memory are short: they wait, and say so once a minute.

The connections stay in the backlog meanwhile, so their port is ready to be read again at once.  Stock Twisted
therefore tries again in each turn of the reactor, with a line in the log each time.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.tcp import Port
from twisted.logger import Logger

PAUSE = 1.0  # seconds without accepting; as asyncio and Go have it
LOG_INTERVAL = 60.0  # seconds between two lines
# What is short, and for whom, by the error that says so; the port waits.
SHORTAGES = {
    errno.EMFILE: "this process may open no more files (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "the whole system may open no more files (sysctl fs.file-nr, fs.file-max)",
    errno.ENOBUFS: "the system has no memory for more sockets",
    errno.ENOMEM: "the system has no memory for more sockets",
}
# Errors of the next connection alone, which is gone then: it was aborted, a firewall forbids it, or its network is
# away (accept(2)).  Whoever could make a port wait by them would keep others out.
CONNECTION_ERRORS = {
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.EPERM,
    errno.EPROTO,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENONET,
    errno.ETIMEDOUT,
}
MAX_IN_A_ROW = 1_000  # of these, before the port waits all the same: something forbids all connections


@define(eq=False, repr=False)
class AcceptFailures:
    """Counts and logs why ports could not accept a connection; one for all ports of a process."""

    _clock: IReactorTime
    _on_failure: Callable[[], object] = lambda: None  # called for each
    _failed: int = field(default=0, init=False)  # since the last line in the log
    _logged_at: float | None = field(default=None, init=False)

    _log = Logger()

    def guard(self, port: object) -> None:
        """Let `port`, which is open, wait for `PAUSE` seconds when it can't accept, if it is one of Twisted's on TCP."""
        if isinstance(port, Port):
            port.socket = _GuardedSocket(port, self)
            port.fileno = port.socket.fileno  # type: ignore[method-assign]  # as Twisted does

    def record(self, error: OSError) -> None:
        self._on_failure()
        self._failed += 1
        now = self._clock.seconds()
        if self._logged_at is None or now - self._logged_at >= LOG_INTERVAL:
            self._log.warn(
                "connections can't be accepted: {why}; {failed} attempts failed since this was last said",
                why=describe_shortage(error.errno or 0),
                failed=self._failed,
            )
            self._failed, self._logged_at = 0, now

    def pause(self, port: Port) -> None:
        port.stopReading()
        self._clock.callLater(PAUSE, _resume, port)


class _GuardedSocket(socket.socket):
    """The listening socket of a port."""

    def __init__(self, port: Port, failures: AcceptFailures) -> None:
        super().__init__(fileno=port.socket.detach())
        self.setblocking(False)
        self._port, self._failures, self._lost = port, failures, 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises `BlockingIOError`, which ends this turn of the port without a word, for all that is wrong."""
        try:
            accepted = super().accept()
        except BlockingIOError:
            raise
        except OSError as error:
            self._lost += 1
            self._failures.record(error)
            if error.errno not in CONNECTION_ERRORS or self._lost >= MAX_IN_A_ROW:
                self._failures.pause(self._port)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
        self._lost = 0
        return accepted


def describe_shortage(number: int) -> str:
    """What is short where the system gives the error `number`, and where more is allowed."""
    return SHORTAGES.get(number) or os.strerror(number)


def _resume(port: Port) -> None:
    if port.connected and not port.disconnecting:
        port.startReading()
