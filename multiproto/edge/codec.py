"""The header of the PROXY protocol, v1 and v2, as a pure function on bytes.

Where it ends, and how long it may be, is decided here; what it says, Twisted's
parsers tell.  Theirs need the first bytes in one piece, take v2 headers of 64
KiB and v1 addresses that are none, and fail in other ways than they say.
https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Callable

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser

V1, V2 = V1Parser.PROXYSTR + b" ", V2Parser.PREFIX
MAX_V1 = 107  # bytes, CRLF included (2.1)
MAX_V2 = 2048  # bytes behind the first 16: addresses, and what proxies tell in TLVs, which nobody reads here
HEAD = 16  # bytes of v2 that are always there


class Malformed(Exception):
    """No such header."""


@frozen
class Header:
    """Addresses are `None` where the proxy speaks for itself, as when it asks for our health."""

    source: IAddress | None
    destination: IAddress | None
    size: int  # bytes


def parse(data: bytes) -> Header | None:
    """The header that `data` begins with; `None` while some of it is missing.  Raises `Malformed`."""
    if _may_become(data, V1):
        end = data.find(b"\r\n", 0, MAX_V1)
        if end < 0 and len(data) >= MAX_V1:
            raise Malformed
        # The space is for UNKNOWN, behind which nothing need follow; Twisted's wants something.
        return None if end < 0 else _told(V1Parser.parse, data[:end] + b" ", end + 2)
    if not _may_become(data, V2):
        raise Malformed
    if len(data) < HEAD:
        return None
    size = HEAD + int.from_bytes(data[14:HEAD], "big")
    if size > HEAD + MAX_V2:
        raise Malformed
    return None if len(data) < size else _told(V2Parser.parse, data[:size], size)


def _may_become(data: bytes, prefix: bytes) -> bool:
    return data[: len(prefix)] == prefix[: len(data)]


def _told(read: Callable[[bytes], object], header: bytes, size: int) -> Header:
    try:
        info: object = read(header)
    except Exception:  # an InvalidProxyHeader, a ValueError or a KeyError, as it comes
        raise Malformed from None
    return Header(_address(getattr(info, "source", None)), _address(getattr(info, "destination", None)), size)


def _address(told: object) -> IAddress | None:
    """In the spelling that `getPeer` has; what is no TCP address says nothing of a client."""
    if not isinstance(told, IPv4Address | IPv6Address) or told.type != "TCP":
        return None
    try:
        host, port = str(ip_address(told.host)), told.port
    except ValueError:
        raise Malformed from None
    if not 0 <= port <= 65535 or (":" in host) != isinstance(told, IPv6Address):
        raise Malformed
    return type(told)("TCP", host, port)
