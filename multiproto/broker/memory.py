"""The live lane within one process."""

from __future__ import annotations

from attrs import define

from ..core.pubsub.dispatcher import Dispatcher
from ..core.transactions import Publication


@define(eq=False, repr=False)
class MemoryBroker:
    """Delivers in order, in the publisher's turn of the reactor or right behind it."""

    _dispatcher: Dispatcher
    scope: str | None = None  # "instance" where there may be others

    async def publish(self, publication: Publication) -> None:
        told = self._dispatcher.dispatch_live(publication)
        if told is not None:
            await told
