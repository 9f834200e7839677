"""Waiting until a transport takes more: one answer to backpressure for streams and sockets."""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
@define(eq=False, repr=False)
class FlowControl:
    """A streaming producer of the transport, or told by one; `await opened()` before each write."""

    is_writable: bool = True
    _waiters: list[Deferred[None]] = Factory(list)

    async def wait_until_writable(self) -> None:
        while not self.is_writable:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter

    def pauseProducing(self) -> None:
        self.is_writable = False

    def resumeProducing(self) -> None:
        self.is_writable = True
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            waiter.callback(None)

    def stopProducing(self) -> None:
        """The connection is no more: whoever waits may look for themselves."""
        self.resumeProducing()
