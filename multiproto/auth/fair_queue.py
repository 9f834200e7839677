"""A bounded queue of which one address or one user has a share, by turns with the others.

First each network has its turn, then each of its users: an office where one
person has much waiting serves the others of that office in between, and a
thousand accounts of one address are that address.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Container, Generic, TypeVar

from attrs import Factory, define, frozen

from ..base.client_network import ClientNetwork
from ..base.round_robin import RoundRobinQueue
from ..core.client_info import Requester
from ..core.errors import RateLimited, Unavailable

T = TypeVar("T")


@frozen
class _Waiting(Generic[T]):
    item: T
    requester: Requester


@define(eq=False, repr=False)
class FairQueue(Generic[T]):
    _max_waiting: int
    _max_waiting_per_network: int
    _max_waiting_per_user: int  # from all networks; those who have not authenticated are no user
    # The next one comes first.
    _networks: OrderedDict[ClientNetwork, RoundRobinQueue[_Waiting[T]]] = Factory(OrderedDict)
    _count_by_user: Counter[str] = Factory(Counter)
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def check_capacity(self, requester: Requester) -> None:
        """Raise `RateLimited` when all places of the requester are taken, `Unavailable` when all there are.

        Of a full queue, a network that has two places fewer than another may have one of those.
        """
        count = self.count_of(requester.network)
        if (
            count >= self._max_waiting_per_network
            or self._count_by_user[requester.user_id] >= self._max_waiting_per_user
        ):
            raise too_many_at_once()
        if self._count >= self._max_waiting and self.count_of(self._greediest()) < count + 2:
            raise Unavailable("Too many logins at once; try again in a moment")

    def enqueue(self, item: T, requester: Requester) -> T | None:
        """Queue `item`; returns the one that lost its place to it, if any.  Raises what `check_capacity` raises."""
        self.check_capacity(requester)
        displaced = self._displace() if self._count >= self._max_waiting else None
        queue = self._networks.setdefault(requester.network, RoundRobinQueue())
        queue.enqueue(_Waiting(item, requester), requester.user_id)
        self._count += 1
        if requester.user_id:
            self._count_by_user[requester.user_id] += 1
        return displaced

    def dequeue(self, without: Container[ClientNetwork] = ()) -> T | None:
        """The oldest item of the user whose turn it is, of the network whose turn it is and that is not in `without`."""
        network = next((each for each in self._networks if each not in without), None)
        if network is None:
            return None
        queue = self._networks.pop(network)
        waiting = queue.dequeue()
        assert waiting is not None, "an empty queue is not kept"
        if queue:
            self._networks[network] = queue  # behind all others
        return self._forget(waiting)

    def _displace(self) -> T:
        """Remove the newest item of the network that has most waiting."""
        network = self._greediest()
        waiting = self._networks[network].pop_newest()
        if not self._networks[network]:
            del self._networks[network]
        return self._forget(waiting)

    def _forget(self, waiting: _Waiting[T]) -> T:
        self._count -= 1
        user = waiting.requester.user_id
        if user:
            self._count_by_user[user] -= 1
            if not self._count_by_user[user]:
                del self._count_by_user[user]
        return waiting.item

    def count_of(self, network: ClientNetwork) -> int:
        """How many items of `network` wait."""
        return len(self._networks.get(network, ()))

    def _greediest(self) -> ClientNetwork:
        return max(self._networks, key=self.count_of)


def too_many_at_once() -> RateLimited:
    return RateLimited("Too many logins at once from this address or user", retry_after=1.0)
