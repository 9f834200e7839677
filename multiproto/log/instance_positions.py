"""Notes how far this instance has delivered the log, for the others: what it has not delivered is not pruned.

Several instances share a log, and any of them prunes it.  One that is halted
for a while, or slow, would never deliver what was pruned meanwhile.  So each
notes its position every few seconds, and pruning stays behind the slowest.  One
that has ended without saying so holds it up for `ALIVE_FOR` seconds; if it wakes
later than that, its follower finds a hole in the log.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..core.ports import LogStore
from ..core.pubsub.dispatcher import Dispatcher
from ..core.transactions import Query, Step, Unit
from .periodic import PeriodicService

INTERVAL = 5  # seconds between two notes
ALIVE_FOR = 120  # seconds after its last note for which an instance counts as alive


@define(eq=False, repr=False)
class InstancePositions(PeriodicService):
    """The positions of all instances on one PostgreSQL; started before the follower, stopped after it.

    A start fires once others know that this instance is there: from the present head on, it needs the log.
    """

    interval, failure_text, logs_refusals = INTERVAL, "could not note the position", False

    _store: LogStore
    _dispatcher: Dispatcher
    _clock: IReactorTime
    _id: str  # of this instance, since its start

    async def prepare(self) -> None:
        await self._commit(Step("instances_forget", {"age": ALIVE_FOR}), self._seen_step(self._store.newest))

    async def run_round(self) -> None:
        await self._commit(self._seen_step(self._dispatcher.position))

    def stopService(self) -> Deferred[None]:
        """Fires once others know that this instance needs nothing any more."""
        super().stopService()
        gone = self._commit(Step("instance_gone", {"id": self._id}))
        return Deferred.fromCoroutine(gone).addErrback(self._round_failed)

    async def slowest(self) -> int | None:
        """The position up to which all living instances have delivered the log; `None` where none is known to live."""
        rows = (await self._store.read(Query("instances_slowest", {"age": ALIVE_FOR}))).results[0]
        position: int | None = rows[0]["position"]
        return position

    def _seen_step(self, position: int) -> Step:
        return Step("instance_seen", {"id": self._id, "position": position})

    async def _commit(self, *steps: Step) -> None:
        await self._store.commit(Unit(steps))
