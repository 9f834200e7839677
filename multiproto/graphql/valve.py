"""Waiting until a transport takes more: one answer to backpressure for streams and sockets."""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
@define(eq=False, repr=False)
class Valve:
    """A streaming producer of the transport, or told by one; `await opened()` before each write."""

    is_open: bool = True
    _waiting: list[Deferred[None]] = Factory(list)

    async def opened(self) -> None:
        while not self.is_open:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter

    def pauseProducing(self) -> None:
        self.is_open = False

    def resumeProducing(self) -> None:
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def stopProducing(self) -> None:
        """The connection is no more: whoever waits may look for themselves."""
        self.resumeProducing()
