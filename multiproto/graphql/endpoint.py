"""`/graphql` over HTTP: POST and GET, event streams, the door to the socket, the page for a browser."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource
from zope.interface import implementer

from .. import jsontext
from ..core.access import Access
from ..core.errors import Internal, Refusal, TooLarge
from .context import Caller, identify
from .exchange import Exchange
from .execute import Operations, Payload, Request
from .faults import Declined, refused
from .negotiate import (
    EVENTS,
    HTML,
    JSON,
    RESPONSE,
    BadRequest,
    accepted,
    from_body,
    from_query,
    is_json,
    preferred,
)
from .playground import POLICY, Playground

MAX_BODY = 2**20  # bytes (contract, section 1)
Header = Callable[[str], str | None]  # a request's, by its name
Whole = tuple[int, bytes, bytes]  # status, content type and body of an answer
NO_STREAM = "Subscriptions need Accept: text/event-stream, or graphql-transport-ws"


class NotAllowed(BadRequest):
    """This operation does not go with this method."""

    status = 405


class NotAcceptable(BadRequest):
    status = 406


class Unsupported(BadRequest):
    status = 415


@implementer(IResource)
@define(eq=False, repr=False)
class Endpoint:
    _operations: Operations
    _access: Access
    _clock: IReactorTime
    _batch: int  # requests in one array
    _socket: IResource
    _playground: Playground | None
    isLeaf: bool = True
    server: Any = None  # twisted.web sets it on what it serves

    _log = Logger()

    # twisted.web calls these.

    def render(self, request: server.Request) -> int | bytes:
        if (request.getHeader("upgrade") or "").lower() == "websocket":
            answer: int | bytes = self._socket.render(request)
            return answer
        exchange = Exchange(request)
        answering = Deferred.fromCoroutine(self._answer(exchange))
        answering.addErrback(self._broken, exchange)
        return server.NOT_DONE_YET

    # The short way.

    async def post(self, header: Header, body: bytes, host: str) -> Whole:
        """What `_answer` would say to a POST that `wants_whole`."""
        media = preferred(accepted(header("accept")))
        try:
            return _whole(200, media, await self._posted(header, body, host))
        except Declined as declined:
            return _whole(400 if media == RESPONSE else 200, media, {"errors": declined.errors})
        except Refusal as refusal:
            return _whole(refusal.status, media, {"errors": [refused(refusal)]})
        except Exception:
            self._log.failure("a GraphQL request broke")
            return _whole(500, media, {"errors": [refused(Internal())]})

    async def _posted(self, header: Header, body: bytes, host: str) -> object:
        asked = self._read(header("content-type"), body)
        caller = await identify(self._access, header("authorization"), host, header("user-agent") or "")
        if isinstance(asked, list):
            return [await self._member(member, caller) for member in asked]
        operation = self._operations.prepare(asked)
        if operation.kind == "subscription":
            raise NotAcceptable(NO_STREAM)
        return await self._operations.run(operation, caller)

    def _read(self, content_type: str | None, body: bytes) -> Request | list[Request]:
        """Raises `Unsupported`, `TooLarge`, `BadRequest`."""
        if not is_json(content_type):
            raise Unsupported("The body must be application/json in UTF-8")
        if len(body) > MAX_BODY:
            raise TooLarge(f"A body has at most {MAX_BODY} bytes")
        return from_body(body, self._batch)

    def getChildWithDefault(self, name: bytes, request: server.Request) -> IResource:
        raise AssertionError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise AssertionError("a leaf has no children")

    # Answers.

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            if self._show_playground(exchange):
                return
            asked = self._asked(request)
            header = request.getHeader("authorization")
            host, agent = request.getClientAddress().host, request.getHeader("user-agent") or ""
            caller = await identify(self._access, header, host, agent)
            if isinstance(asked, list):
                exchange.say_json(200, [await self._member(member, caller) for member in asked])
            else:
                await self._one(exchange, asked, caller)
        except Refusal as refusal:
            exchange.decline(refusal.status, [refused(refusal)])

    def _show_playground(self, exchange: Exchange) -> bool:
        request = exchange.request
        if self._playground is None or request.method not in (b"GET", b"HEAD") or b"query" in request.args:
            return False
        name = request.postpath[-1] if request.postpath else b""
        found = self._playground.file(name, HTML in exchange.wanted)
        if found is not None:
            request.setHeader("Content-Security-Policy", POLICY)
            exchange.say(200, *found)
        return found is not None

    def _asked(self, request: server.Request) -> Request | list[Request]:
        """Raises `BadRequest`, `TooLarge`."""
        if request.method in (b"GET", b"HEAD"):
            return from_query(request.args)
        if request.method != b"POST":
            request.setHeader("Allow", "GET, HEAD, POST")
            raise NotAllowed("Use GET or POST")
        return self._read(request.getHeader("content-type"), request.content.read(MAX_BODY + 1))

    async def _one(self, exchange: Exchange, asked: Request, caller: Caller) -> None:
        try:
            operation = self._operations.prepare(asked)
        except Declined as declined:
            return self._decline(exchange, declined)
        if operation.kind == "mutation" and exchange.request.method != b"POST":
            exchange.request.setHeader("Allow", "POST")
            raise NotAllowed("Mutations need POST")
        if operation.kind != "subscription":
            payload = await self._operations.run(operation, caller)
            if exchange.media == EVENTS:
                return exchange.say_events(payload)
            return exchange.say_json(200, payload)
        if EVENTS not in exchange.wanted:
            raise NotAcceptable(NO_STREAM)
        try:
            stream = await self._operations.subscribe(operation, caller)
        except Declined as declined:
            return exchange.say_events({"errors": declined.errors})
        await exchange.follow(stream)

    def _decline(self, exchange: Exchange, declined: Declined) -> None:
        """What was no good before it was executed; graphql-sse: an event source can't read a 400."""
        if exchange.media == EVENTS:
            exchange.say_events({"errors": declined.errors})
        else:
            exchange.decline(400 if exchange.media == RESPONSE else 200, declined.errors)

    async def _member(self, asked: Request, caller: Caller) -> Payload:
        """One of a batch; each in a turn of its own, for checking a document may take a while."""
        await deferLater(self._clock, 0)
        try:
            operation = self._operations.prepare(asked)
            if operation.kind == "subscription":
                raise BadRequest("A batch can't hold subscriptions")
            return await self._operations.run(operation, caller)
        except Declined as declined:
            return {"errors": declined.errors}
        except BadRequest as refusal:
            return {"errors": [refused(refusal)]}

    def _broken(self, failure: Failure, exchange: Exchange) -> None:
        self._log.failure("a GraphQL request broke", failure=failure)
        exchange.break_off()


def wants_whole(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request asks neither for events nor for another protocol."""
    accept = headers.get(b"accept")
    wanted = accepted(None if accept is None else accept.decode("latin-1"))
    return b"upgrade" not in headers and EVENTS not in wanted


def _whole(status: int, media: str, value: object) -> Whole:
    shown = RESPONSE if media == RESPONSE else JSON
    return status, f"{shown}; charset=utf-8".encode("ascii"), jsontext.dumps(value)
