"""TLS between a socket and a protocol, with what Twisted's leaves out: deadlines, and closing for writing."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

from ..base.deadline import Deadline

HANDSHAKE_TIMEOUT = 10.0  # seconds from the start of the connection
CLOSE_TIMEOUT = 15.0  # seconds from our close_notify until the peer has read everything and sent its own


class TlsTransport(BufferingTLSTransport):
    """TLS on one connection; the wrapped protocol has it from the start, so that its limits count handshakes, too."""

    factory: TlsFactory
    _deadline: Deadline

    # The reactor calls these.

    def makeConnection(self, transport: Any) -> None:
        self._deadline = Deadline(self.factory.clock)
        self._deadline.set(HANDSHAKE_TIMEOUT, self._check_handshake)
        super().makeConnection(transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deadline.cancel()
        super().connectionLost(reason)
        self._producer = None  # the wrapped protocol, which holds this

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        """Twisted's, which keeps the `reason` in frames that its traceback holds."""
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)

    # The wrapped protocol calls these.

    def loseConnection(self) -> None:
        """Send close_notify after what was written, and read on until the peer sends its own, as TLS requires."""
        if self.connected and not self.disconnecting:
            self._deadline.set(CLOSE_TIMEOUT, self.abortConnection)
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        """The same: Twisted's would close the socket for writing below TLS, before buffered data is written."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """Does nothing after the end of the connection, where Twisted's raises."""
        if self.connected:
            super().abortConnection()

    # Deadlines.

    def _check_handshake(self) -> None:
        if self.getHandle().get_peer_finished() is None:  # the last message of a client in a handshake
            self.abortConnection()


class TlsFactory(TLSMemoryBIOFactory):
    """Wraps each connection of a factory."""

    protocol = TlsTransport

    def __init__(self, creator: Any, factory: Any, clock: IReactorTime) -> None:
        super().__init__(creator, False, factory, clock)
        self.clock = clock

    def buildProtocol(self, addr: Any) -> IProtocol | None:  # type: ignore[override]
        """`None` where the wrapped factory refuses the connection: Twisted's would wrap that."""
        built = self.wrappedFactory.buildProtocol(addr)
        return None if built is None else self.protocol(self, built)
