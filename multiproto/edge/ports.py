"""What stands between a port and its wire, as the configuration has it: often nothing."""

from __future__ import annotations

from typing import Callable

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from ..core.networks import AddressRules
from .certificate import Certificate
from .door import Door

HTTP = b"http/1.1"  # as ALPN calls it


@frozen
class Edge:
    certificate: Certificate | None
    rules: AddressRules
    proxied: bool  # proxies announce whom they speak for
    clock: IReactorTime

    @property
    def reloads(self) -> tuple[Callable[[], object], ...]:
        """What reads files again."""
        return () if self.certificate is None else (self.certificate.reload,)

    def http(self, site: IProtocolFactory) -> IProtocolFactory:
        """It answers 403 by itself to whom it does not serve, as far as a proxy let them come."""
        return self._door(self._secured(site, HTTP), judges=False)

    def tcp(self, factory: IProtocolFactory) -> IProtocolFactory:
        return self._door(self._secured(factory), judges=True)

    def metrics(self, site: IProtocolFactory, inside: bool) -> IProtocolFactory:
        """`inside`: nobody but this machine hears it.  No proxy comes here."""
        return site if inside else self._secured(site, HTTP)

    def _secured(self, factory: IProtocolFactory, *protocols: bytes) -> IProtocolFactory:
        return factory if self.certificate is None else self.certificate.over_tls(factory, *protocols)

    def _door(self, factory: IProtocolFactory, judges: bool) -> IProtocolFactory:
        if self.rules == AddressRules():
            return factory
        return Door(factory, self.rules, self.clock, self.proxied, judges)
