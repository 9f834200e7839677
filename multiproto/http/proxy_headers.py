"""Finds the client's address and scheme behind trusted proxies, by the headers that these add."""

from __future__ import annotations

import re

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from ..base.bounded_map import BoundedMap
from ..base.client_network import parse_address
from ..core.addresses import AddressRules
from ..core.errors import Forbidden, InvalidInput
from .codec import FORWARDED_FOR, RequestHead

_FORWARDED_ADDRESS = re.compile(
    r"(?P<v4>[0-9.]{7,15})(:[0-9]{1,5})?"
    r"|\[(?P<bracketed>[0-9a-fA-F:.]{2,45})\](:[0-9]{1,5})?"
    r"|(?P<v6>[0-9a-fA-F:.]{2,45})"
)

_FORWARDED_PROTO = b"x-forwarded-proto"
MAX_REMEMBERED_CLIENTS = 4096
MAX_REMEMBERED_FORWARDED = 256  # bytes of a forwarding header that is remembered


@frozen
class ForwardedClient:
    """A client as trusted proxies report it."""

    address: IAddress
    secure: bool | None = None  # whether the client used TLS; `None` if no proxy reports it


@define(eq=False, repr=False)
class ClientResolver:
    """Finds the client of a request, and caches the results: a proxy names the same clients repeatedly."""

    _rules: AddressRules
    _remembered: BoundedMap[tuple[str, bytes, bytes], ForwardedClient] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._remembered = BoundedMap(MAX_REMEMBERED_CLIENTS)

    def resolve(self, head: RequestHead, peer: IAddress) -> ForwardedClient:
        """The client of the request.  Raises `InvalidInput`, or `Forbidden` if its address is not allowed.

        Each trusted proxy appends the address that it received the request from.  So the
        client is the first address from the right that is no trusted proxy's; what stands
        left of it can be forged.  A malformed address is refused, because rate limits
        could not be counted for it.
        """
        host = str(getattr(peer, "host", ""))
        forwarded = b",".join(head.values(FORWARDED_FOR))
        if not forwarded or len(forwarded) > MAX_REMEMBERED_FORWARDED:
            return self._resolve(head, peer, forwarded)
        key = host, forwarded, _forwarded_scheme(head)
        found = self._remembered.get(key)
        if found is None:
            found = self._resolve(head, peer, forwarded)
            if found.address is not peer:  # the peer's port differs in each connection
                self._remembered.put(key, found)
        return found

    def _resolve(self, head: RequestHead, peer: IAddress, forwarded: bytes) -> ForwardedClient:
        found = self._follow(head, peer, forwarded)
        if not self._rules.is_allowed(str(getattr(found.address, "host", ""))):
            raise Forbidden("This address may not come in")
        return found

    def _follow(self, head: RequestHead, peer: IAddress, forwarded: bytes) -> ForwardedClient:
        if not self._rules.is_trusted_proxy(getattr(peer, "host", "")):
            return ForwardedClient(peer)
        client = peer
        for member in reversed(forwarded.decode("latin-1").split(",")):
            if not (named := member.strip()):
                continue
            client = _parse_address(named)
            if not self._rules.is_trusted_proxy(client.host):
                break
        scheme = _forwarded_scheme(head)
        return ForwardedClient(client, scheme == b"https" if scheme in (b"http", b"https") else None)


def _forwarded_scheme(head: RequestHead) -> bytes:
    """The client's scheme, as the last proxy reports it."""
    return b",".join(head.values(_FORWARDED_PROTO)).rpartition(b",")[2].strip().lower()


def _parse_address(member: str) -> IPv4Address | IPv6Address:
    """Parse an address; some proxies write a port behind it, which is dropped."""
    found = _FORWARDED_ADDRESS.fullmatch(member)
    address = parse_address(found["v4"] or found["bracketed"] or found["v6"]) if found else None
    if address is None:
        raise InvalidInput("X-Forwarded-For holds what is no address")
    kind = IPv4Address if address.version == 4 else IPv6Address
    return kind("TCP", str(address), 0)
