"""How a session hears: what its owner may read, while it lasts, goes to its outbox.

This runs for each delivery, thousands of times a turn.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ..observe.traffic import Traffic
from .outbox import Outbox
from .ports import BurstListener, Identity, Peer
from .publishing import Publisher
from .wire import Burst, Delivery, Farewell, Reply


class Hearing(BurstListener):
    """`core.ports.Listener`, for `Session`, which has all that is named here."""

    __slots__ = ()

    identity: Identity | None
    ended: Farewell | None
    outbox: Outbox
    _clock: IReactorTime
    _peer: Peer
    _publisher: Publisher
    _traffic: Traffic

    def hear(self, delivery: Delivery) -> bool:
        # A pattern may cover topics its owner may not read: checked per delivery, where the topic is known.
        if self.identity is None or not self._publisher.policy.may_read(self.identity, delivery.topic):
            return False
        if not self._expired():
            self.send(delivery)
        return True

    def hear_all(self, burst: Burst) -> bool | None:
        who = self.identity
        if who is None or not self._publisher.policy.may_read(who, burst.topic):
            return False
        if (self.ended or self._clock.seconds() >= who.until) and self._expired():
            return True
        size = 0 if self.outbox.waits else self._peer.send_all(burst)
        if not size:
            return None
        self._traffic.sent("Delivery", size, len(burst.deliveries))
        return True

    async def ready(self) -> None:
        while self.outbox.waits:  # another replay may have clogged it since
            await self.outbox.emptied()

    def replay(self, delivery: Delivery) -> bool:
        if not self._expired():
            self.send(delivery)
        return self.ended is None

    def send(self, reply: Reply | None) -> None:
        raise NotImplementedError

    def _expired(self) -> bool:
        raise NotImplementedError
