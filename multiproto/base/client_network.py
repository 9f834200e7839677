"""What counts as one client where something is limited by address: an IPv4 address, or a whole /64 of IPv6."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NewType, Union

IPAddress = Union[IPv4Address, IPv6Address]
ClientNetwork = NewType("ClientNetwork", str)  # the key of everything that is limited by address


@lru_cache(4096)  # it is needed with each request
def client_network(host: str) -> ClientNetwork:
    """The network that counts as one client: an IPv4 address, or a whole /64 of IPv6, since that is what one customer has."""
    address = parse_address(host)
    if address is None:
        return ClientNetwork(host)  # a UNIX socket has none
    network = address if address.version == 4 else ip_network((address, 64), strict=False)
    return ClientNetwork(str(network))


@lru_cache(4096)
def parse_address(host: str) -> IPAddress | None:
    """`host` as an address, IPv4-mapped IPv6 as IPv4; `None` where it is none, as with a UNIX socket."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
