"""The certificate of the TLS ports: read at the start, and read again on `reload`.

A connection keeps the certificate that it began with; new ones get the newest.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

from attrs import define, field
from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from zope.interface import implementer

from .key_pair import KeyPair, KeyPairError, read_key_pair
from .tls import TlsFactory


@define(eq=False, repr=False)
class TlsCertificate(Service):
    """Keeps the certificate and key of the TLS ports, from two PEM files."""

    _certificate_file: Path
    _key_file: Path
    _reactor: Any  # IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _connection_creators: list[_TlsConnectionCreator] = field(factory=list, init=False)
    _key_pair: KeyPair | None = field(default=None, init=False)

    _log = Logger()

    def wrap_in_tls(self, factory: IProtocolFactory, *protocols: bytes) -> IProtocolFactory:
        """`factory` behind TLS with this certificate; `protocols` are offered by ALPN."""
        creator = _TlsConnectionCreator(protocols)
        if self._key_pair is not None:
            creator.set_key_pair(self._key_pair)
        self._connection_creators.append(creator)
        return TlsFactory(creator, factory, self._reactor)

    def privilegedStartService(self) -> None:
        """Read the files, while the process still has the privileges.  Raises `KeyPairError`."""
        super().privilegedStartService()
        self._apply(read_key_pair(self._certificate_file, self._key_file))

    def startService(self) -> None:
        super().startService()
        if self._key_pair is None:
            self.privilegedStartService()

    def reload(self) -> None:
        """Read the files again; keep the present certificate if they can't be used."""
        try:
            self._apply(read_key_pair(self._certificate_file, self._key_file))
        except KeyPairError as error:
            self._log.error("the certificate stays as it is: {error}", error=str(error))

    def _apply(self, pair: KeyPair) -> None:
        self._key_pair = pair
        for creator in self._connection_creators:
            creator.set_key_pair(pair)
        self._log.info(
            "certificate of {subject}, until {until}", subject=pair.description, until=str(pair.expires_at)
        )
        problem = pair.validity_problem(datetime.fromtimestamp(self._now(), timezone.utc))
        if problem is not None:
            self._log.warn(
                "TLS_CERT_FILE {file} {problem}", file=str(self._certificate_file), problem=problem
            )


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False, repr=False)
class _TlsConnectionCreator:
    """Begins TLS on each connection of one port, with the newest certificate."""

    _alpn_protocols: tuple[bytes, ...]
    _options: CertificateOptions | None = field(default=None, init=False)

    def set_key_pair(self, pair: KeyPair) -> None:
        self._options = pair.tls_options(self._alpn_protocols)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        assert self._options is not None, "no connection comes before the start"
        return self._options.serverConnectionForTLS(tlsProtocol)
