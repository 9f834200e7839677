"""File descriptors: as many as the system allows, and a reserve of them that connections can't use up.

A process without descriptors can't open its database's files or rotate its log, and says
nothing.  So new connections are closed at once before it comes to that, with a line in the log.
"""

from __future__ import annotations

import errno
import resource
import socket
from typing import Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory

from .accepting import LOG_INTERVAL, describe_shortage

MAX_RESERVE = 128  # descriptors for the database, Redis, files and the metrics port; at most a third of all
MAX_DESCRIPTORS = 2**20  # asked for where the system has no limit


@frozen
class DescriptorLimit:
    count: int  # descriptors that this process may have open
    initial: int  # what it was started with

    @property
    def reserve(self) -> int:
        """How many of them are not for the connections of clients."""
        return min(MAX_RESERVE, self.count // 3)


def raise_descriptor_limit() -> DescriptorLimit:
    """Raise the soft limit of this process to the hard one, as any process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return DescriptorLimit(min(wanted, MAX_DESCRIPTORS) if soft == resource.RLIM_INFINITY else soft, soft)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a system with a further limit, as macOS
        wanted = soft
    return DescriptorLimit(wanted, soft)


@define(eq=False, repr=False)
class DescriptorReserve:
    """Decides for each new connection whether there are descriptors enough for it."""

    limit: DescriptorLimit
    _clock: IReactorTime
    _on_rejected: Callable[[], object] = lambda: None  # called for each connection that is turned away
    _rejected: int = field(default=0, init=False)  # since the last line in the log
    _logged_at: float | None = field(default=None, init=False)

    _log = Logger()

    def log_limit(self) -> None:
        self._log.info(
            "file descriptors: {count} ({initial} at the start), {reserve} of them not for connections",
            count=self.limit.count,
            initial=self.limit.initial,
            reserve=self.limit.reserve,
        )

    def guard(self, factory: IProtocolFactory) -> IProtocolFactory:
        """`factory`, whose connections are closed at once while descriptors are short."""
        return _GuardedFactory(factory, self)

    def admit(self) -> bool:
        """Whether a connection that was accepted may stay."""
        try:
            if lowest_free_descriptor() < self.limit.count - self.limit.reserve:
                return True
            shortage = errno.EMFILE
        except OSError as error:
            shortage = error.errno or 0
        self._on_rejected()
        self._rejected += 1
        now = self._clock.seconds()
        if self._logged_at is None or now - self._logged_at >= LOG_INTERVAL:
            self._log.warn(
                "file descriptors are used up: {rejected} connections turned away; of {count}, {reserve} are kept "
                "for everything else; allow more or fewer connections of one address: {why}",
                rejected=self._rejected,
                count=self.limit.count,
                reserve=self.limit.reserve,
                why=describe_shortage(shortage),
            )
            self._rejected, self._logged_at = 0, now
        return False


class _GuardedFactory(WrappingFactory):
    noisy = False

    def __init__(self, factory: IProtocolFactory, reserve: DescriptorReserve) -> None:
        super().__init__(factory)
        self._reserve = reserve

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        """`None` closes the connection."""
        if not self._reserve.admit():
            return None
        built: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return built


def lowest_free_descriptor() -> int:
    """All below it are open: the system gives out the lowest that is free.  Raises `OSError` where there is none.

    A socket needs no path, which a file would; it costs some 3 µs.
    """
    with socket.socket() as probe:
        return probe.fileno()
