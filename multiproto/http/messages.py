"""Routes of messages: sent, read, listed and withdrawn (contract, section 2)."""

from __future__ import annotations

from attrs import define

from ..core.messages import Messages
from ..core.model import Message, PageOf
from .answers import Answer
from .call import Call, Route


@define(eq=False, repr=False)
class MessageRoutes:
    _messages: Messages

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/messages", self.send),
            Route("GET", "/messages", self.page),
            Route("GET", "/messages/user/:userId", self.page),
            Route("GET", "/messages/channel/:channelId", self.page),
            Route("GET", "/messages/:id", self.read),
            Route("DELETE", "/messages/:id", self.withdraw),
        ]

    async def send(self, call: Call) -> Answer:
        kept = await self._messages.send(await call.identity(), call.fields(), call.header("idempotency-key"))
        return Answer(201, kept.value.public(), kept.cursor)

    async def page(self, call: Call, **of: str) -> Answer:
        """A list; what the path says of it goes before the query."""
        who = await call.identity()
        return _listed(await self._messages.page(who, {**call.query(), **of}))

    async def read(self, call: Call, id: str) -> Answer:
        kept = await self._messages.read(await call.identity(), id)
        return Answer(200, kept.value.public(), kept.cursor)

    async def withdraw(self, call: Call, id: str) -> Answer:
        await self._messages.withdraw(await call.identity(), id)
        return Answer(204)


def _listed(page: PageOf[Message]) -> Answer:
    shown = {"data": [message.public() for message in page.items], "pagination": page.pagination()}
    return Answer(200, shown, page.cursor)
