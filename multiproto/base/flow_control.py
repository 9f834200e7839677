"""Flow control towards a client that reads slowly: wait until its transport accepts more, but not for ever."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

DRAIN_TIMEOUT = 30.0  # seconds that a client may leave unread what was written


@implementer(IPushProducer)
@define(eq=False, repr=False)
class FlowControl:
    """For one writer: register it with the transport as its producer, and await `wait_until_writable` before each write."""

    _clock: IReactorTime
    _abort: Callable[[], object]  # drops the connection
    _is_writable: bool = field(default=True, init=False)
    _drained: Deferred[None] | None = field(default=None, init=False)

    async def wait_until_writable(self) -> None:
        """Wait until the transport accepts more; abort the connection after `DRAIN_TIMEOUT`."""
        if self._is_writable:
            return
        timeout = self._clock.callLater(DRAIN_TIMEOUT, self._abort)
        self._drained = Deferred()
        try:
            await self._drained
        finally:
            self._drained = None
            if timeout.active():
                timeout.cancel()

    # The transport calls these.

    def pauseProducing(self) -> None:
        self._is_writable = False

    def resumeProducing(self) -> None:
        self._is_writable = True
        if self._drained is not None:
            self._drained.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost: release the writer, which checks for that itself."""
        self.resumeProducing()
