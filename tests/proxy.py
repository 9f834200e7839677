"""Stands between a client and a real server, to do what networks do to them."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

HOST = "127.0.0.1"


class _End(Protocol):
    """One side of a connection that goes through."""

    def __init__(self, proxy: Proxy, to_server: bool) -> None:
        self.proxy, self.to_server = proxy, to_server
        self.other: _End | None = None
        self.early = b""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.proxy.ends.add(self)
        if not self.to_server:
            self.proxy.connect(self)

    def dataReceived(self, data: bytes) -> None:
        """What comes from the client goes to the server, and the other way round."""
        if self.other is None:
            self.early += data
        elif not self.proxy.silent:
            rule = self.proxy.on_answer if self.to_server else self.proxy.on_request
            passed = rule(data)
            if self.other.transport is not None:
                self.other.transport.write(passed)  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.proxy.ends.discard(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abortConnection()  # type: ignore[attr-defined]


class Proxy:
    """Passes all on to `port` of this machine, as `on_request` and `on_answer` leave it.

    While `silent` it takes everything and passes nothing on; `refusing` new
    connections are closed at once.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.ends: set[_End] = set()
        self.silent = self.refusing = False
        self.on_request: Callable[[bytes], bytes] = lambda data: data
        self.on_answer: Callable[[bytes], bytes] = lambda data: data
        self._listening: IListeningPort | None = None

    async def start(self) -> None:
        factory = Factory.forProtocol(lambda: _End(self, to_server=False))  # type: ignore[arg-type]
        self._listening = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(factory)

    async def stop(self) -> None:
        self.cut()
        if self._listening is not None:
            await self._listening.stopListening()

    @property
    def port(self) -> int:
        assert self._listening is not None
        host: Any = self._listening.getHost()
        return int(host.port)

    def cut(self) -> None:
        """End every connection there is."""
        for end in list(self.ends):
            end.transport.abortConnection()  # type: ignore[union-attr]

    def connect(self, client: _End) -> None:
        if self.refusing:
            client.transport.abortConnection()  # type: ignore[union-attr]
            return
        far = Factory.forProtocol(lambda: _End(self, to_server=True))  # type: ignore[arg-type]
        connected: Deferred[Any] = TCP4ClientEndpoint(reactor, HOST, self.target, timeout=2).connect(far)
        connected.addCallbacks(
            lambda server: self._join(client, server),
            lambda failure: client.transport.abortConnection(),  # type: ignore[union-attr]
        )

    def _join(self, client: _End, server: _End) -> None:
        client.other, server.other = server, client
        early, client.early = client.early, b""
        if early:
            client.dataReceived(early)
