"""The socket below a transport, and what the kernel knows of its connection."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any

from twisted.protocols.policies import ProtocolWrapper

# States of a TCP connection in Linux, of which the first byte of TCP_INFO is one (tcp(7)).
TCP_CLOSE = 7  # the peer has reset it
TCP_CLOSE_WAIT = 8  # the peer has closed it, or its half of it
BYTES_ACKED = struct.Struct("=120xQ")  # in the structure that TCP_INFO gives
UNACKNOWLEDGED = struct.Struct("=24xI116xI")  # there too: segments in flight, and bytes that are not
# Bytes that the kernel takes ahead of what the peer's window has room for, where that is limited: half of it is sent
# within a millisecond at a gigabit per second, and the reactor refills it in its next turn.
MAX_UNSENT = 128 * 1024


def unwrap_transport(transport: Any) -> Any:
    """The transport that owns the socket, below TLS and other wrappers."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def tcp_state(transport: Any) -> int | None:
    """The state of the connection below `transport`, also while that is not read; `None` where it can't be found out."""
    info = _tcp_info(transport, 1)
    return info[0] if info else None


def acknowledged_bytes(transport: Any) -> int | None:
    """How many bytes the peer's kernel has acknowledged so far; `None` where it can't be found out."""
    info = _tcp_info(transport, BYTES_ACKED.size)
    return int(BYTES_ACKED.unpack(info)[0]) if len(info) == BYTES_ACKED.size else None


def has_unacknowledged(transport: Any) -> bool:
    """Whether the kernel has bytes that the peer's kernel has not; False where that can't be found out."""
    info = _tcp_info(transport, UNACKNOWLEDGED.size)
    return len(info) == UNACKNOWLEDGED.size and any(UNACKNOWLEDGED.unpack(info))


def limit_unsent(transport: Any, limited: bool) -> None:
    """Have the kernel take at most `MAX_UNSENT` bytes for which the peer has no room yet, or as many as it likes.

    Usually it takes megabytes, and what it took can't be taken back: a peer that reads slowly then comes to the
    last word minutes later.
    """
    get_handle = getattr(unwrap_transport(transport), "getHandle", None)
    if get_handle is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        most = MAX_UNSENT if limited else 0  # 0: as the system has it
        with suppress(OSError, AttributeError):  # as below
            get_handle().setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most)


def read_now(transport: Any) -> None:
    """Pass on what has come on a plain connection that is read, without waiting for the reactor to find it.

    That it has ended, the reactor finds by itself.
    """
    read = getattr(transport, "doRead", None)
    if read is not None and transport.connected:
        read()


def _tcp_info(transport: Any, size: int) -> bytes:
    """The first `size` bytes of what the kernel knows of the connection; fewer where it does not."""
    get_handle = getattr(unwrap_transport(transport), "getHandle", None)
    if get_handle is None or not hasattr(socket, "TCP_INFO"):
        return b""
    try:
        info: bytes = get_handle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    except (OSError, AttributeError):  # a UNIX socket, or one that is closed
        return b""
    return info
