"""The header of the PROXY protocol, v1 and v2, as a pure function on bytes.

Its end and its greatest length are determined here, its content by Twisted's
parsers.  Those need the whole header at once, accept v2 headers of 64 KiB and
malformed v1 addresses, and raise other errors than they document.
https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Callable

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser

from ..base.tls_hello import TLS_HANDSHAKE

V1_PREFIX, V2_PREFIX = V1Parser.PROXYSTR + b" ", V2Parser.PREFIX
MAX_V1_SIZE = 107  # bytes, CRLF included (2.1)
MAX_V2_PAYLOAD = 2048  # bytes after the first 16: addresses, and TLVs of the proxy, which are ignored
V2_FIXED_SIZE = 16  # bytes of v2 that are always there

_HTTP_REQUEST = re.compile(rb"[A-Z]{1,7} ?")


class BadProxyHeader(Exception):
    """The bytes are not a PROXY header."""


@frozen
class ProxyHeader:
    """A parsed header; addresses are `None` where the proxy connects for itself, as for a health check."""

    source: IAddress | None
    destination: IAddress | None
    size: int  # bytes


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; `None` while some of it is missing.  Raises `BadProxyHeader`."""
    if _may_start_with(data, V1_PREFIX):
        end = data.find(b"\r\n", 0, MAX_V1_SIZE)
        if end < 0 and len(data) >= MAX_V1_SIZE:
            raise BadProxyHeader
        # The space is for UNKNOWN, after which nothing need follow; Twisted's parser expects something.
        return None if end < 0 else _parse_with_twisted(V1Parser.parse, data[:end] + b" ", end + 2)
    if not _may_start_with(data, V2_PREFIX):
        raise BadProxyHeader
    if len(data) < V2_FIXED_SIZE:
        return None
    size = V2_FIXED_SIZE + int.from_bytes(data[14:V2_FIXED_SIZE], "big")
    if size > V2_FIXED_SIZE + MAX_V2_PAYLOAD:
        raise BadProxyHeader
    return None if len(data) < size else _parse_with_twisted(V2Parser.parse, data[:size], size)


def describe_beginning(data: bytes) -> str:
    """What a connection begins with in place of a header, without quoting it."""
    if data.startswith((V1_PREFIX, V2_PREFIX)):
        return "its PROXY header is malformed"
    if data[0] == TLS_HANDSHAKE:
        return "it begins with TLS, without a PROXY header"
    kind = "an HTTP request" if _HTTP_REQUEST.match(data) else "something else"
    return f"it begins with {kind}, without a PROXY header"


def _may_start_with(data: bytes, prefix: bytes) -> bool:
    return data[: len(prefix)] == prefix[: len(data)]


def _parse_with_twisted(parse: Callable[[bytes], object], header: bytes, size: int) -> ProxyHeader:
    try:
        info: object = parse(header)
    except Exception:  # an InvalidProxyHeader, a ValueError or a KeyError
        raise BadProxyHeader from None
    return ProxyHeader(
        _tcp_address(getattr(info, "source", None)), _tcp_address(getattr(info, "destination", None)), size
    )


def _tcp_address(address: object) -> IAddress | None:
    """`address` in the spelling of `getPeer`; `None` if it is not one of TCP."""
    if not isinstance(address, IPv4Address | IPv6Address) or address.type != "TCP":
        return None
    try:
        host, port = str(ip_address(address.host)), address.port
    except ValueError:
        raise BadProxyHeader from None
    if not 0 <= port <= 65535 or (":" in host) != isinstance(address, IPv6Address):
        raise BadProxyHeader
    return type(address)("TCP", host, port)
