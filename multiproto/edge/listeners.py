"""The configured layers between a port and its wire: address filter, PROXY header, TLS; often none."""

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
    """Wraps the factories of wires in the configured layers."""

    certificate: TlsCertificate | None
    address_rules: AddressRules
    expects_proxy_header: bool  # trusted proxies send a PROXY header
    clock: IReactorTime

    @property
    def reload_callbacks(self) -> tuple[Callable[[], object], ...]:
        """What to call on SIGHUP."""
        return () if self.certificate is None else (self.certificate.reload,)

    def wrap_http(self, site: IProtocolFactory) -> IProtocolFactory:
        """The HTTP site behind the configured layers.

        Clients behind a proxy are not filtered here: HTTP answers them with 403 itself.
        """
        return self._wrap_address_filter(self._wrap_tls(site, ALPN_HTTP), filters_clients=False)

    def wrap_tcp(self, factory: IProtocolFactory) -> IProtocolFactory:
        """The TCP protocol behind the configured layers; clients behind a proxy are filtered, too."""
        return self._wrap_address_filter(self._wrap_tls(factory), filters_clients=True)

    def wrap_metrics(self, site: IProtocolFactory, loopback_only: bool) -> IProtocolFactory:
        """The metrics site behind TLS, unless only this machine can connect.

        There is no address filter, for no proxy connects here.
        """
        return site if loopback_only else self._wrap_tls(site, ALPN_HTTP)

    def _wrap_tls(self, factory: IProtocolFactory, *protocols: bytes) -> IProtocolFactory:
        return factory if self.certificate is None else self.certificate.wrap_in_tls(factory, *protocols)

    def _wrap_address_filter(self, factory: IProtocolFactory, filters_clients: bool) -> IProtocolFactory:
        if self.address_rules == AddressRules():
            return factory
        return AddressFilterFactory(
            factory, self.address_rules, self.clock, self.expects_proxy_header, filters_clients
        )
