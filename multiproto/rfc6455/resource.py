"""Where HTTP becomes WebSocket."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request


class UpgradeResource(Resource):
    """Hands a request's connection over to a WebSocket protocol, handshake included.

    Autobahn's own resource joins double headers, calls every request HTTP/1.1,
    takes a request's body for frames, and loses the frames that came in the
    handshake's packet.
    """

    isLeaf = False  # /ws and nothing below it

    def __init__(self, factory: IProtocolFactory) -> None:
        super().__init__()
        self._factory = factory

    def render(self, request: Request) -> int:
        channel: Any = request.channel
        content: Any = request.content
        protocol: Any = self._factory.buildProtocol(request.getClientAddress())
        protocol.client = request.getClientAddress()
        # Says that the connection is no longer HTTP's; what came behind the request is its content.
        transport, channel.transport = channel.transport, None
        transport.unregisterProducer()  # twisted.web's own channel leaves itself there, and nothing would close
        if isinstance(transport, ProtocolWrapper):  # TLS, or what a proxy announced
            transport.wrappedProtocol = protocol
        else:
            transport.protocol = protocol
        protocol.makeConnection(transport)
        transport.resumeProducing()  # the channel may have paused it behind a request
        has_body = any(map(request.requestHeaders.hasHeader, ("content-length", "transfer-encoding")))
        ahead = b"" if has_body else content.read()  # a body is no frame
        protocol.dataReceived(_serialize_request(request) + ahead)
        return NOT_DONE_YET


def _serialize_request(request: Request) -> bytes:
    """The request as it came, for a protocol that reads its own."""
    lines = [b" ".join((request.method, request.uri, request.clientproto))]
    for name, values in request.requestHeaders.getAllRawHeaders():
        lines += [name + b": " + value for value in values]
    return b"\r\n".join([*lines, b"", b""])
