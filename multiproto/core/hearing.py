"""How a session hears: what its owner may read, while it lasts, goes to its outbox.

This runs for each delivery, thousands of times a turn.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ..observe.traffic import ProtocolStats
from .outbox import SendQueue
from .ports import DeliveryBatchListener, Identity, Transport
from .publishing import Publisher
from .wire import Delivery, DeliveryBatch, Farewell, Reply


class Hearing(DeliveryBatchListener):
    """`core.ports.Listener`, for `Session`, which has all that is named here."""

    __slots__ = ()

    identity: Identity | None
    farewell: Farewell | None
    send_queue: SendQueue
    _clock: IReactorTime
    _transport: Transport
    _publisher: Publisher
    _stats: ProtocolStats

    def deliver(self, delivery: Delivery) -> bool:
        # A pattern may cover topics its owner may not read: checked per delivery, where the topic is known.
        if self.identity is None or not self._publisher.policy.may_read(self.identity, delivery.topic):
            return False
        if not self._close_if_expired():
            self.send(delivery)
        return True

    def deliver_batch(self, burst: DeliveryBatch) -> bool | None:
        who = self.identity
        if who is None or not self._publisher.policy.may_read(who, burst.topic):
            return False
        if (self.farewell or self._clock.seconds() >= who.expires_at) and self._close_if_expired():
            return True
        size = 0 if self.send_queue.is_blocked else self._transport.send_batch(burst)
        if not size:
            return None
        self._stats.record_sent("Delivery", size, len(burst.deliveries))
        return True

    async def wait_until_writable(self) -> None:
        while self.send_queue.is_blocked:  # another replay may have clogged it since
            await self.send_queue.flushed()

    def deliver_replayed(self, delivery: Delivery) -> bool:
        if not self._close_if_expired():
            self.send(delivery)
        return self.farewell is None

    def send(self, reply: Reply | None) -> None:
        raise NotImplementedError

    def _close_if_expired(self) -> bool:
        raise NotImplementedError
