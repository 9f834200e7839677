"""All protocols of the server, one line each; `server.make_service` makes those that are enabled.

A new protocol describes itself as a `Wire` in its own folder and is added here.
"""

from __future__ import annotations

from functools import partial
from typing import Mapping, Sequence

from twisted.web.resource import IResource

from .graphql.transport.http import GraphQLResource, wants_buffered_response
from .graphql.wire import graphql_wire
from .http.envelope import RawResponse
from .http.route import RequestContext, Route
from .http.wire import http_wire
from .tcp.wire import tcp_wire
from .websocket.wire import websocket_echo_wire, websocket_wire
from .wire import WireFactory


def make_graphql_routes(mounts: Mapping[str, IResource]) -> list[Route]:
    """HTTP's fast path to GraphQL, for requests that get one whole answer."""

    def make_route(path: str, endpoint: GraphQLResource) -> Route:
        async def post(call: RequestContext) -> RawResponse:
            return RawResponse(
                *await endpoint.handle_post(call.header, call.request.body, call.client_address)
            )

        return Route("POST", path, post, allows_credentials=True, fits=wants_buffered_response)

    return [
        make_route(path, endpoint)
        for path, endpoint in mounts.items()
        if isinstance(endpoint, GraphQLResource)
    ]


WIRES: Sequence[WireFactory] = (
    websocket_wire,
    websocket_echo_wire,
    graphql_wire,
    tcp_wire,
    partial(http_wire, make_mounted_routes=make_graphql_routes),
)
