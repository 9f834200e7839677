"""Who counts as one address."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Union

from attrs import frozen

# Who an address belongs to: whether it may come in, and whether what it says of others is taken.


@lru_cache(4096)  # it is asked for with each request
def client_network(host: str) -> str:
    """For IPv6 a whole /64, since that is what one customer has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # a UNIX socket has none
    if isinstance(address, ipaddress.IPv4Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))


IPAddress = Union[IPv4Address, IPv6Address]
IPNetwork = Union[IPv4Network, IPv6Network]


@lru_cache(maxsize=4096)
def parse_address(host: str) -> IPAddress | None:
    """`host` as an address, of IPv4 wherever it is one in IPv6's clothes; `None` where it is none.

    A UNIX socket's peer has none.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@frozen
class AddressRules:
    """By networks.  Without any, all may come in and nobody is a proxy."""

    allow: tuple[IPNetwork, ...] = ()  # none: all
    deny: tuple[IPNetwork, ...] = ()  # of more weight
    trusted_proxies: tuple[IPNetwork, ...] = ()  # who may say whom they speak for

    def is_allowed(self, host: str) -> bool:
        """Proxies need not be among `allow`, which is about those they speak for."""
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
