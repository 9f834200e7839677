"""The broker of a single process: passes live publications to its own dispatcher."""

from __future__ import annotations

from attrs import define

from ..core.pubsub.dispatcher import Dispatcher
from ..core.transactions import Publication


@define(eq=False, repr=False)
class MemoryBroker:
    """Delivers in order, in the publisher's turn of the reactor or right after it."""

    _dispatcher: Dispatcher
    scope: str | None = None  # "instance" where there may be others

    async def publish(self, publication: Publication) -> None:
        delivered = self._dispatcher.dispatch_live(publication)
        if delivered is not None:
            await delivered
