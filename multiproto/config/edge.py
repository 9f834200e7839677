"""The settings of the edge: TLS, trusted proxies, and allowed addresses."""

from __future__ import annotations

from attrs import frozen

from ..core.addresses import AddressRules, IPNetwork
from . import parsers
from .setting import setting


@frozen
class EdgeConfig:
    """Settings of TLS, trusted proxies and address filters, which stand before the protocols."""

    certificate_file: str = setting(
        "TLS_CERT_FILE",
        parsers.text,
        "",
        "certificate in PEM, followed by intermediate ones; with TLS_KEY_FILE, the ports speak TLS",
        is_reloaded=True,
    )
    key_file: str = setting(
        "TLS_KEY_FILE",
        parsers.text,
        "",
        "private key of the certificate in PEM",
        is_reloaded=True,
    )
    trusted_proxies: tuple[IPNetwork, ...] = setting(
        "TRUSTED_PROXIES",
        parsers.networks,
        (),
        "addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are trusted; unset: none",
    )
    proxy_protocol_ports: tuple[str, ...] = setting(
        "PROXY_PROTOCOL",
        parsers.proxied_ports,
        (),
        "ports (http, tcp, metrics, by commas) where each connection of TRUSTED_PROXIES begins with a PROXY header, "
        "v1 or v2; true: http,tcp",
    )
    allow: tuple[IPNetwork, ...] = setting(
        "ADDRESS_ALLOW", parsers.networks, (), "addresses or networks that may connect; unset: all"
    )
    deny: tuple[IPNetwork, ...] = setting(
        "ADDRESS_DENY", parsers.networks, (), "addresses or networks that may not connect, even if allowed"
    )

    @property
    def address_rules(self) -> AddressRules:
        return AddressRules(self.allow, self.deny, self.trusted_proxies)
