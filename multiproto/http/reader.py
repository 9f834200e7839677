"""A byte stream as requests: heads and bodies taken out of it one after the other, no I/O."""

from __future__ import annotations

from attrs import define, field

from .chunked import ChunkedDecoder
from .codec import HttpProtocolError, RequestHead, head_size, parse_head, repeat_for_other_client


@define(eq=False, repr=False)
class RequestReader:
    """`buffer` holds what came and was not taken; whoever fills it bounds it.

    All methods raise `HttpProtocolError` for what can't be followed: then take no more.
    """

    _max_body_bytes: int  # bytes of a body
    buffer: bytearray = field(factory=bytearray, init=False)
    head: RequestHead | None = field(default=None, init=False)  # while its body is awaited
    _searched_bytes: int = field(default=0, init=False)  # bytes of the buffer that end no head
    _chunked_decoder: ChunkedDecoder | None = field(default=None, init=False)
    _previous_head: RequestHead | None = field(default=None, init=False)  # the last one

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a request is there yet."""
        return self.head is None and not self.buffer

    def read_head(self) -> RequestHead | None:
        """The next head, once it is all there."""
        if not self.buffer:
            return None
        while self.buffer.startswith(b"\r\n"):
            del self.buffer[:2]  # RFC 9112, 2.2: some clients end a body with one
        before = self._previous_head
        if before is not None and before.raw and self.buffer.startswith(before.raw):
            self._searched_bytes = 0
            del self.buffer[: len(before.raw)]
            return before
        head = None if before is None else repeat_for_other_client(before, self.buffer)
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
        """`read_body` is to give the body of `head`; one that says it is too long is refused here."""
        if head.length is None:
            self._chunked_decoder = ChunkedDecoder(self._max_body_bytes)
        elif head.length > self._max_body_bytes:
            raise HttpProtocolError(413, f"A body has at most {self._max_body_bytes} bytes")
        self.head = head

    def read_body(self) -> bytes | None:
        """The body, once it is all there."""
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
        """Nothing of what came is wanted any more."""
        self.buffer.clear()
        self.head = self._chunked_decoder = self._previous_head = None
