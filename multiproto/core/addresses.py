"""Network addresses: which may connect, and which are trusted proxies."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Union

from attrs import frozen

from ..base.client_network import IPAddress, parse_address

IPNetwork = Union[IPv4Network, IPv6Network]


@frozen
class AddressRules:
    """The networks that may connect.  Without any, all may, and none is a proxy."""

    allow: tuple[IPNetwork, ...] = ()  # none: all
    deny: tuple[IPNetwork, ...] = ()  # takes precedence over `allow`
    trusted_proxies: tuple[IPNetwork, ...] = ()  # whose forwarding headers are believed

    def is_allowed(self, host: str) -> bool:
        """Proxies need not be in `allow`, which is about their clients."""
        if not self.allow and not self.deny:
            return True
        address = parse_address(host)
        if _any_contains(self.deny, address):
            return False
        return (
            not self.allow
            or _any_contains(self.allow, address)
            or _any_contains(self.trusted_proxies, address)
        )

    def is_trusted_proxy(self, host: str) -> bool:
        return bool(self.trusted_proxies) and _any_contains(self.trusted_proxies, parse_address(host))


def _any_contains(networks: tuple[IPNetwork, ...], address: IPAddress | None) -> bool:
    return address is not None and any(address in network for network in networks)
