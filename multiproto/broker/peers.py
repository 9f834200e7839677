"""Whether the other instances are on the same Redis, proved through the log that all share.

With each canary an instance publishes an announcement through Redis, and writes
the announcement's number into the log.  An instance that reads the number there
and has not received the announcement is on another Redis than the one who wrote
it: a former master, another database, another server behind the same name.
docs/decisions/030-the-way-to-other-instances.md
"""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..base.bounded_map import BoundedMap

GRACE = 1.0  # seconds by which an announcement may come later than its number
FORGET_AFTER = 10.0  # seconds without a canary after which an instance has ended
MAX_PEERS = 1000  # instances that are remembered


@define(eq=False, repr=False)
class _Peer:
    received: int = 0  # the sequence number of the last announcement through Redis
    logged: int = 0  # the number in its last canary; 0 for none: it has no Redis itself
    logged_at: float = 0.0  # the clock's seconds
    is_missing: bool = False
    check_call: IDelayedCall | None = None  # looks whether the announcement of the last canary came

    def cancel_check(self) -> None:
        if self.check_call is not None:
            self.check_call.cancel()
            self.check_call = None


@define(eq=False, repr=False)
class Peers:
    """The other instances, by what they say in the log and through Redis."""

    _clock: IReactorTime
    _would_receive: Callable[[float], bool]  # whether this instance was subscribed for that many seconds
    _on_missing: Callable[[], object]  # called when one more is missing
    _peers: BoundedMap[str, _Peer] = field(factory=lambda: BoundedMap(MAX_PEERS), init=False)

    @property
    def missing(self) -> int:
        """How many instances are on another Redis."""
        return sum(peer.is_missing for peer in self._present())

    @property
    def reached(self) -> int:
        """How many are on this one."""
        return sum(peer.logged > 0 and not peer.is_missing for peer in self._present())

    def on_received(self, instance: str, number: int) -> None:
        """An announcement came through Redis."""
        peer = self._peer(instance)
        peer.received = max(peer.received, number)
        if peer.received >= peer.logged:
            peer.is_missing = False

    def on_logged(self, instance: str, number: int) -> None:
        """A canary came through the log."""
        peer = self._peer(instance)
        before = peer.logged
        peer.logged, peer.logged_at = number, self._clock.seconds()
        if number == before == 0:  # once may be while it connects anew, to find us
            peer.is_missing = False
        elif peer.received < number and peer.check_call is None:
            peer.check_call = self._clock.callLater(GRACE, self._check, peer, number)

    def stop(self) -> None:
        """Check nothing any more."""
        for instance in list(self._peers):
            peer = self._peers.pop(instance)
            if peer is not None:
                peer.cancel_check()

    def _check(self, peer: _Peer, number: int) -> None:
        peer.check_call = None
        if peer.received < number <= peer.logged and not peer.is_missing and self._would_receive(2 * GRACE):
            peer.is_missing = True
            self._on_missing()

    def _present(self) -> list[_Peer]:
        since = self._clock.seconds() - FORGET_AFTER
        peers = [self._peers.get(instance) for instance in list(self._peers)]
        return [peer for peer in peers if peer is not None and peer.logged_at > since]

    def _peer(self, instance: str) -> _Peer:
        peer = self._peers.get(instance)
        if peer is None:
            peer = _Peer()
            for _, evicted in self._peers.put(instance, peer):
                evicted.cancel_check()
        return peer
