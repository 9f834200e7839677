"""The frames that a server sends, as pure functions on bytes (RFC 6455, 5)."""

from __future__ import annotations

TEXT, BINARY = 1, 2  # opcodes
MAX_REASON_LENGTH = 123  # bytes that a Close frame holds behind its code


def encode_frame(payload: bytes, opcode: int = TEXT, compressed: bool = False) -> bytes:
    """`payload` in one unmasked frame."""
    first = 0x80 | opcode | (0x40 if compressed else 0)
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 65536:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


def frame_opcode(framed: bytes) -> int:
    """The opcode of a frame made by `encode_frame`."""
    return framed[0] & 15


def frame_payload(framed: bytes) -> bytes:
    """The payload of a frame made by `encode_frame`."""
    return framed[{126: 4, 127: 10}.get(framed[1], 2) :]


def encode_close_reason(text: str) -> bytes:
    """As much of `text` as a Close frame has room for."""
    return text.encode()[:MAX_REASON_LENGTH].decode(errors="ignore").encode()
