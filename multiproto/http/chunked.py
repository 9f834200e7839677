"""Decodes a chunked body (RFC 9112, 7.1): pure, strict, bounded.

A body is refused as soon as the size of a chunk exceeds the limit, before any
of that chunk is buffered.
"""

from __future__ import annotations

import re

from attrs import define, field

from .codec import MAX_FIELD_BYTES, HttpProtocolError, parse_field

MAX_CHUNK_SIZE_LINE = 256  # bytes, chunk extensions included
MAX_STEPS = 1000  # lines and pieces of data in one call of `decode`, of some 1 µs each
CARRIAGE_RETURN = ord("\r")

_CHUNK_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?")


@define(eq=False, repr=False)
class ChunkedDecoder:
    """Collects one body of at most `max_bytes` bytes."""

    _max_bytes: int
    body: bytearray = field(factory=bytearray, init=False)
    # The last call has taken as many steps as one may.
    is_interrupted: bool = field(default=False, init=False)
    _chunk_remaining: int = field(default=0, init=False)  # bytes of this chunk still to come
    _awaiting_crlf: bool = field(default=False, init=False)  # the chunk's data is complete; its CRLF follows
    _in_trailers: bool = field(default=False, init=False)  # only trailers are left
    _trailer_bytes: int = field(default=0, init=False)  # bytes of them

    def decode(self, buffer: bytearray) -> bool:
        """Move the bytes of the body out of `buffer`; returns whether the body is complete.

        Where it is not, and `is_interrupted`, the buffer may hold more of it: it is to be called again.
        Raises `HttpProtocolError`: 400, 413 or 431.
        """
        start, self.is_interrupted = 0, False
        for _ in range(MAX_STEPS):
            if self._chunk_remaining:
                part = buffer[start : start + self._chunk_remaining]
                if not part:
                    break
                start += len(part)
                self.body += part
                self._chunk_remaining -= len(part)
                self._awaiting_crlf = True
                continue
            line = _read_line(buffer, start, MAX_FIELD_BYTES if self._in_trailers else MAX_CHUNK_SIZE_LINE)
            if line is None:
                break
            start += len(line) + 2
            if self._awaiting_crlf:
                if line:
                    raise HttpProtocolError(400, "A chunk is longer than it said")
                self._awaiting_crlf = False
            elif not self._in_trailers:
                self._start_chunk(line)
            elif line:
                self._skip_trailer(line)
            else:
                del buffer[:start]
                return True
        else:
            self.is_interrupted = True
        del buffer[:start]
        return False

    def _start_chunk(self, line: bytes) -> None:
        found = _CHUNK_SIZE_LINE.fullmatch(line)
        if found is None:
            raise HttpProtocolError(400, "Malformed chunk size")
        self._chunk_remaining = int(found[1], 16)
        self._in_trailers = not self._chunk_remaining
        if len(self.body) + self._chunk_remaining > self._max_bytes:
            raise HttpProtocolError(413, f"A body has at most {self._max_bytes} bytes")

    def _skip_trailer(self, line: bytes) -> None:
        parse_field(line)
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MAX_FIELD_BYTES:
            raise HttpProtocolError(431, f"Trailer fields have at most {MAX_FIELD_BYTES} bytes")


def _read_line(buffer: bytearray, start: int, max_length: int) -> bytes | None:
    """The line at `start` of `buffer`, without its CRLF; `None` while it is incomplete."""
    end = buffer.find(b"\n", start, start + max_length + 2)
    if end < 0:
        if len(buffer) - start >= max_length + 2:
            raise HttpProtocolError(400, "A line of a chunked body is too long")
        return None
    if end == start or buffer[end - 1] != CARRIAGE_RETURN:
        raise HttpProtocolError(400, "Lines end with CR LF")
    return bytes(buffer[start : end - 1])
