"""Flow control towards a slow reader of an event stream: wait until its transport accepts more."""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ...base.waiters import Waiters


@implementer(IPushProducer)
@define(eq=False, repr=False)
class FlowControl:
    """To be registered with the transport as its producer; await `wait_until_writable` before each write."""

    is_writable: bool = True
    _waiters: Waiters[None] = Factory(Waiters)

    async def wait_until_writable(self) -> None:
        while not self.is_writable:  # another waiter may have filled the transport again
            await self._waiters.wait()

    def pauseProducing(self) -> None:
        self.is_writable = False

    def resumeProducing(self) -> None:
        self.is_writable = True
        self._waiters.release(None)

    def stopProducing(self) -> None:
        """The connection is closed: release all waiters, which check for that themselves."""
        self.resumeProducing()
