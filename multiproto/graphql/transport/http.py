"""`/graphql` over HTTP: POST and GET, event streams, the door to the socket, the page for a browser."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource
from zope.interface import implementer

from ...base.coroutines import start_eagerly
from ...core.errors import Refusal, TooLarge
from ...core.ports import Authenticator
from ..execution.context import Caller, authenticate_caller
from ..execution.errors import RequestError, format_refusal
from ..execution.execute import OperationExecutor
from ..execution.request import BadGraphQLRequest, GraphQLRequest
from ..execution.subscriptions import Payload
from .http_response import GraphQLHttpRequest, GraphQLHttpResponse, header_text
from .negotiation import (
    EVENT_STREAM_TYPE,
    GRAPHQL_RESPONSE_TYPE,
    HTML_TYPE,
    is_json_content_type,
    parse_body,
    parse_query_string,
)
from .playground import CONTENT_SECURITY_POLICY, Playground

MAX_BODY_SIZE = 2**20  # bytes (docs/graphql.md#requests-over-http)
EVENT_STREAM_REQUIRED = "Subscriptions need Accept: text/event-stream, or graphql-transport-ws"


class GraphQLMethodNotAllowed(BadGraphQLRequest):
    """This operation does not go with this method."""

    status = 405


class NotAcceptable(BadGraphQLRequest):
    status = 406


class UnsupportedContentType(BadGraphQLRequest):
    status = 415


@implementer(IResource)
@define(eq=False, repr=False)
class GraphQLResource:
    _operation_executor: OperationExecutor
    _request_authenticator: Authenticator
    _clock: IReactorTime
    _max_batch: int  # requests in one array
    _websocket: IResource
    _playground: Playground | None
    isLeaf: bool = True
    server: Any = None  # twisted.web sets it on what it serves

    _log = Logger()

    # twisted.web calls these.

    def render(self, request: server.Request) -> int | bytes:
        if (request.getHeader("upgrade") or "").lower() == "websocket":
            answer: int | bytes = self._websocket.render(request)
            return answer
        exchange = GraphQLHttpResponse(request)
        start_eagerly(self._handle_request(exchange), partial(self._on_failure, exchange))
        return server.NOT_DONE_YET

    def _parse_body(self, content_type: str | None, body: bytes) -> GraphQLRequest | list[GraphQLRequest]:
        """Raises `UnsupportedContentType`, `TooLarge`, `BadGraphQLRequest`."""
        if not is_json_content_type(content_type):
            raise UnsupportedContentType("The body must be application/json in UTF-8")
        if len(body) > MAX_BODY_SIZE:
            raise TooLarge(f"A body has at most {MAX_BODY_SIZE} bytes")
        return parse_body(body, self._max_batch)

    def getChildWithDefault(self, name: bytes, request: server.Request) -> IResource:
        raise AssertionError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise AssertionError("a leaf has no children")

    # Answers.

    async def _handle_request(self, exchange: GraphQLHttpResponse) -> None:
        request = exchange.request
        try:
            if self._serve_playground(exchange):
                return
            asked = self._parse_request(request)
            header, agent = header_text(request, b"authorization"), header_text(request, b"user-agent")
            caller = await authenticate_caller(
                self._request_authenticator, header, request.client_address, agent or ""
            )
            if isinstance(asked, list):
                exchange.send_json(
                    200, [await self._execute_batch_member(member, caller) for member in asked]
                )
            else:
                await self._execute_single(exchange, asked, caller)
        except Refusal as refusal:
            exchange.send_errors(refusal.status, [format_refusal(refusal)])

    def _serve_playground(self, exchange: GraphQLHttpResponse) -> bool:
        request = exchange.request
        if self._playground is None or request.method not in (b"GET", b"HEAD") or b"query" in request.args:
            return False
        name = request.postpath[-1] if request.postpath else b""
        found = self._playground.get_file(name, HTML_TYPE in exchange.accepted_types)
        if found is not None:
            request.setHeader("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            exchange.send(200, *found)
        return found is not None

    def _parse_request(self, request: GraphQLHttpRequest) -> GraphQLRequest | list[GraphQLRequest]:
        """Raises `BadGraphQLRequest`, `TooLarge`."""
        if request.method in (b"GET", b"HEAD"):
            return parse_query_string(request.args)
        if request.method != b"POST":
            request.setHeader("Allow", "GET, HEAD, POST")
            raise GraphQLMethodNotAllowed("Use GET or POST")
        return self._parse_body(header_text(request, b"content-type"), request.body)

    async def _execute_single(
        self, exchange: GraphQLHttpResponse, asked: GraphQLRequest, caller: Caller
    ) -> None:
        try:
            operation = self._operation_executor.prepare(asked)
        except RequestError as declined:
            return self._send_request_error(exchange, declined)
        if operation.kind == "mutation" and exchange.request.method != b"POST":
            exchange.request.setHeader("Allow", "POST")
            raise GraphQLMethodNotAllowed("Mutations need POST")
        if operation.kind != "subscription":
            payload = await self._operation_executor.execute(operation, caller)
            if exchange.media_type == EVENT_STREAM_TYPE:
                return exchange.send_single_event(payload)
            return exchange.send_json(200, payload)
        if EVENT_STREAM_TYPE not in exchange.accepted_types:
            raise NotAcceptable(EVENT_STREAM_REQUIRED)
        try:
            stream = await self._operation_executor.subscribe(operation, caller)
        except RequestError as declined:
            return exchange.send_single_event({"errors": declined.errors})
        await exchange.send_stream(stream)

    def _send_request_error(self, exchange: GraphQLHttpResponse, declined: RequestError) -> None:
        """What was no good before it was executed; graphql-sse: an event source can't read a 400."""
        if exchange.media_type == EVENT_STREAM_TYPE:
            exchange.send_single_event({"errors": declined.errors})
        else:
            exchange.send_errors(
                400 if exchange.media_type == GRAPHQL_RESPONSE_TYPE else 200, declined.errors
            )

    async def _execute_batch_member(self, asked: GraphQLRequest, caller: Caller) -> Payload:
        """One of a batch; each in a turn of its own, for checking a document may take a while."""
        await deferLater(self._clock, 0)
        try:
            operation = self._operation_executor.prepare(asked)
            if operation.kind == "subscription":
                raise BadGraphQLRequest("A batch can't hold subscriptions")
            return await self._operation_executor.execute(operation, caller)
        except RequestError as declined:
            return {"errors": declined.errors}
        except BadGraphQLRequest as refusal:
            return {"errors": [format_refusal(refusal)]}

    def _on_failure(self, exchange: GraphQLHttpResponse, failure: Failure) -> None:
        self._log.failure("a GraphQL request broke", failure=failure)
        exchange.send_internal_error()
