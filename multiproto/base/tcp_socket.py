"""The socket below a transport, and what the kernel knows of its connection."""

from __future__ import annotations

import socket
from typing import Any

from twisted.protocols.policies import ProtocolWrapper

# States of a TCP connection in Linux, of which the first byte of TCP_INFO is one (tcp(7)).
TCP_CLOSE = 7  # the peer has reset it
TCP_CLOSE_WAIT = 8  # the peer has closed it, or its half of it


def unwrap_transport(transport: Any) -> Any:
    """The transport that owns the socket, below TLS and other wrappers."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def tcp_state(transport: Any) -> int | None:
    """The state of the connection below `transport`, also while that is not read; `None` where it can't be found out."""
    get_handle = getattr(unwrap_transport(transport), "getHandle", None)
    if get_handle is None or not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info: bytes = get_handle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (OSError, AttributeError):  # a UNIX socket, or one that is closed
        return None
    return info[0]
