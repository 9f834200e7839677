"""Compressed messages whose blocks are final (RFC 7692, 7.2.3.4), as some clients end each message.

Autobahn's decompressor stops at a final block for good: it reads every later
message as empty, and keeps the bytes of all of them.
"""

from __future__ import annotations

import zlib

from autobahn.exception import PayloadCorruptError
from autobahn.websocket.compress import PerMessageDeflate

MAX_FINAL_BLOCKS = 16  # of one message; each costs a new decompressor


class FinalBlockDeflate(PerMessageDeflate):  # type: ignore[misc]
    """Begins anew after each final block."""

    _decompressor: zlib._Decompress
    _final_blocks = 0  # in the message being received
    _has_ended = False  # with a final block, behind which nothing came yet

    @classmethod
    def of(cls, negotiated: PerMessageDeflate) -> FinalBlockDeflate:
        """The same as was negotiated, before its first message."""
        return cls(
            negotiated._is_server,
            negotiated.server_no_context_takeover,
            negotiated.client_no_context_takeover,
            negotiated.server_max_window_bits,
            negotiated.client_max_window_bits,
            negotiated.mem_level,
        )

    def start_decompress_message(self) -> None:
        super().start_decompress_message()
        self._final_blocks, self._has_ended = 0, False

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        """Raises `PayloadExceededError` and `PayloadCorruptError`."""
        self._has_ended = self._has_ended and not data
        output: bytes = super().decompress_message_data(data, max_output_len)
        while self._decompressor.eof:
            self._final_blocks += 1
            if self._final_blocks > MAX_FINAL_BLOCKS:
                raise PayloadCorruptError(f"more than {MAX_FINAL_BLOCKS} final blocks in a message")
            rest = self._decompressor.unused_data
            self._decompressor = zlib.decompressobj(-self.client_max_window_bits)
            self._has_ended = not rest
            if rest:
                remaining = None if max_output_len is None else max_output_len - len(output)
                output += super().decompress_message_data(rest, remaining)
        return output

    def end_decompress_message(self) -> None:
        if not self._has_ended:
            super().end_decompress_message()
