"""What stands between a port and its wire, as the configuration has it: often nothing."""

from __future__ import annotations

from typing import Callable

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from ..core.addresses import AddressRules
from .certificate import TlsCertificate
from .proxy_protocol import AddressFilterFactory

ALPN_HTTP = b"http/1.1"  # as ALPN calls it


@frozen
class EdgeWrapper:
    certificate: TlsCertificate | None
    address_rules: AddressRules
    expects_proxy_header: bool  # proxies announce whom they speak for
    clock: IReactorTime

    @property
    def reload_callbacks(self) -> tuple[Callable[[], object], ...]:
        """What reads files again."""
        return () if self.certificate is None else (self.certificate.reload,)

    def wrap_http(self, site: IProtocolFactory) -> IProtocolFactory:
        """It answers 403 by itself to whom it does not serve, as far as a proxy let them come."""
        return self._wrap_address_filter(self._wrap_tls(site, ALPN_HTTP), judges=False)

    def wrap_tcp(self, factory: IProtocolFactory) -> IProtocolFactory:
        return self._wrap_address_filter(self._wrap_tls(factory), judges=True)

    def wrap_metrics(self, site: IProtocolFactory, inside: bool) -> IProtocolFactory:
        """`inside`: nobody but this machine hears it.  No proxy comes here."""
        return site if inside else self._wrap_tls(site, ALPN_HTTP)

    def _wrap_tls(self, factory: IProtocolFactory, *protocols: bytes) -> IProtocolFactory:
        return factory if self.certificate is None else self.certificate.wrap_in_tls(factory, *protocols)

    def _wrap_address_filter(self, factory: IProtocolFactory, judges: bool) -> IProtocolFactory:
        if self.address_rules == AddressRules():
            return factory
        return AddressFilterFactory(
            factory, self.address_rules, self.clock, self.expects_proxy_header, judges
        )
