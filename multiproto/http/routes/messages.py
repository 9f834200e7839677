"""Routes of messages: send, read, list and withdraw (docs/rest.md#messages)."""

from __future__ import annotations

from attrs import define

from ...core.domain.messages import Messages
from ...core.errors import ValidationError
from ..envelope import JsonResponse, page_response
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

    async def send(self, context: RequestContext) -> JsonResponse:
        message = await self._messages.send(
            context.identity, context.body_fields(), context.idempotency_key()
        )
        return JsonResponse(201, message.value.to_json(), message.cursor)

    async def list_page(self, context: RequestContext, **path_params: str) -> JsonResponse:
        """A page of messages; the parameters of the path override those of the query."""
        return page_response(
            await self._messages.page(context.identity, {**context.query_params(), **path_params})
        )

    async def get(self, context: RequestContext, id: str) -> JsonResponse:
        if id in ("user", "channel"):
            told = f"Must be a UUID: the messages of one {id} are at /messages/{id}/:{id}Id"
            raise ValidationError.for_field("id", told)
        message = await self._messages.read(context.identity, id)
        return JsonResponse(200, message.value.to_json(), message.cursor)

    async def withdraw(self, context: RequestContext, id: str) -> JsonResponse:
        await self._messages.delete(context.identity, id)
        return JsonResponse(204)
