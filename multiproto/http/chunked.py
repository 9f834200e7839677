"""How a chunked body is understood (RFC 9112, 7.1): pure, strict, bounded.

A body is refused as soon as a chunk announces more than may come, before any
of that chunk is kept.
"""

from __future__ import annotations

import re

from attrs import define, field

from .codec import MAX_FIELD_BYTES, Malformed, parse_field

MAX_SIZE_LINE = 256  # bytes, chunk extensions included

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?")


@define(eq=False, repr=False)
class Chunked:
    """Collects one body of at most `most` bytes."""

    _most: int
    body: bytearray = field(factory=bytearray, init=False)
    _due: int = field(default=0, init=False)  # bytes of this chunk still to come
    _closing: bool = field(default=False, init=False)  # data came: its CRLF is to follow
    _last: bool = field(default=False, init=False)  # only trailers are left
    _trailers: int = field(default=0, init=False)  # bytes of them

    def take(self, buffer: bytearray) -> bool:
        """Move what belongs to the body out of `buffer`; True once it is complete.

        Raises `Malformed`: 400, 413 or 431.
        """
        while True:
            if self._due:
                if not buffer:
                    return False
                part = buffer[: self._due]
                del buffer[: len(part)]
                self.body += part
                self._due -= len(part)
                self._closing = True
                continue
            line = _take_line(buffer, MAX_FIELD_BYTES if self._last else MAX_SIZE_LINE)
            if line is None:
                return False
            if self._closing:
                if line:
                    raise Malformed(400, "A chunk is longer than it said")
                self._closing = False
            elif not self._last:
                self._begin(line)
            elif line:
                self._skip_trailer(line)
            else:
                return True

    def _begin(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise Malformed(400, "Malformed chunk size")
        self._due = int(found[1], 16)
        self._last = not self._due
        if len(self.body) + self._due > self._most:
            raise Malformed(413, f"A body has at most {self._most} bytes")

    def _skip_trailer(self, line: bytes) -> None:
        parse_field(line)
        self._trailers += len(line) + 2
        if self._trailers > MAX_FIELD_BYTES:
            raise Malformed(431, f"Trailer fields have at most {MAX_FIELD_BYTES} bytes")


def _take_line(buffer: bytearray, most: int) -> bytes | None:
    """The next line without its CRLF, taken out of `buffer`, or `None` while it is not all there."""
    end = buffer.find(b"\n", 0, most + 2)
    if end < 0:
        if len(buffer) >= most + 2:
            raise Malformed(400, "A line of a chunked body is too long")
        return None
    line = bytes(buffer[: end + 1])
    if not line.endswith(b"\r\n"):
        raise Malformed(400, "Lines end with CR LF")
    del buffer[: end + 1]
    return line[:-2]
