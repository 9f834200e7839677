"""TLS between a socket and a protocol, with what Twisted's leaves out: deadlines, and half a goodbye."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

HANDSHAKE_TIMEOUT = 10.0  # seconds from the connection
CLOSE_TIMEOUT = 15.0  # seconds from our last word for the peer to take it and say goodbye, too


class TlsTransport(BufferingTLSTransport):
    """The wrapped protocol has the connection from the start, so that its limits count handshakes as well."""

    factory: TlsFactory
    _deadline: IDelayedCall | None = None

    # The reactor calls these.

    def makeConnection(self, transport: Any) -> None:
        self._set_deadline(HANDSHAKE_TIMEOUT, self._check_handshake)
        super().makeConnection(transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        super().connectionLost(reason)

    # The wrapped protocol calls these.

    def loseConnection(self) -> None:
        """Say goodbye behind what was written, and read on until the peer does so: that is how TLS closes."""
        if self.connected and not self.disconnecting:
            self._set_deadline(CLOSE_TIMEOUT, self.abortConnection)
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        """The same: Twisted's would close the socket's half below TLS, before what waits here is written."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """Also behind the end, where Twisted's breaks."""
        if self.connected:
            super().abortConnection()

    # Deadlines.

    def _check_handshake(self) -> None:
        if self.getHandle().get_peer_finished() is None:  # the last that a client says in a handshake
            self.abortConnection()

    def _set_deadline(self, seconds: float, otherwise: Callable[[], None]) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self.factory.clock.callLater(seconds, otherwise)


class TlsFactory(TLSMemoryBIOFactory):
    """Wraps each connection of a factory."""

    protocol = TlsTransport

    def __init__(self, creator: Any, factory: Any, clock: IReactorTime) -> None:
        super().__init__(creator, False, factory, clock)
        self.clock = clock

    def buildProtocol(self, addr: Any) -> IProtocol | None:  # type: ignore[override]
        """`None` where the wrapped factory wants no connection: Twisted's would wrap that."""
        built = self.wrappedFactory.buildProtocol(addr)
        return None if built is None else self.protocol(self, built)
