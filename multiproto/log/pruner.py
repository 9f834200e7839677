"""Deletes log entries beyond their namespace's retention, and other rows that have expired.

In batches, so that other writes have their turn in between.  Each batch raises
the namespace's retention floor in the same transaction, so that a client whose
cursor is below it learns that it has missed events.
"""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..base.timestamps import format_timestamp
from ..core.domain.login_throttle import TRUST_DURATION
from ..core.errors import Refusal
from ..core.idempotency import KEY_RETENTION
from ..core.ports import Store
from ..core.pubsub.dispatcher import Dispatcher
from ..core.pubsub.namespaces import Namespace, Namespaces
from ..core.transactions import Query, Step, Unit
from ..observe.wall_clock import WallClock

INTERVAL = 30.0  # seconds
BATCH_SIZE = 500  # rows that one transaction deletes
# Seconds that an ended session is kept: nobody needs it, but clocks may differ.
ENDED_SESSION_RETENTION = 86_400.0


@define(eq=False, repr=False)
class Pruner(Service):
    _store: Store
    _namespaces: Namespaces
    _dispatcher: Dispatcher
    _clock: IReactorTime
    _wall_clock: WallClock
    _audit_retention: float = 90 * 86400.0  # seconds
    _loop: LoopingCall | None = None
    _pruning: Deferred[None] | None = None

    _log = Logger()

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self._start_pruning)
        self._loop.clock = self._clock
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> Deferred[None] | None:
        """Fires when the present batch is done."""
        super().stopService()
        if self._loop is not None:
            self._loop.stop()
        return self._pruning

    def _start_pruning(self) -> Deferred[None]:
        self._pruning = Deferred.fromCoroutine(self.prune()).addErrback(self._prune_failed)
        return self._pruning

    async def prune(self) -> None:
        """Delete all that is due now; nothing for its age while the time of day has leapt."""
        for namespace in self._namespaces:
            await self._prune_expired(namespace)
            await self._prune_namespace(namespace.match, await self._last_surplus(namespace))
        for table, retention in (
            ("keys", KEY_RETENTION),
            ("refresh_tokens", ENDED_SESSION_RETENTION),
            ("sessions", ENDED_SESSION_RETENTION),
            ("known_networks", TRUST_DURATION),
            ("audit", self._audit_retention),
        ):
            await self._prune_rows(table, retention)

    async def _prune_rows(self, table: str, retention: float) -> None:
        """Delete the rows that are older than `retention` seconds, batch by batch."""
        before = format_timestamp(self._wall_clock.earliest_now() - retention)
        while self._may_prune_by_age and await self._read_position(f"{table}_due", before=before):
            await self._store.commit(Unit((Step(f"{table}_prune", {"before": before, "most": BATCH_SIZE}),)))

    @property
    def _may_prune_by_age(self) -> bool:
        return bool(self.running) and not self._wall_clock.has_leapt

    async def _prune_expired(self, namespace: Namespace) -> None:
        """Delete the entries that are older than the namespace's retention."""
        if namespace.retention is not None and self._may_prune_by_age:
            before = format_timestamp(self._wall_clock.earliest_now() - namespace.retention)
            last = await self._read_position("log_expired", namespace=namespace.match, before=before)
            await self._prune_namespace(namespace.match, last, before)

    async def _last_surplus(self, namespace: Namespace) -> int:
        """The newest position beyond the namespace's `max_events`; 0 for none."""
        if namespace.max_events is None:
            return 0
        return await self._read_position("log_surplus", namespace=namespace.match, most=namespace.max_events)

    async def _prune_namespace(self, name: str, last: int, before: str | None = None) -> None:
        """Delete the namespace's entries up to `last`, batch by batch; none that was not dispatched yet.

        It stops at the first that did not happen before `before`.
        """
        position, last = 0, min(last, self._dispatcher.position)
        while position < last and self.running:
            nth = await self._read_position("log_nth", namespace=name, n=BATCH_SIZE)
            position = min(last, nth or last)
            if before is not None:
                params = {"namespace": name, "upto": position, "before": before}
                expired = await self._read_position("log_expired_upto", **params)
                if expired < position:
                    position = last = expired
                    if not expired:
                        return
            steps = (
                Step("log_prune", {"namespace": name, "upto": position}),
                Step("floor_raise", {"namespace": name, "position": position}),
            )
            await self._store.commit(Unit(steps))

    async def _read_position(self, query: str, **params: Any) -> int:
        rows = (await self._store.read(Query(query, params))).results[0]
        return (rows[0]["position"] or 0) if rows else 0

    def _prune_failed(self, failure: Failure) -> None:
        """Log why; a failure that went on would end the loop."""
        if failure.check(Refusal):
            self._log.warn("could not prune the log: {why}", why=failure.getErrorMessage())
        else:
            self._log.failure("could not prune the log", failure)
