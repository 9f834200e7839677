"""Where HTTP becomes WebSocket."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.error import UnsupportedMethod
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from .handshake import HandshakeRefusal, HeaderLines


class UpgradeRequest(Protocol):
    """What an upgrade uses of an HTTP request; `multiproto/http` has the class."""

    method: bytes
    uri: bytes
    clientproto: bytes
    channel: Any  # its connection
    content: BytesIO  # what came behind the request and its body, if it had one
    requestHeaders: Headers
    request_id: str

    def getClientAddress(self) -> IAddress: ...
    def isSecure(self) -> bool: ...
    def send_and_close(self, status: int, body: bytes, headers: HeaderLines) -> None:
        """Send the whole response, after which the connection closes."""


class UpgradeResource(Resource):
    """Hands a request's connection over to a WebSocket protocol, handshake included.

    The connection is HTTP's until the handshake is accepted, so that a refusal is
    a response like every other: with its headers, logged and counted.

    Autobahn's own resource joins double headers, calls every request HTTP/1.1,
    takes a request's body for frames, and loses the frames that came in the
    handshake's packet.
    """

    isLeaf = False  # /ws and nothing below it

    def __init__(self, factory: IProtocolFactory) -> None:
        super().__init__()
        self._factory = factory

    def render(self, request: UpgradeRequest) -> int:  # type: ignore[override]
        """Raises `UnsupportedMethod`."""
        if request.method != b"GET":
            raise UnsupportedMethod((b"GET",))
        protocol: Any = self._factory.buildProtocol(request.getClientAddress())
        protocol.client = request.getClientAddress()
        protocol.secure, protocol.request_id = request.isSecure(), request.request_id
        protocol.on_accepted = partial(_take_over, request.channel, protocol)
        protocol.makeConnection(request.channel.transport)
        protocol.dataReceived(_serialize_request(request) + request.content.read())
        refusal: HandshakeRefusal | None = protocol.refusal
        if refusal is not None:
            protocol.on_accepted = None  # it refers to the protocol
            request.send_and_close(refusal.status, refusal.body, refusal.headers)
        return NOT_DONE_YET


def _take_over(channel: Any, protocol: IProtocol) -> None:
    """Give the connection of an HTTP channel to `protocol`."""
    transport, channel.transport = channel.transport, None  # says that it is no longer HTTP's
    transport.unregisterProducer()  # twisted.web's own channel leaves itself there, and nothing would close
    if isinstance(transport, ProtocolWrapper):  # TLS, or what a proxy announced
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
    transport.resumeProducing()  # the channel may have paused it behind a request


def _serialize_request(request: UpgradeRequest) -> bytes:
    """The request as it came, for a protocol that reads its own."""
    lines = [b" ".join((request.method, request.uri, request.clientproto))]
    for name, values in request.requestHeaders.getAllRawHeaders():
        lines += [name + b": " + value for value in values]
    return b"\r\n".join([*lines, b"", b""])
