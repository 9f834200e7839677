"""Whom a request comes from, and how, where proxies that are trusted carried it."""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from ..core.addresses import AddressRules, parse_address
from ..core.errors import Forbidden, InvalidInput
from .codec import RequestHead

_FORWARDED_ADDRESS = re.compile(
    r"(?P<v4>[0-9.]{7,15})(:[0-9]{1,5})?"
    r"|\[(?P<bracketed>[0-9a-fA-F:.]{2,45})\](:[0-9]{1,5})?"
    r"|(?P<v6>[0-9a-fA-F:.]{2,45})"
)


_FORWARDED_FOR, _FORWARDED_PROTO = b"x-forwarded-for", b"x-forwarded-proto"


@frozen
class ForwardedClient:
    address: IAddress
    secure: bool | None = None  # whether the client spoke TLS; `None` where nobody said


def resolve_client(head: RequestHead, peer: IAddress, rules: AddressRules) -> ForwardedClient:
    """The client at the other end of `peer`'s connection, as far back as trusted proxies vouch for it.

    Each proxy appends whom it heard the request from, so the first address from
    the right that is no proxy's is the client's; what stands left of it, anyone
    can write.  Raises `InvalidInput` for what a trusted proxy should not have
    written: who would it be that limits count for?
    """
    if not rules.is_trusted_proxy(getattr(peer, "host", "")):
        return ForwardedClient(peer)
    client = peer
    for member in reversed(b",".join(head.values(_FORWARDED_FOR)).decode("latin-1").split(",")):
        if not (named := member.strip()):
            continue
        client = _parse_address(named)
        if not rules.is_trusted_proxy(client.host):
            break
    scheme = b",".join(head.values(_FORWARDED_PROTO)).rpartition(b",")[2].strip().lower()
    return ForwardedClient(client, scheme == b"https" if scheme in (b"http", b"https") else None)


@lru_cache(4096)  # a proxy names the same clients again and again
def _parse_address(member: str) -> IPv4Address | IPv6Address:
    """An address, perhaps with a port, as some proxies write it."""
    found = _FORWARDED_ADDRESS.fullmatch(member)
    address = parse_address(found["v4"] or found["bracketed"] or found["v6"]) if found else None
    if address is None:
        raise InvalidInput("X-Forwarded-For holds what is no address")
    kind = IPv4Address if address.version == 4 else IPv6Address
    return kind("TCP", str(address), 0)


def resolve_admitted_client(head: RequestHead, peer: IAddress, rules: AddressRules) -> ForwardedClient:
    """`resolve_client`, for one who may ask at all.  Raises `InvalidInput`, `Forbidden`."""
    origin = resolve_client(head, peer, rules)
    if not rules.is_allowed(str(getattr(origin.address, "host", ""))):
        raise Forbidden("This address may not come in")
    return origin
