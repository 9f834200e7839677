"""Twisted's epoll reactor with less around each event, and no more of them than a turn has time for.

Stock epoll takes all that is ready at once: a thousand packets, or a thousand
connections that end, hold up every timer and every answer until the last one.
And it calls each through four functions that note for Twisted's older log whose
event it is, which ours does not show.

Bought, in CPU of an answer to a PING over TCP: 25.6 to 21.5 µs; the longest turn
while 1,000 clients come or go (docs/decisions/023-reactor.md).
"""

from __future__ import annotations

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

MAX_EVENTS_PER_TURN = 100  # events in a turn, of some 0.1 ms each at worst


class BoundedEpollReactor(EPollReactor):
    _log = Logger()

    def doPoll(self, timeout: float | None) -> None:
        """Those that are ready and find no room are the first of the next turn: epoll tells of them in order."""
        for fd, event in self._poller.poll(-1 if timeout is None else timeout, MAX_EVENTS_PER_TURN):
            selectable = self._selectables.get(fd)
            if selectable is None:
                continue  # one before has closed it
            try:
                self._doReadOrWrite(selectable, fd, event)
            except Exception:
                self._log.failure("the end of a connection broke")

    doIteration = doPoll


def install() -> None:
    installReactor(BoundedEpollReactor())
