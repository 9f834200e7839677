"""How a client that speaks TLS is known on a port without."""

from __future__ import annotations

TLS_HANDSHAKE = 0x16  # the first byte of what it sends (RFC 8446, 5.1)
