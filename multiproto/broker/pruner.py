"""Forgets what the log was told to keep only so long, or only so much of; and rows that are of no use any more.

In bites that leave the writer free for others in between, each with the floor
it raises in one transaction: a client whose cursor is below a floor is told.
"""

from __future__ import annotations

from typing import Any, Callable

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.audience import Audience
from ..core.errors import Refusal
from ..core.namespaces import Namespace, Namespaces
from ..core.ports import Query, Step, Store, Unit
from ..core.sends import KEPT
from ..observe.moments import timestamp

EVERY = 30.0  # seconds
BITE = 500  # rows that one transaction deletes
ENDED = 86_400.0  # seconds that a session which has ended is kept: clocks may differ, nobody needs it


@define(eq=False, repr=False)
class Pruner(Service):
    _store: Store
    _namespaces: Namespaces
    _audience: Audience
    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _audit_kept: float = 90 * 86400.0  # seconds
    _loop: LoopingCall | None = None
    _pruning: Deferred[None] | None = None

    _log = Logger()

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self._look)
        self._loop.clock = self._clock
        self._loop.start(EVERY, now=False)

    def stopService(self) -> Deferred[None] | None:
        """Fires when the bite under way is done."""
        super().stopService()
        if self._loop is not None:
            self._loop.stop()
        return self._pruning

    def _look(self) -> Deferred[None]:
        self._pruning = Deferred.fromCoroutine(self.prune()).addErrback(self._failed)
        return self._pruning

    async def prune(self) -> None:
        """All that is due now."""
        for namespace in self._namespaces:
            for position in [await self._expired(namespace), await self._surplus(namespace)]:
                await self._forget(namespace.match, position)
        for rows, kept in (
            ("keys", KEPT),
            ("refresh_tokens", ENDED),
            ("sessions", ENDED),
            ("audit", self._audit_kept),
        ):
            await self._forget_rows(rows, timestamp(self._now() - kept))

    async def _forget_rows(self, rows: str, before: str) -> None:
        """Delete those that are older, bite by bite."""
        while self.running and await self._position(f"{rows}_due", before=before):
            await self._store.commit(Unit((Step(f"{rows}_prune", {"before": before, "most": BITE}),)))

    async def _expired(self, namespace: Namespace) -> int:
        """The newest position that is older than the namespace keeps; 0 for none."""
        if namespace.retention is None:
            return 0
        before = timestamp(self._now() - namespace.retention)
        return await self._position("log_expired", namespace=namespace.match, before=before)

    async def _surplus(self, namespace: Namespace) -> int:
        """The newest position beyond as many as the namespace keeps; 0 for none."""
        if namespace.most is None:
            return 0
        return await self._position("log_surplus", namespace=namespace.match, most=namespace.most)

    async def _forget(self, name: str, last: int) -> None:
        """Delete the namespace up to `last`, bite by bite; not what was not told to anybody yet."""
        reached, last = 0, min(last, self._audience.position)
        while reached < last and self.running:
            nth = await self._position("log_nth", namespace=name, n=BITE)
            reached = min(last, nth or last)
            steps = (
                Step("log_prune", {"namespace": name, "upto": reached}),
                Step("floor_raise", {"namespace": name, "position": reached}),
            )
            await self._store.commit(Unit(steps))

    async def _position(self, query: str, **params: Any) -> int:
        rows = (await self._store.read(Query(query, params))).results[0]
        return (rows[0]["position"] or 0) if rows else 0

    def _failed(self, failure: Failure) -> None:
        failure.trap(Refusal)
        self._log.warn("could not prune the log: {why}", why=failure.getErrorMessage())
