"""Cuts the byte stream of a connection into the heads and bodies of requests, without I/O."""

from __future__ import annotations

from attrs import define, field

from .chunked import ChunkedDecoder
from .codec import HttpProtocolError, RequestHead, head_size, parse_head, repeat_for_other_client


@define(eq=False, repr=False)
class RequestReader:
    """Cuts a byte stream into heads and bodies; the caller bounds `buffer`.

    All methods raise `HttpProtocolError` for malformed input, after which nothing more can be read.
    """

    _max_body_bytes: int  # bytes of a body
    buffer: bytearray = field(factory=bytearray, init=False)
    head: RequestHead | None = field(default=None, init=False)  # of the request whose body is read next
    _searched_bytes: int = field(default=0, init=False)  # bytes of the buffer without the end of a head
    _chunked_decoder: ChunkedDecoder | None = field(default=None, init=False)
    _previous_head: RequestHead | None = field(default=None, init=False)

    @property
    def is_empty(self) -> bool:
        """Whether no part of a request has been received."""
        return self.head is None and not self.buffer

    def read_head(self) -> RequestHead | None:
        """The next head, or `None` while it is incomplete."""
        if not self.buffer:
            return None
        while self.buffer.startswith(b"\r\n"):
            del self.buffer[:2]  # RFC 9112, 2.2: some clients end a body with one
        previous = self._previous_head
        if previous is not None and previous.raw and self.buffer.startswith(previous.raw):
            self._searched_bytes = 0
            del self.buffer[: len(previous.raw)]
            return previous
        head = None if previous is None else repeat_for_other_client(previous, self.buffer)
        if head is not None:
            self._searched_bytes = 0
            self._previous_head = head
            del self.buffer[: len(head.raw)]
            return head
        size = head_size(self.buffer, max(0, self._searched_bytes - 3))
        self._searched_bytes = len(self.buffer)
        if size is None:
            return None
        self._searched_bytes = 0
        head = self._previous_head = parse_head(bytes(self.buffer[:size]), self._previous_head)
        del self.buffer[:size]
        return head

    def expect_body(self, head: RequestHead) -> None:
        """Make `read_body` return the body of `head`; raises if it is too long."""
        if head.length is None:
            self._chunked_decoder = ChunkedDecoder(self._max_body_bytes)
        elif head.length > self._max_body_bytes:
            raise HttpProtocolError(413, f"A body has at most {self._max_body_bytes} bytes")
        self.head = head

    @property
    def is_chunked(self) -> bool:
        """Whether the body that is read next is chunked: then reading it may take long."""
        return self._chunked_decoder is not None

    @property
    def is_interrupted(self) -> bool:
        """Whether the buffer may hold more of the body that `read_body` has found incomplete."""
        return self._chunked_decoder is not None and self._chunked_decoder.is_interrupted

    def read_body(self) -> bytes | None:
        """The body, or `None` while it is incomplete; it gives up after some work where `is_interrupted`."""
        assert self.head is not None
        if self._chunked_decoder is not None:
            if not self._chunked_decoder.decode(self.buffer):
                return None
            body = bytes(self._chunked_decoder.body)
        else:
            length = self.head.length or 0
            if len(self.buffer) < length:
                return None
            body = bytes(self.buffer[:length])
            del self.buffer[:length]
        self.head = self._chunked_decoder = None
        return body

    def discard(self) -> None:
        """Drop everything received."""
        self.buffer.clear()
        self.head = self._chunked_decoder = self._previous_head = None
