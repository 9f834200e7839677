"""Where connections come in: who may, and whom a proxy speaks for.

All of it happens before TLS.  Wires see the address of the client, whoever carried it.
Twisted's own wrapper for the PROXY protocol tells the wire of a connection before
it knows whose it is, waits for the header for ever, and takes it from everybody.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from ..core.addresses import AddressRules
from .proxy_header import BadProxyHeader, ProxyHeader, parse_proxy_header

HEADER_TIMEOUT = 10.0  # seconds from the connection


class AddressFilterFactory(WrappingFactory):
    """Lets those in whom `rules` admit.

    With `proxied`, proxies must first say whom they speak for; all others come
    in as they are.  With `judges`, whom a proxy speaks for must be admitted, too;
    without, the wire sees to that and says so.
    """

    noisy = False

    _log = Logger()

    def __init__(
        self, factory: IProtocolFactory, rules: AddressRules, clock: IReactorTime, proxied: bool, judges: bool
    ) -> None:
        super().__init__(factory)
        self.clock = clock
        self._address_rules = rules
        self._expects_proxy_header = proxied
        self._filters_clients = judges

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        host = getattr(addr, "host", "")
        if not self._address_rules.is_allowed(host):
            self._log_rejected(host)
            return None
        if self._expects_proxy_header and self._address_rules.is_trusted_proxy(host):
            return _ProxiedConnection(self)
        built: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return built

    def build_for_client(self, client: IAddress) -> IProtocol | None:
        """The protocol for `client`, which a proxy told; `None` to close on it."""
        host = getattr(client, "host", "")
        if self._filters_clients and not self._address_rules.is_allowed(host):
            self._log_rejected(host)
            return None
        built: IProtocol | None = self.wrappedFactory.buildProtocol(client)
        return built

    def _log_rejected(self, host: str) -> None:
        """At debug: who is not wanted may come a thousand times a second."""
        self._log.debug("turned {host} away at the door", host=host)


class _ProxiedConnection(ProtocolWrapper):
    """A proxy's connection.  The wrapped protocol has it once the header is read, as if it came from the client."""

    factory: AddressFilterFactory
    transport: Any
    wrappedProtocol: Any

    def __init__(self, factory: AddressFilterFactory) -> None:
        super().__init__(factory, None)  # type: ignore[arg-type]
        self._header: ProxyHeader | None = None
        self._buffer = b""  # what came of the header
        self._deadline: IDelayedCall | None = None

    def __conform__(self, interface: object) -> Any:
        """Who is to be told of half-closes: whoever is within, if it knows of them.

        Were that declared here, TLS, which takes over what its transport
        provides, would seem to know of them, too.
        """
        halves = interface is IHalfCloseableProtocol and IHalfCloseableProtocol.providedBy(
            self.wrappedProtocol
        )
        return self.wrappedProtocol if halves else None

    # The transport calls these.

    def makeConnection(self, transport: Any) -> None:
        directlyProvides(self, providedBy(transport))
        self.factory.registerProtocol(self)
        self._deadline = self.factory.clock.callLater(HEADER_TIMEOUT, transport.abortConnection)
        Protocol.makeConnection(self, transport)

    def dataReceived(self, data: bytes) -> None:
        if self._header is not None:
            if self.wrappedProtocol is not None:  # else we are closing
                self.wrappedProtocol.dataReceived(data)
            return
        self._buffer += data
        try:
            self._header = parse_proxy_header(self._buffer)
        except BadProxyHeader:
            self.transport.abortConnection()
        else:
            if self._header is not None:
                self._connect_wrapped(self._buffer[self._header.size :])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_deadline()
        if self.wrappedProtocol is not None:
            super().connectionLost(reason)
        else:
            self.factory.unregisterProtocol(self)

    # The wrapped protocol calls these.

    def getPeer(self) -> IAddress:
        found: IAddress = (self._header and self._header.source) or self.transport.getPeer()
        return found

    def getHost(self) -> IAddress:
        found: IAddress = (self._header and self._header.destination) or self.transport.getHost()
        return found

    # Behind them.

    def _connect_wrapped(self, ahead: bytes) -> None:
        self._cancel_deadline()
        self._buffer = b""
        self.wrappedProtocol = self.factory.build_for_client(self.getPeer())
        if self.wrappedProtocol is None:
            self.transport.abortConnection()
            return
        self.wrappedProtocol.makeConnection(self)
        if ahead:
            self.dataReceived(ahead)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
