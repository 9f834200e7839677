"""The configured layers between a port and its wire: address filter, PROXY header, TLS; often none."""

from __future__ import annotations

from typing import Callable

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from ..core.addresses import AddressRules
from .certificate import TlsCertificate
from .proxy_protocol import AddressFilterFactory

ALPN_HTTP = b"http/1.1"  # as ALPN calls it
METRICS = "metrics"


@frozen
class EdgeWrapper:
    """Wraps the factories of wires in the configured layers."""

    certificate: TlsCertificate | None
    address_rules: AddressRules
    proxy_protocol_ports: frozenset[str]  # where trusted proxies send a PROXY header: http, tcp, metrics
    clock: IReactorTime

    @property
    def reload_callbacks(self) -> tuple[Callable[[], object], ...]:
        """What to call on SIGHUP."""
        return () if self.certificate is None else (self.certificate.reload,)

    def wrap_http(self, site: IProtocolFactory) -> IProtocolFactory:
        """The HTTP site behind the configured layers.

        Clients behind a proxy are not filtered here: HTTP answers them with 403 itself.
        """
        return self._wrap_address_filter("http", self._wrap_tls(site, ALPN_HTTP), filters_clients=False)

    def wrap_tcp(self, factory: IProtocolFactory) -> IProtocolFactory:
        """The TCP protocol behind the configured layers; clients behind a proxy are filtered, too."""
        return self._wrap_address_filter("tcp", self._wrap_tls(factory), filters_clients=True)

    def wrap_metrics(self, site: IProtocolFactory, loopback_only: bool) -> IProtocolFactory:
        """The metrics site behind TLS, unless only this machine can connect.

        Addresses are not filtered, but a proxy may send its header here, too.
        """
        wrapped = site if loopback_only else self._wrap_tls(site, ALPN_HTTP)
        if METRICS not in self.proxy_protocol_ports:
            return wrapped
        proxies = AddressRules(trusted_proxies=self.address_rules.trusted_proxies)
        return AddressFilterFactory(wrapped, proxies, self.clock, METRICS)

    def _wrap_tls(self, factory: IProtocolFactory, *protocols: bytes) -> IProtocolFactory:
        return factory if self.certificate is None else self.certificate.wrap_in_tls(factory, *protocols)

    def _wrap_address_filter(
        self, port: str, factory: IProtocolFactory, filters_clients: bool
    ) -> IProtocolFactory:
        if self.address_rules == AddressRules():
            return factory
        proxied_port = port if port in self.proxy_protocol_ports else None
        return AddressFilterFactory(factory, self.address_rules, self.clock, proxied_port, filters_clients)
