"""The address of a Redis server, from its URL, and how to connect to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from zope.interface import implementer

DEFAULT_PORT = 6379
CONNECT_TIMEOUT = 2.0  # seconds
_PEM_END = b"-----END CERTIFICATE-----"


@frozen
class RedisAddress:
    """`redis://user:password@host:port/db`, or `rediss://` for TLS."""

    host: str
    port: int = DEFAULT_PORT
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: bool = False
    ca_file: Path | None = None  # PEM file of the authorities to trust; the system's if there is none

    @classmethod
    def parse(cls, url: str, ca_file: Path | None = None) -> RedisAddress:
        """The address in `url`, which the configuration has checked."""
        parts = urlsplit(url)
        return cls(
            parts.hostname or "localhost",
            parts.port or DEFAULT_PORT,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            int(parts.path.strip("/") or 0),
            parts.scheme == "rediss",
            ca_file,
        )

    def __str__(self) -> str:
        """The URL for people: without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    def resolve(self, reactor: Any) -> Deferred[list[str]]:
        """The IP addresses of the host, in the resolver's order.  Fails with `DNSLookupError` if there is none."""
        receiver = _ResolutionReceiver(self.host)
        reactor.nameResolver.resolveHostName(receiver, self.host, self.port)
        return receiver.resolved

    def endpoint(self, reactor: Any, ip_address: str) -> IStreamClientEndpoint:
        """How to connect to one of the host's addresses; over TLS, the server must prove the host's name."""
        endpoint_class = TCP6ClientEndpoint if ":" in ip_address else TCP4ClientEndpoint
        plain = endpoint_class(reactor, ip_address, self.port, CONNECT_TIMEOUT)
        if not self.tls:
            return plain
        trusted = trustRootFromCertificates(_load_certificates(self.ca_file)) if self.ca_file else None
        return wrapClientTLS(optionsForClientTLS(self.host, trusted), plain)


@implementer(IResolutionReceiver)
@define(eq=False, repr=False)
class _ResolutionReceiver:
    """Collects what a name resolves to."""

    _host: str
    resolved: Deferred[list[str]] = field(factory=Deferred)
    _addresses: list[str] = field(factory=list)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(str(address.host))  # type: ignore[attr-defined]  # of IPv4 or IPv6

    def resolutionComplete(self) -> None:
        if self.resolved.called:  # it was called off
            return
        if self._addresses:
            self.resolved.callback(self._addresses)
        else:
            self.resolved.errback(DNSLookupError(f"no address is found for the name {self._host}"))


def _load_certificates(file: Path) -> list[Certificate]:
    """All certificates in one PEM file."""
    blocks = file.read_bytes().split(_PEM_END)[:-1]
    return [Certificate.loadPEM(block + _PEM_END + b"\n") for block in blocks]
