"""The transport of a connection that is lost: whatever still comes to an end calls it in vain."""

from __future__ import annotations

from ..protocol import DeliveryBatch, Farewell, Reply


class NoTransport:
    """A `core.ports.Transport` that refers to nothing."""

    pauses_for_login = False

    def send(self, reply: Reply) -> int:
        return 0

    def send_batch(self, batch: DeliveryBatch) -> int:
        return 0

    def size_of(self, reply: Reply) -> int:
        return 0

    def close(self, farewell: Farewell) -> None: ...
    def abort(self) -> None: ...
    def acknowledged_bytes(self) -> None: ...
    def limit_unsent(self, limited: bool) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
