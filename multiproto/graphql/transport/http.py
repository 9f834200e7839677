"""`/graphql` over HTTP: POST and GET, event streams, the WebSocket upgrade, and the playground page."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource
from zope.interface import implementer

from ...base import strict_json
from ...base.coroutines import start_eagerly
from ...core.errors import Refusal, TooLarge
from ...core.ports import Authenticator
from ..execution.context import Caller, authenticate_caller
from ..execution.errors import RequestError, format_refusal
from ..execution.execute import OperationExecutor
from ..execution.request import BadGraphQLRequest, GraphQLRequest
from .http_response import GraphQLHttpRequest, GraphQLHttpResponse, header_text
from .negotiation import (
    DOCUMENT_TYPE,
    EVENT_STREAM_TYPE,
    GRAPHQL_RESPONSE_TYPE,
    HTML_TYPE,
    check_content_type,
    parse_body,
    parse_document,
    parse_query_string,
)
from .playground import CONTENT_SECURITY_POLICY, Playground

MAX_BODY_SIZE = 2**20  # bytes (docs/graphql.md#requests-over-http)
# Bytes of a body that may be a login: a larger one without a good token is counted before it is parsed.
MAX_LOGIN_SIZE = 4096
EVENT_STREAM_REQUIRED = "Subscriptions need Accept: text/event-stream, or graphql-transport-ws"


class GraphQLMethodNotAllowed(BadGraphQLRequest):
    """The operation is not allowed with this method."""

    status = 405


class NotAcceptable(BadGraphQLRequest):
    status = 406


class _ClientDisconnected(Exception):
    """The client of a request left while it waited for its turn: nothing is begun for it any more."""


@implementer(IResource)
@define(eq=False, repr=False)
class GraphQLResource:
    """The resource at `/graphql`."""

    _operation_executor: OperationExecutor
    _request_authenticator: Authenticator
    _clock: IReactorTime
    _max_batch: int  # requests in one array
    _websocket: IResource
    _playground: Playground | None
    isLeaf: bool = True
    counts_requests: bool = True  # by `GraphQLHttpRequest.count`: what a request is stands in its document
    server: Any = None  # twisted.web sets it on what it serves

    _log = Logger()

    # twisted.web calls these.

    def render(self, request: server.Request) -> int | bytes:
        """With other methods than GET, an Upgrade is ignored, as it may be (RFC 9110, 7.8)."""
        if request.method == b"GET" and request.wants_websocket_upgrade:
            result: int | bytes = self._websocket.render(request)
            return result
        response = GraphQLHttpResponse(request, self._clock)
        start_eagerly(self._handle_request(response), partial(self._on_failure, response))
        return server.NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: server.Request) -> IResource:
        raise AssertionError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise AssertionError("a leaf has no children")

    # Execution.

    async def _handle_request(self, response: GraphQLHttpResponse) -> None:
        request = response.request
        try:
            if await self._serve_playground(response):
                return
            header, agent = header_text(request, b"authorization"), header_text(request, b"user-agent")
            caller = await authenticate_caller(
                self._request_authenticator, header, request.client_address, agent or "", request.turn_key
            )
            if caller.identity is not None:
                await request.count(caller.identity.user_id)
            try:
                body = request.decoded_body()
                if caller.identity is None and len(body) > MAX_LOGIN_SIZE:
                    await request.count()
                parsed = self._parse_request(request, body)
            except Refusal:
                await request.count()
                raise
            if isinstance(parsed, list):
                await request.count()
                # Each is encoded at once: a batch may wait for long, and as objects, results that it holds make each
                # collection of garbage longer.
                results: list[bytes] = []
                for each in parsed:
                    is_begun = bool(results)
                    results.append(await self._execute_batch_member(each, caller, request, is_begun))
                response.send_batch(results)
            else:
                await self._execute_single(response, parsed, caller)
        except _ClientDisconnected:
            return
        except Refusal as refusal:
            response.send_refusal(refusal)

    async def _wait_for_turn(self, request: GraphQLHttpRequest, is_begun: bool = False) -> None:
        """Return when there is time to go on: before what else its address asks for, if the request `is_begun`.

        A prepared operation holds memory, and a batch its first results: those of 200 connections that went on by
        turns would all be answered at the end.  Raises `_ClientDisconnected`.
        """
        if not await request.wait_for_turn("graphql", is_begun):
            raise _ClientDisconnected

    async def _serve_playground(self, response: GraphQLHttpResponse) -> bool:
        request = response.request
        if self._playground is None or request.method not in (b"GET", b"HEAD") or b"query" in request.args:
            return False
        name = request.postpath[-1] if request.postpath else b""
        found = self._playground.get_file(name, HTML_TYPE in response.accepted_types)
        if found is not None:
            await request.count()
            request.setHeader("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            response.send(200, *found)
        return found is not None

    def _parse_request(
        self, request: GraphQLHttpRequest, body: bytes
    ) -> GraphQLRequest | list[GraphQLRequest]:
        """The operations of a request with this `body`, without its content coding.  Raises `BadGraphQLRequest`, `TooLarge`."""
        if request.method in (b"GET", b"HEAD"):
            return parse_query_string(request.args)
        if request.method != b"POST":
            request.setHeader("Allow", "GET, HEAD, POST")
            raise GraphQLMethodNotAllowed("Use GET or POST")
        media_type = check_content_type(header_text(request, b"content-type"))
        if len(body) > MAX_BODY_SIZE:
            raise TooLarge(f"A body has at most {MAX_BODY_SIZE} bytes")
        return (
            parse_document(body, request.args)
            if media_type == DOCUMENT_TYPE
            else parse_body(body, self._max_batch)
        )

    async def _execute_single(
        self, response: GraphQLHttpResponse, request: GraphQLRequest, caller: Caller
    ) -> None:
        await self._wait_for_turn(response.request)
        try:
            operation = self._operation_executor.prepare(request)
        except RequestError as error:
            await response.request.count()
            return self._send_request_error(response, error)
        if not operation.only_authenticates:
            await response.request.count()
        await self._wait_for_turn(response.request, is_begun=True)
        if operation.kind == "mutation" and response.request.method != b"POST":
            response.request.setHeader("Allow", "POST")
            raise GraphQLMethodNotAllowed("Mutations need POST")
        if operation.kind != "subscription":
            payload = await self._operation_executor.execute(operation, caller)
            if response.media_type == EVENT_STREAM_TYPE:
                return response.send_single_event(payload)
            return response.send_json(200, payload)
        if EVENT_STREAM_TYPE not in response.accepted_types:
            raise NotAcceptable(EVENT_STREAM_REQUIRED)
        try:
            stream = await self._operation_executor.subscribe(
                operation, evolve(caller, limit_unsent=response.request.limit_unsent)
            )
        except RequestError as error:
            return response.send_single_event({"errors": error.errors})
        await response.send_stream(stream)

    def _send_request_error(self, response: GraphQLHttpResponse, error: RequestError) -> None:
        """Answer a request that was not executed; an event source gets 200, for it can't read a 400."""
        if response.media_type == EVENT_STREAM_TYPE:
            response.send_single_event({"errors": error.errors})
        else:
            response.send_errors(400 if response.media_type == GRAPHQL_RESPONSE_TYPE else 200, error.errors)

    async def _execute_batch_member(
        self, member: GraphQLRequest, caller: Caller, request: GraphQLHttpRequest, is_begun: bool
    ) -> bytes:
        """Execute one member of the batch in `request` when it is the client's turn; its result as JSON."""
        await self._wait_for_turn(request, is_begun)
        try:
            operation = self._operation_executor.prepare(member)
            if operation.kind == "subscription":
                raise BadGraphQLRequest("A batch can't hold subscriptions")
            await self._wait_for_turn(request, is_begun=True)
            payload = await self._operation_executor.execute(operation, caller)
        except RequestError as error:
            payload = {"errors": error.errors}
        except BadGraphQLRequest as refusal:
            payload = {"errors": [format_refusal(refusal)]}
        return strict_json.dumps(payload)

    def _on_failure(self, response: GraphQLHttpResponse, failure: Failure) -> None:
        self._log.failure("a GraphQL request broke", failure=failure)
        response.send_internal_error()
