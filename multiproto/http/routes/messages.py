"""Routes of messages: sent, read, listed and withdrawn (docs/rest.md#messages)."""

from __future__ import annotations

from attrs import define

from ...core.domain.messages import Messages
from ...core.model import Message, PageOf
from ..envelope import JsonResponse
from ..route import Auth, RequestContext, Route


@define(eq=False, repr=False)
class MessageRoutes:
    _messages: Messages

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/messages", self.send, auth=Auth.LOGIN),
            Route("GET", "/messages", self.list_page, auth=Auth.LOGIN),
            Route("GET", "/messages/user/:userId", self.list_page, auth=Auth.LOGIN),
            Route("GET", "/messages/channel/:channelId", self.list_page, auth=Auth.LOGIN),
            Route("GET", "/messages/:id", self.get, auth=Auth.LOGIN),
            Route("DELETE", "/messages/:id", self.withdraw, auth=Auth.LOGIN),
        ]

    async def send(self, call: RequestContext) -> JsonResponse:
        kept = await self._messages.send(call.identity, call.body_fields(), call.header("idempotency-key"))
        return JsonResponse(201, kept.value.to_json(), kept.cursor)

    async def list_page(self, call: RequestContext, **of: str) -> JsonResponse:
        """A list; what the path says of it goes before the query."""
        return _page_response(await self._messages.page(call.identity, {**call.query_params(), **of}))

    async def get(self, call: RequestContext, id: str) -> JsonResponse:
        kept = await self._messages.read(call.identity, id)
        return JsonResponse(200, kept.value.to_json(), kept.cursor)

    async def withdraw(self, call: RequestContext, id: str) -> JsonResponse:
        await self._messages.delete(call.identity, id)
        return JsonResponse(204)


def _page_response(page: PageOf[Message]) -> JsonResponse:
    shown = {"data": [message.to_json() for message in page.items], "pagination": page.pagination()}
    return JsonResponse(200, shown, page.cursor)
