"""A byte stream as requests: heads and bodies taken out of it one after the other, no I/O."""

from __future__ import annotations

from attrs import define, field

from .chunked import Chunked
from .codec import Head, Malformed, head_size, parse_head


@define(eq=False, repr=False)
class Reader:
    """`buffer` holds what came and was not taken; whoever fills it bounds it.

    All methods raise `Malformed` for what can't be followed: then take no more.
    """

    _most: int  # bytes of a body
    buffer: bytearray = field(factory=bytearray, init=False)
    head: Head | None = field(default=None, init=False)  # while its body is awaited
    _searched: int = field(default=0, init=False)  # bytes of the buffer that end no head
    _chunked: Chunked | None = field(default=None, init=False)
    _before: Head | None = field(default=None, init=False)  # the last one

    @property
    def empty(self) -> bool:
        """Whether nothing of a request is there yet."""
        return self.head is None and not self.buffer

    def take_head(self) -> Head | None:
        """The next head, once it is all there."""
        if not self.buffer:
            return None
        while self.buffer.startswith(b"\r\n"):
            del self.buffer[:2]  # RFC 9112, 2.2: some clients end a body with one
        before = self._before
        if before is not None and before.block and self.buffer.startswith(before.block):
            self._searched = 0
            del self.buffer[: len(before.block)]
            return before
        size = head_size(self.buffer, max(0, self._searched - 3))
        self._searched = len(self.buffer)
        if size is None:
            return None
        self._searched = 0
        head = self._before = parse_head(bytes(self.buffer[:size]), self._before)
        del self.buffer[:size]
        return head

    def expect_body(self, head: Head) -> None:
        """`take_body` is to give the body of `head`; one that says it is too long is refused here."""
        if head.length is None:
            self._chunked = Chunked(self._most)
        elif head.length > self._most:
            raise Malformed(413, f"A body has at most {self._most} bytes")
        self.head = head

    def take_body(self) -> bytes | None:
        """The body, once it is all there."""
        assert self.head is not None
        if self._chunked is not None:
            if not self._chunked.take(self.buffer):
                return None
            body = bytes(self._chunked.body)
        else:
            length = self.head.length or 0
            if len(self.buffer) < length:
                return None
            body = bytes(self.buffer[:length])
            del self.buffer[:length]
        self.head = self._chunked = None
        return body

    def forget(self) -> None:
        """Nothing of what came is wanted any more."""
        self.buffer.clear()
        self.head = self._chunked = self._before = None
