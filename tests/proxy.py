"""Stands between a client and a real server, to do what networks do to them."""

from __future__ import annotations

from itertools import count
from typing import Any, Callable, Sequence

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from .timing import RESCUE

HOST = "127.0.0.1"


class _End(Protocol):
    """One side of a connection that goes through."""

    transport: Any

    def __init__(self, proxy: Proxy, to_server: bool) -> None:
        self.proxy, self.to_server = proxy, to_server
        self.other: _End | None = None
        self.early = b""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.proxy.ends.add(self)
        if not self.to_server:
            self.proxy.connect(self)

    def dataReceived(self, data: bytes) -> None:
        """What comes from the client goes to the server, and the other way round."""
        if self.other is None:
            self.early += data
        elif not self.proxy.silent:
            rule = self.proxy.on_answer if self.to_server else self.proxy.on_request
            self.other.transport.write(rule(data))

    def join(self, server: _End) -> None:
        self.other, server.other = server, self
        self.transport.registerProducer(server.transport, True)
        server.transport.registerProducer(self.transport, True)
        early, self.early = self.early, b""
        if early:
            self.dataReceived(early)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other side hears of it behind what is still on its way there."""
        self.proxy.ends.discard(self)
        if self.other is not None:
            self.other.transport.unregisterProducer()
            self.other.transport.loseConnection()


class Proxy:
    """Passes all on to `port` of this machine, as `on_request` and `on_answer` leave it.

    While `silent` it takes everything and passes nothing on; `refusing` new
    connections are closed at once.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.ends: set[_End] = set()
        self.silent = self.refusing = False
        self.on_request: Callable[[bytes], bytes] = lambda data: data
        self.on_answer: Callable[[bytes], bytes] = lambda data: data
        self._listening: IListeningPort | None = None

    def listen(self, port: int = 0) -> None:
        factory = Factory.forProtocol(lambda: _End(self, to_server=False))  # type: ignore[arg-type]
        self._listening = reactor.listenTCP(port, factory, interface=HOST)  # type: ignore[attr-defined]

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
            end.transport.abortConnection()

    def move(self, port: int) -> None:
        """Lead new connections there; those that there are stay where they are."""
        self._target = port

    def connect(self, client: _End) -> None:
        self._try(client, [] if self.refusing else self.targets())

    def targets(self) -> list[int]:
        """The ports to try, in order."""
        return [self._target]

    def _try(self, client: _End, ports: Sequence[int]) -> None:
        if not ports:
            client.transport.abortConnection()
            return
        far = Factory.forProtocol(lambda: _End(self, to_server=True))  # type: ignore[arg-type]
        far.noisy = False
        connected = TCP4ClientEndpoint(reactor, HOST, ports[0], timeout=RESCUE).connect(far)
        connected.addCallbacks(client.join, lambda refused: self._try(client, ports[1:]))


class Balancer(Proxy):
    """Each connection goes to the next of `ports` that takes it."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(ports[0])
        self._ports, self._turns = list(ports), count()

    def targets(self) -> list[int]:
        first = next(self._turns) % len(self._ports)
        return self._ports[first:] + self._ports[:first]
