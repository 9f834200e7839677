"""Whether the client at the other end of a connection is still there, as far as the kernel knows."""

from __future__ import annotations

import socket
from enum import Enum, auto
from typing import Any

# States of a TCP connection in Linux, of which the first byte of TCP_INFO is one (tcp(7)).
TCP_CLOSE = 7  # the peer has reset it
TCP_CLOSE_WAIT = 8  # the peer has closed it, or its half of it


class ClientPresence(Enum):
    PRESENT = auto()
    GONE = auto()
    ASKED = auto()  # it was sent something just now; if it has left, its system says so in a moment


def tcp_state(transport: Any) -> int | None:
    """The state of the connection below `transport`, also while that is not read; `None` where it can't be found out."""
    get_handle = getattr(transport, "getHandle", None)
    if get_handle is None or not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info: bytes = get_handle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (OSError, AttributeError):  # a UNIX socket, or one that is closed
        return None
    return info[0]
