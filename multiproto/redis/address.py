"""The address of a Redis server, from its URL, and how to connect to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

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

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """How to connect; over TLS, the server must prove its name."""
        plain = HostnameEndpoint(reactor, self.host, self.port, CONNECT_TIMEOUT)
        if not self.tls:
            return plain
        trusted = trustRootFromCertificates(_load_certificates(self.ca_file)) if self.ca_file else None
        return wrapClientTLS(optionsForClientTLS(self.host, trusted), plain)


def _load_certificates(file: Path) -> list[Certificate]:
    """All certificates in one PEM file."""
    blocks = file.read_bytes().split(_PEM_END)[:-1]
    return [Certificate.loadPEM(block + _PEM_END + b"\n") for block in blocks]
