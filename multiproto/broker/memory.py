"""The live lane within one process."""

from __future__ import annotations

from attrs import define

from ..core.audience import Audience
from ..core.ports import Publication


@define(eq=False, repr=False)
class MemoryBroker:
    """Delivers in order, in the publisher's turn of the reactor or right behind it."""

    _audience: Audience
    scope: str | None = None  # "instance" where there may be others

    async def publish(self, publication: Publication) -> None:
        told = self._audience.tell(publication)
        if told is not None:
            await told
