"""Who counts as one address."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


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
