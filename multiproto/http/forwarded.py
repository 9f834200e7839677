"""Whom a request comes from, and how, where proxies that are trusted carried it."""

from __future__ import annotations

import re

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers

from ..core.errors import Forbidden, InvalidInput
from ..core.networks import AddressRules, address_of

_MEMBER = re.compile(
    r"(?P<v4>[0-9.]{7,15})(:[0-9]{1,5})?"
    r"|\[(?P<bracketed>[0-9a-fA-F:.]{2,45})\](:[0-9]{1,5})?"
    r"|(?P<v6>[0-9a-fA-F:.]{2,45})"
)


@frozen
class Origin:
    address: IAddress
    secure: bool | None = None  # whether the client spoke TLS; `None` where nobody said


def origin_of(headers: Headers, peer: IAddress, rules: AddressRules) -> Origin:
    """The client at the other end of `peer`'s connection, as far back as trusted proxies vouch for it.

    Each proxy appends whom it heard the request from, so the first address from
    the right that is no proxy's is the client's; what stands left of it, anyone
    can write.  Raises `InvalidInput` for what a trusted proxy should not have
    written: who would it be that limits count for?
    """
    if not rules.trusts(getattr(peer, "host", "")):
        return Origin(peer)
    listed = ",".join(_text(headers, b"X-Forwarded-For")).split(",")
    client = peer
    for member in reversed([each.strip() for each in listed if each.strip()]):
        client = _address(member)
        if not rules.trusts(client.host):
            break
    schemes = [each.strip().lower() for each in ",".join(_text(headers, b"X-Forwarded-Proto")).split(",")]
    return Origin(client, schemes[-1] == "https" if schemes[-1] in ("http", "https") else None)


def _text(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for value in headers.getRawHeaders(name, ())]


def _address(member: str) -> IPv4Address | IPv6Address:
    """An address, perhaps with a port, as some proxies write it."""
    found = _MEMBER.fullmatch(member)
    address = address_of(found["v4"] or found["bracketed"] or found["v6"]) if found else None
    if address is None:
        raise InvalidInput("X-Forwarded-For holds what is no address")
    kind = IPv4Address if address.version == 4 else IPv6Address
    return kind("TCP", str(address), 0)


def admitted(headers: Headers, peer: IAddress, rules: AddressRules) -> Origin:
    """`origin_of`, for one who may ask at all.  Raises `InvalidInput`, `Forbidden`."""
    origin = origin_of(headers, peer, rules)
    if not rules.admits(str(getattr(origin.address, "host", ""))):
        raise Forbidden("This address may not come in")
    return origin
