"""The certificate that the ports show: read at the start, and anew when the files have changed.

A connection keeps what it began with; whoever comes next gets the newer one.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from attrs import define, field
from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from zope.interface import implementer

from .pair import Pair, Unusable, read_pair
from .tls import TlsFactory


@define(eq=False, repr=False)
class Certificate(Service):
    """Of these two files.  `clock` is `IReactorTime`, whose `seconds` are the epoch's."""

    _certificate: Path
    _key: Path
    _reactor: Any
    _creators: list[_Creator] = field(factory=list, init=False)
    _pair: Pair | None = field(default=None, init=False)

    _log = Logger()

    def over_tls(self, factory: IProtocolFactory, *protocols: bytes) -> IProtocolFactory:
        """`factory`, spoken to by TLS with this certificate."""
        creator = _Creator(protocols)
        if self._pair is not None:
            creator.use(self._pair)
        self._creators.append(creator)
        return TlsFactory(creator, factory, self._reactor)

    def privilegedStartService(self) -> None:
        """Read the files, while we may.  Raises `Unusable`."""
        super().privilegedStartService()
        self._take(read_pair(self._certificate, self._key))

    def startService(self) -> None:
        super().startService()
        if self._pair is None:
            self.privilegedStartService()

    def reload(self) -> None:
        """Go on with what the files hold now; if that is no good, with what there is."""
        try:
            self._take(read_pair(self._certificate, self._key))
        except Unusable as why:
            self._log.error("the certificate stays as it is: {why}", why=str(why))

    def _take(self, pair: Pair) -> None:
        self._pair = pair
        for creator in self._creators:
            creator.use(pair)
        self._log.info("certificate of {whose}, until {until}", whose=pair.told, until=str(pair.until))
        worry = pair.worry(datetime.fromtimestamp(self._reactor.seconds(), timezone.utc))
        if worry is not None:
            self._log.warn("TLS_CERT_FILE {file} {worry}", file=str(self._certificate), worry=worry)


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False, repr=False)
class _Creator:
    """Begins TLS on each connection of one port, with the newest certificate."""

    _protocols: tuple[bytes, ...]
    _options: CertificateOptions | None = field(default=None, init=False)

    def use(self, pair: Pair) -> None:
        self._options = pair.options(self._protocols)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        assert self._options is not None, "no connection comes before the start"
        return self._options.serverConnectionForTLS(tlsProtocol)
