"""Notes how far this instance has delivered the log, for the others: what it has not delivered is not pruned.

Several instances share a log, and any of them prunes it.  One that is halted
for a while, or slow, would never deliver what was pruned meanwhile.  So each
notes its position every few seconds, and pruning stays behind the slowest.  One
that has ended without saying so holds it up for `ALIVE_FOR` seconds; if it wakes
later than that, its follower finds a hole in the log.
"""

from __future__ import annotations

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import Refusal
from ..core.ports import LogStore
from ..core.pubsub.dispatcher import Dispatcher
from ..core.transactions import Query, Step, Unit

INTERVAL = 5  # seconds between two notes
ALIVE_FOR = 120  # seconds after its last note for which an instance counts as alive


@define(eq=False, repr=False)
class InstancePositions(Service):
    """The positions of all instances on one PostgreSQL; started before the follower, stopped after it."""

    _store: LogStore
    _dispatcher: Dispatcher
    _clock: IReactorTime
    _id: str  # of this instance, since its start
    _loop: LoopingCall = field(init=False)

    _log = Logger()

    @_loop.default
    def _make_loop(self) -> LoopingCall:
        loop = LoopingCall(self._start_noting)
        loop.clock = self._clock
        return loop

    def startService(self) -> Deferred[None]:
        """Fires once others know that this instance is there: from the present head on, it needs the log."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Fires once others know that this instance needs nothing any more."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        gone = Unit((Step("instance_gone", {"id": self._id}),))
        return Deferred.fromCoroutine(self._commit(gone)).addErrback(self._note_failed)

    async def slowest(self) -> int | None:
        """The position up to which all living instances have delivered the log; `None` where none is known to live."""
        rows = (await self._store.read(Query("instances_slowest", {"age": ALIVE_FOR}))).results[0]
        position: int | None = rows[0]["position"]
        return position

    async def _start(self) -> None:
        await self._commit(
            Unit((Step("instances_forget", {"age": ALIVE_FOR}), self._seen_step(self._store.newest)))
        )
        self._loop.start(INTERVAL, now=False)

    def _start_noting(self) -> Deferred[None]:
        seen = Unit((self._seen_step(self._dispatcher.position),))
        return Deferred.fromCoroutine(self._commit(seen)).addErrback(self._note_failed)

    def _seen_step(self, position: int) -> Step:
        return Step("instance_seen", {"id": self._id, "position": position})

    async def _commit(self, unit: Unit) -> None:
        await self._store.commit(unit)

    def _note_failed(self, failure: Failure) -> None:
        """The database is away; a failure that went on would end the loop, or the shutdown."""
        if not failure.check(Refusal):
            self._log.failure("could not note the position", failure)
