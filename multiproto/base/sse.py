"""The wire format of server-sent events (HTML standard, section 9.2)."""

from __future__ import annotations

KEEP_ALIVE = b":\n\n"  # a comment, so that clients and proxies do not time out


def format_event(name: bytes, data: bytes, id: bytes | None = None) -> bytes:
    """One event.  `data` is one line: JSON has no line ends."""
    if id is None:
        return b"event: %s\ndata: %s\n\n" % (name, data)
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name, id, data)


def format_comment(text: bytes) -> bytes:
    """What a client does not show; `text` is one line."""
    return b": %s\n\n" % text
