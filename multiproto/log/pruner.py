"""Deletes log entries beyond their namespace's retention, and other rows that have expired.

In batches, so that other writes have their turn in between.  Each batch raises
the namespace's retention floor in the same transaction, so that a client whose
cursor is below it learns that it has missed events.

What is deleted for its age is gone for ever, and only clocks know its age.  So
nothing is deleted for that while clocks disagree, nor what a younger entry
before it contradicts, and one round deletes at most the oldest hour of what
there is (docs/decisions/041-expiry.md).
"""

from __future__ import annotations

from typing import Any, Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ..base.timestamps import format_timestamp, parse_timestamp
from ..core.domain.login_throttle import TRUST_DURATION
from ..core.idempotency import KEY_RETENTION
from ..core.ports import Store
from ..core.pubsub.dispatcher import Dispatcher
from ..core.pubsub.namespaces import Namespace, Namespaces
from ..core.transactions import Query, Step, Unit
from ..observe.wall_clock import WallClock
from .instance_positions import InstancePositions
from .periodic import PeriodicService

INTERVAL = 30.0  # seconds
BATCH_SIZE = 500  # rows that one transaction deletes
MAX_STEP = 3600.0  # seconds
MAX_EMPTY_STEPS = 100  # of one round
# Seconds that an ended session is kept: nobody needs it, but clocks may differ.
ENDED_SESSION_RETENTION = 86_400.0


@define(eq=False, repr=False)
class Pruner(PeriodicService):
    interval, failure_text = INTERVAL, "could not prune the log"

    _store: Store
    _namespaces: Namespaces
    _dispatcher: Dispatcher
    _clock: IReactorTime
    _wall_clock: WallClock
    _audit_retention: float = 90 * 86400.0  # seconds
    _max_step: float | None = MAX_STEP  # seconds of age that one round deletes; None: all that is due
    _positions: InstancePositions | None = None  # of all instances, where there may be others
    _reached: dict[str, float] = field(
        factory=dict
    )  # the time up to which each namespace was pruned for its age
    _overdue: dict[str, float] = field(factory=dict)  # seconds by which each namespace and table is behind
    _reported: bool = False  # that it is behind

    @property
    def overdue(self) -> float:
        """The seconds by which the pruning for age is behind, as one round deletes only so much."""
        return max(self._overdue.values(), default=0.0)

    def notice(self) -> str | None:
        """What an operator should know, if anything, beside what is wrong with the time of day."""
        if not self.overdue:
            return None if self._max_step is None else self._wall_clock.deletion_notice()
        return (
            f"What is older than its retention is pruned in steps of {self._max_step or 0:.0f} s, and {self.overdue:.0f} s "
            "are left to prune.  If the time of day is wrong, stop this server now; PRUNING_STEP=none prunes all at once"
        )

    async def run_round(self) -> None:
        await self.prune()

    async def prune(self) -> None:
        """Delete all that is due now; for its age only where clocks agree."""
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
        self._report_overdue()

    async def _prune_rows(self, table: str, retention: float) -> None:
        """Delete the rows that are older than `retention` seconds, batch by batch."""
        due = self._wall_clock.earliest_now() - retention
        if not self._may_prune_by_age:
            return
        oldest = await self._read_time(f"{table}_due", before=format_timestamp(due))
        before = format_timestamp(self._one_step(table, due, oldest))
        while self._may_prune_by_age and await self._read_time(f"{table}_due", before=before) is not None:
            await self._store.commit(Unit((Step(f"{table}_prune", {"before": before, "most": BATCH_SIZE}),)))

    @property
    def _may_prune_by_age(self) -> bool:
        may_delete = (
            not self._wall_clock.is_wrong if self._max_step is None else self._wall_clock.may_delete_by_age
        )
        return bool(self.running) and may_delete

    def _one_step(self, name: str, due: float, oldest: float | None) -> float:
        """The time up to which to prune in this round what is due up to the time `due`, where the `oldest` is so old."""
        reached = due if oldest is None or self._max_step is None else min(due, oldest + self._max_step)
        self._overdue[name] = due - reached
        return reached

    def _report_overdue(self) -> None:
        """Log when pruning falls behind and when it has caught up."""
        notice = self.notice() if self.overdue else None
        if notice is not None and not self._reported:
            self._log.warn("{text}", text=notice)
        elif notice is None and self._reported:
            self._log.info("what is older than its retention is pruned")
        self._reported = notice is not None

    async def _prune_expired(self, namespace: Namespace) -> None:
        """Delete the entries that are older than the namespace's retention, and that no younger one comes before.

        A step in which there are only such as seem older than they are does not count.
        """
        if namespace.retention is None:
            return
        due = self._wall_clock.earliest_now() - namespace.retention
        for _ in range(MAX_EMPTY_STEPS):
            if not self._may_prune_by_age or await self._prune_step(namespace.match, due):
                return

    async def _prune_step(self, name: str, due: float) -> bool:
        """Delete one step of what is due up to the time `due`; whether there was any, or nothing is left to do."""
        since = format_timestamp(self._reached.get(name, 0.0))
        oldest = await self._read_time("log_oldest", namespace=name, since=since)
        self._reached[name] = self._one_step(name, due, oldest)
        before, now = format_timestamp(self._reached[name]), format_timestamp(self._wall_clock.latest_now())
        last = await self._read_position("log_expired", namespace=name, before=before)
        young = await self._read_position("log_young", before=before, now=now)
        last = min(last, young - 1) if young else last
        deleted = await self._prune_namespace(name, last, {"before": before, "now": now})
        return deleted or self._reached[name] >= due

    async def _last_surplus(self, namespace: Namespace) -> int:
        """The newest position beyond the namespace's `max_events`; 0 for none."""
        if namespace.max_events is None:
            return 0
        return await self._read_position("log_surplus", namespace=namespace.match, most=namespace.max_events)

    async def _prune_namespace(self, name: str, last: int, times: Mapping[str, str] | None = None) -> bool:
        """Delete the namespace's entries up to `last`, batch by batch; none that some instance has yet to deliver.

        With `times`, it stops at the first that happened between the times "before" and "now".  Returns whether
        there were any.
        """
        position, deleted, delivered = 0, False, await self._delivered_everywhere() if last else 0
        if delivered < last:
            first = await self._read_position("log_nth", namespace=name, n=1)
            last = delivered if first <= delivered else 0  # no floor is raised over nothing
        while position < last and self.running:
            nth = await self._read_position("log_nth", namespace=name, n=BATCH_SIZE)
            position = min(last, nth or last)
            if times is not None:
                expired = await self._read_position(
                    "log_expired_upto", namespace=name, upto=position, **times
                )
                if expired < position:
                    position = last = expired
                    if not expired:
                        break
            steps = (
                Step("log_prune", {"namespace": name, "upto": position}),
                Step("floor_raise", {"namespace": name, "position": position}),
            )
            await self._store.commit(Unit(steps))
            deleted = True
        return deleted

    async def _delivered_everywhere(self) -> int:
        """The position up to which this instance and all others that live have delivered the log."""
        others = await self._positions.slowest() if self._positions is not None else None
        return self._dispatcher.position if others is None else min(self._dispatcher.position, others)

    async def _read_position(self, query: str, **params: Any) -> int:
        rows = (await self._store.read(Query(query, params))).results[0]
        return (rows[0]["position"] or 0) if rows else 0

    async def _read_time(self, query: str, **params: Any) -> float | None:
        rows = (await self._store.read(Query(query, params))).results[0]
        return parse_timestamp(rows[0]["at"]) if rows else None
