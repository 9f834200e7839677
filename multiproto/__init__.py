"""One Twisted reactor that serves REST, WebSocket, GraphQL and framed TCP as one conversation."""

__version__ = "0.1.0"
