"""Network addresses: which count as one client's, which may connect, and which are trusted proxies."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Union

from attrs import frozen

IPAddress = Union[IPv4Address, IPv6Address]
IPNetwork = Union[IPv4Network, IPv6Network]


@lru_cache(4096)  # it is needed with each request
def client_network(host: str) -> str:
    """The network that counts as one client: an IPv4 address, or a whole /64 of IPv6, since that is what one customer has."""
    address = parse_address(host)
    if address is None:
        return host  # a UNIX socket has none
    return str(address if address.version == 4 else ip_network((address, 64), strict=False))


@lru_cache(4096)
def parse_address(host: str) -> IPAddress | None:
    """`host` as an address, IPv4-mapped IPv6 as IPv4; `None` where it is none, as with a UNIX socket."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


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
