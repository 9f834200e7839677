"""Makes `twistd multiproto` known."""

from twisted.application.service import ServiceMaker

multiproto = ServiceMaker(
    "multiproto",
    "multiproto.tap",
    "REST, WebSocket, GraphQL and framed TCP as one conversation.",
    "multiproto",
)
