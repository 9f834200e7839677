"""Admits connections by address, and reads the client's address from a proxy's PROXY header.

All of it happens before TLS.  Wires see the address of the client, even behind a proxy.
Twisted's own wrapper for the PROXY protocol reports a connection to the wire before
it knows the client, waits for the header for ever, and accepts it from everybody.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IAddress,
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

from ..base.deadline import Deadline
from ..core.addresses import AddressRules
from .proxy_header import BadProxyHeader, ProxyHeader, describe_beginning, parse_proxy_header

HEADER_TIMEOUT = 10.0  # seconds from the start of the connection
LOG_INTERVAL = 60.0  # seconds between two lines about connections of proxies that were closed


class AddressFilterFactory(WrappingFactory):
    """Accepts only connections from addresses that `rules` allow.

    With `proxied_port`, the name of the port in `PROXY_PROTOCOL`, trusted proxies must begin
    with a PROXY header; all others are accepted as they are.  With `filters_clients`, the client
    that the header names must be allowed, too; without, the wire checks that itself.
    """

    noisy = False

    _log = Logger()

    def __init__(
        self,
        factory: IProtocolFactory,
        rules: AddressRules,
        clock: IReactorTime,
        proxied_port: str | None = None,
        filters_clients: bool = False,
    ) -> None:
        super().__init__(factory)
        self.clock = clock
        self._address_rules = rules
        self._proxied_port = proxied_port
        self._filters_clients = filters_clients
        self._closed_count = 0  # proxies' connections without a good header, since the last line in the log
        self._logged_at: float | None = None

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        host = getattr(addr, "host", "")
        if not self._address_rules.is_allowed(host):
            self._log_rejected(host)
            return None
        if self._proxied_port is not None and self._address_rules.is_trusted_proxy(host):
            return _ProxiedConnection(self)
        built: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return built

    def build_for_client(self, client: IAddress) -> IProtocol | None:
        """The protocol for `client`, which a proxy named; `None` to close the connection."""
        host = getattr(client, "host", "")
        if self._filters_clients and not self._address_rules.is_allowed(host):
            self._log_rejected(host)
            return None
        built: IProtocol | None = self.wrappedFactory.buildProtocol(client)
        return built

    def log_bad_header(self, proxy: str, problem: str) -> None:
        """Say why a proxy's connection is closed, at most once a minute: it may carry all traffic there is."""
        self._closed_count += 1
        now = self.clock.seconds()
        if self._logged_at is not None and now - self._logged_at < LOG_INTERVAL:
            return
        self._log.warn(
            "port {port}: closed {count} connections of trusted proxies, the last of {proxy}: {problem}; let the proxy "
            "send a PROXY header, or take {port} out of PROXY_PROTOCOL",
            port=self._proxied_port,
            count=self._closed_count,
            proxy=proxy,
            problem=problem,
        )
        self._logged_at, self._closed_count = now, 0

    def _log_rejected(self, host: str) -> None:
        """At debug level: an address that is not allowed may try a thousand times a second."""
        self._log.debug("refused a connection: {host} is not allowed", host=host)


class _ProxiedConnection(ProtocolWrapper):
    """A proxy's connection; once its header is read, the wrapped protocol gets it as if it came from the client."""

    factory: AddressFilterFactory
    transport: Any
    wrappedProtocol: Any

    def __init__(self, factory: AddressFilterFactory) -> None:
        super().__init__(factory, None)  # type: ignore[arg-type]
        self._header: ProxyHeader | None = None
        self._buffer = b""  # the part of the header that has come
        self._deadline = Deadline(factory.clock)

    def __conform__(self, interface: object) -> Any:
        """The wrapped protocol for `IHalfCloseableProtocol`, if it provides that.

        If this class declared it, TLS, which takes over what its transport
        provides, would seem to handle half-closes, too.
        """
        halves = interface is IHalfCloseableProtocol and IHalfCloseableProtocol.providedBy(
            self.wrappedProtocol
        )
        return self.wrappedProtocol if halves else None

    # The transport calls these.

    def makeConnection(self, transport: Any) -> None:
        directlyProvides(self, providedBy(transport))
        self.factory.registerProtocol(self)
        self._deadline.set(HEADER_TIMEOUT, self._on_timeout)
        Protocol.makeConnection(self, transport)

    def dataReceived(self, data: bytes) -> None:
        if self._header is not None:
            if self.wrappedProtocol is not None:  # else the connection is being closed
                self.wrappedProtocol.dataReceived(data)
            return
        self._buffer += data
        try:
            self._header = parse_proxy_header(self._buffer)
        except BadProxyHeader:
            self._reject(describe_beginning(self._buffer))
        else:
            if self._header is not None:
                self._connect_wrapped(self._buffer[self._header.size :])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deadline.cancel()
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

    # Internals.

    def _on_timeout(self) -> None:
        begun = "was not whole" if self._buffer else "did not come"
        self._reject(f"the PROXY header {begun} within {HEADER_TIMEOUT:g} s")

    def _reject(self, problem: str) -> None:
        self._deadline.cancel()
        self.factory.log_bad_header(getattr(self.transport.getPeer(), "host", ""), problem)
        self.transport.abortConnection()

    def _connect_wrapped(self, rest: bytes) -> None:
        self._deadline.cancel()
        self._buffer = b""
        self.wrappedProtocol = self.factory.build_for_client(self.getPeer())
        if self.wrappedProtocol is None:
            self.transport.abortConnection()
            return
        self.wrappedProtocol.makeConnection(self)
        if rest:
            self.dataReceived(rest)
