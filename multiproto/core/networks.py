"""Who an address belongs to: whether it may come in, and whether what it says of others is taken."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Union

from attrs import frozen

Address = Union[IPv4Address, IPv6Address]
Network = Union[IPv4Network, IPv6Network]


@lru_cache(maxsize=4096)
def address_of(host: str) -> Address | None:
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

    allow: tuple[Network, ...] = ()  # none: all
    deny: tuple[Network, ...] = ()  # of more weight
    proxies: tuple[Network, ...] = ()  # who may say whom they speak for

    def admits(self, host: str) -> bool:
        """Proxies need not be among `allow`, which is about those they speak for."""
        if not self.allow and not self.deny:
            return True
        address = address_of(host)
        if _in(self.deny, address):
            return False
        return not self.allow or _in(self.allow, address) or _in(self.proxies, address)

    def trusts(self, host: str) -> bool:
        return bool(self.proxies) and _in(self.proxies, address_of(host))


def _in(networks: tuple[Network, ...], address: Address | None) -> bool:
    return address is not None and any(address in network for network in networks)
