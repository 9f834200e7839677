"""What is forgotten of the log and of the keys, when, and in what portions."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from multiproto.base.timestamps import format_timestamp
from multiproto.core.client_info import ClientInfo
from multiproto.core.domain.audit_log import AuditRecorder
from multiproto.core.errors import Unavailable
from multiproto.core.ports import Store
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import (
    CANARIES,
    CANARY_RETENTION,
    MESSAGES,
    REVOCATION_RETENTION,
    REVOCATIONS,
    USERS,
    Namespace,
    Namespaces,
)
from multiproto.core.transactions import Event, Query, Snapshot, Step, Unit
from multiproto.log import pruner
from multiproto.log.pruner import ENDED_SESSION_RETENTION, INTERVAL, Pruner
from multiproto.observe.wall_clock import LEAP, WallClock

from ..storage.units import add_session, add_user
from ..stores import StoreCase

NOW = 1_800_000_000.0  # seconds since the epoch


@define(eq=False)
class Watched:
    """A store that remembers its units; `away` refuses them, `before` is called with each."""

    store: Any
    units: list[Unit] = Factory(list)
    away: bool = False
    before: Callable[[], object] = lambda: None

    async def read(self, *queries: Query) -> Snapshot:
        self._refuse()
        return await self.store.read(*queries)  # type: ignore[no-any-return]

    async def commit(self, unit: Unit) -> str:
        self._refuse()
        self.units.append(unit)
        self.before()
        return await self.store.commit(unit)  # type: ignore[no-any-return]

    def cursor_of(self, position: int) -> str:
        return self.store.cursor_of(position)  # type: ignore[no-any-return]

    def cursors_of(self, positions: Sequence[int]) -> Sequence[str]:
        return self.store.cursors_of(positions)  # type: ignore[no-any-return]

    def _refuse(self) -> None:
        if self.away:
            raise Unavailable("the database is away")


@define(eq=False)
class AsyncPositions:
    """The other instances."""

    position: int | None = None

    async def slowest(self) -> int | None:
        return self.position


class PrunerTests(StoreCase):
    async def asyncSetUp(self) -> None:
        self.patch(pruner, "BATCH_SIZE", 3)
        self.watched = Watched(self.store)
        self.clock, self.leap = Clock(), 0.0
        self.wall_clock = WallClock(self.clock, lambda: NOW + self.leap + self.clock.seconds())
        self.dispatcher = Dispatcher()
        self.dispatcher.set_head(10_000, "cursor")  # all was told

    def pruner(self, *namespaces: Namespace) -> Pruner:
        watched: Store = self.watched
        made = Pruner(
            watched, Namespaces.with_builtin(namespaces), self.dispatcher, self.clock, self.wall_clock
        )
        made.startService()
        self.addCleanup(lambda: made.stopService() if made.running else None)
        return made

    async def happened(self, *ages: float, namespace: str = USERS) -> None:
        """One event for each of `ages`, in seconds before `NOW`."""
        for age in ages:
            event = Event(
                self.new_id(), "user.created", ("users",), None, "", format_timestamp(NOW - age), namespace
            )
            await self.store.commit(Unit((), (event,)))

    async def claimed(self, key: str, age: float) -> None:
        params = {
            "user_id": "ada",
            "key": key,
            "at": format_timestamp(NOW - age),
            "expired": format_timestamp(0),
        }
        params |= {"fingerprint": "f", "event_id": "e", "answer": "a"}
        await self.store.commit(Unit((Step("key_claim", params, expected_rows=1),)))

    async def left(self) -> list[int]:
        """The positions that are still in the log."""
        return [entry.position for entry in await self.store.read_after(0, 1000)]

    async def floor(self, namespace: str = USERS) -> int:
        return (await self.store.retention_floors())[namespace]

    def bites(self) -> list[list[tuple[str, object]]]:
        """Of each unit, what its statements were told of positions; those for the keys left out."""
        return [
            [(step.name, step.params.get("upto", step.params.get("position"))) for step in unit.steps]
            for unit in self.watched.units
            if unit.steps[0].name != "keys_prune"
        ]

    async def test_what_is_older_than_its_namespace_keeps_goes(self) -> None:
        await self.happened(100, 61, 60, 59, 0)
        await self.pruner(Namespace(USERS, retention=60)).prune()
        self.assertEqual((await self.left(), await self.floor()), ([3, 4, 5], 2))

    async def test_what_is_more_than_its_namespace_keeps_goes(self) -> None:
        await self.happened(5, 4, 3, 2, 1)
        await self.pruner(Namespace(USERS, max_events=2)).prune()
        self.assertEqual((await self.left(), await self.floor()), ([4, 5], 3))

    async def test_the_stricter_of_both_limits_counts(self) -> None:
        await self.happened(400, 300, 200, 100, 0)
        await self.pruner(Namespace(USERS, retention=350, max_events=4)).prune()
        self.assertEqual(await self.left(), [2, 3, 4, 5])
        await self.pruner(Namespace(USERS, retention=150, max_events=3)).prune()
        self.assertEqual(await self.left(), [4, 5])
        await self.pruner(Namespace(USERS, retention=150, max_events=1)).prune()
        self.assertEqual((await self.left(), await self.floor()), ([5], 4))

    async def test_what_instances_tell_each_other_is_kept_for_as_long_as_one_may_sleep(self) -> None:
        for own, kept in ((REVOCATIONS, REVOCATION_RETENTION), (CANARIES, CANARY_RETENTION)):
            await self.happened(kept + 1, kept, namespace=own)
        await self.pruner().prune()
        self.assertEqual(await self.left(), [2, 4])

    async def test_what_is_not_due_stays(self) -> None:
        """Without limits for ever; within them untouched, and no floor moves."""
        await self.happened(10**9, 0)
        await self.pruner().prune()
        await self.pruner(Namespace(USERS, retention=2 * 10**9, max_events=2)).prune()
        self.assertEqual((await self.left(), await self.floor(), self.bites()), ([1, 2], 0, []))

    async def test_other_namespaces_are_left_alone(self) -> None:
        await self.happened(100, 100)
        await self.happened(100, 100, namespace=MESSAGES)
        await self.happened(100)
        await self.pruner(Namespace(USERS, retention=60)).prune()
        self.assertEqual(await self.left(), [3, 4])
        self.assertEqual((await self.floor(), await self.floor(MESSAGES)), (5, 0))

    async def test_in_bites_each_with_its_floor_in_the_same_unit(self) -> None:
        """Counted in rows that go, not in positions: those of others are in between."""
        for _ in range(4):
            await self.happened(100, 100)
            await self.happened(100, namespace=MESSAGES)
        await self.pruner(Namespace(USERS, retention=60)).prune()
        self.assertEqual(
            self.bites(),
            [[("log_prune", upto), ("floor_raise", upto)] for upto in (4, 8, 11)],
        )
        self.assertEqual(await self.left(), [3, 6, 9, 12])

    async def test_pruning_again_finds_nothing_to_do(self) -> None:
        await self.happened(100, 100)
        pruner = self.pruner(Namespace(USERS, retention=60, max_events=1))
        await pruner.prune()
        bites = self.bites()
        await pruner.prune()
        self.assertEqual(self.bites(), bites)

    async def test_what_was_not_told_to_anybody_yet_stays(self) -> None:
        """A subscriber would never hear of it, and nothing would say so."""
        await self.happened(100, 100, 100, 0)
        self.dispatcher.position = 2
        pruner = self.pruner(Namespace(USERS, retention=60))
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([3, 4], 2))
        self.dispatcher.position = 4
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([4], 3))

    async def test_what_another_instance_has_yet_to_deliver_stays(self) -> None:
        positions = AsyncPositions()
        await self.happened(100, 100, 100, 0)
        pruner = self.pruner(Namespace(USERS, retention=60))
        pruner._positions = positions  # type: ignore[assignment]
        for slowest, left, floor in ((0, [1, 2, 3, 4], 0), (2, [3, 4], 2), (None, [4], 3)):
            positions.position = slowest
            await pruner.prune()
            self.assertEqual((await self.left(), await self.floor()), (left, floor))

    async def test_no_floor_is_raised_over_what_has_none_of_the_namespace(self) -> None:
        positions = AsyncPositions(2)
        await self.happened(0, 0, namespace=MESSAGES)
        await self.happened(5, 4, 3)
        pruner = self.pruner(Namespace(USERS, max_events=1))
        pruner._positions = positions  # type: ignore[assignment]
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor(), self.bites()), ([1, 2, 3, 4, 5], 0, []))

    async def test_while_the_time_of_day_has_leapt_nothing_goes_for_its_age(self) -> None:
        await self.store.commit(add_user("ada"))
        await self.claimed("key", 10)
        await self.happened(1000, 900, 40, 30, 20, 10)
        pruner = self.pruner(Namespace(USERS, retention=950, max_events=5))
        for leap in (40 * 86_400.0, 3600.0, -3600.0, -40 * 86_400.0):
            self.leap = leap
            await pruner.prune()
            self.assertEqual((await self.left(), await self.floor()), ([2, 3, 4, 5, 6], 1), leap)
        self.leap = 0.0
        self.clock.advance(60)
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([3, 4, 5, 6], 2))
        found = await self.store.read(Query("key_of", {"user_id": "ada", "key": "key"}))
        self.assertEqual(len(found.results[0]), 1)

    async def test_entries_stamped_by_a_clock_set_back_stay_as_long_as_those_before_them(self) -> None:
        month = 30 * 86_400
        await self.happened(100, 90, 80, 70, 10, month, month, month, month, 5)
        pruner = self.pruner(Namespace(USERS, retention=60))
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([5, 6, 7, 8, 9, 10], 4))
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([5, 6, 7, 8, 9, 10], 4))
        self.clock.advance(51)
        for _ in range(2):  # the entry before them, which is the newest by its stamp, goes first
            await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([10], 9))

    async def test_an_entry_stays_as_long_as_a_younger_one_before_it_in_whatever_namespace(self) -> None:
        """Written by an instance whose clock was 8 days behind, behind what others had just written."""
        week, day = 7 * 86_400, 86_400
        await self.happened(60, namespace=MESSAGES)
        await self.happened(8 * day, 60)
        pruner = self.pruner(Namespace(USERS, retention=week))
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([1, 2, 3], 0))
        self.clock.advance(week - 60)
        await pruner.prune()
        self.assertEqual(await self.left(), [1, 2, 3])
        self.clock.advance(1)
        await pruner.prune()
        self.assertEqual((await self.left(), await self.floor()), ([1], 3))

    async def test_what_a_clock_stamped_that_was_ahead_keeps_nothing_behind_it(self) -> None:
        await self.happened(-40 * 86_400, namespace=MESSAGES)
        await self.happened(100, -40 * 86_400, 90, 50)
        await self.pruner(Namespace(USERS, retention=60)).prune()
        self.assertEqual((await self.left(), await self.floor()), ([1, 5], 4))

    async def test_one_round_takes_the_oldest_hour_and_says_what_is_left(self) -> None:
        day, hour = 86_400, 3600
        await self.store.commit(add_user("ada"))
        for n, age in enumerate((5 * hour, 4 * hour, 4 * hour - 1, 2 * hour, hour - 1)):
            await self.happened(day + age)
            await self.claimed(str(n), day + age)
        pruner = self.pruner(Namespace(USERS, retention=day))

        async def keys() -> int:
            params = {"user_id": "ada"}
            found = [await self.store.read(Query("key_of", {**params, "key": str(n)})) for n in range(5)]
            return sum(len(each.results[0]) for each in found)

        # The first of them is taken, and the one that is less than an hour younger.
        steps = (([2, 3, 4, 5], 4, 4 * hour), ([4, 5], 2, 3 * hour), ([5], 1, hour), ([], 0, 0))
        for left, kept_keys, overdue in steps:
            await pruner.prune()
            self.assertEqual((await self.left(), await keys()), (left, kept_keys))
            self.assertEqual(pruner.overdue, overdue)
            self.assertEqual("PRUNING_STEP=none" in (pruner.notice() or ""), overdue > 0)

    async def test_without_a_step_one_round_takes_all(self) -> None:
        await self.happened(10**9, 10**8, 10**7, 59)
        pruner = self.pruner(Namespace(USERS, retention=60))
        pruner._max_step = None
        await pruner.prune()
        self.assertEqual((await self.left(), pruner.overdue, pruner.notice()), ([4], 0.0, None))

    async def test_after_a_start_with_an_old_log_nothing_goes_for_its_age_for_as_long(self) -> None:
        """Nor for its age by the newest entry, but what is too much goes."""
        await self.happened(900, 800, 700)
        self.wall_clock.record_newest_entry(NOW - 700, delays_deletion=True)
        pruner = self.pruner(Namespace(USERS, retention=60, max_events=2))
        await pruner.prune()
        self.assertEqual(await self.left(), [2, 3])
        self.assertIn("another 700 s", pruner.notice() or "")
        self.clock.advance(699)
        await pruner.prune()
        self.assertEqual(await self.left(), [2, 3])
        self.clock.advance(1)
        await pruner.prune()
        self.assertEqual((await self.left(), pruner.notice()), ([], None))

    async def test_while_the_database_contradicts_nothing_goes_for_its_age(self) -> None:
        await self.happened(100)
        pruner = self.pruner(Namespace(USERS, retention=60))
        for ahead in (-40 * 86_400, -LEAP - 1, LEAP + 1, 40 * 86_400):
            self.wall_clock.record_database_time(NOW - ahead, self.clock.seconds())
            await pruner.prune()
            self.assertEqual(await self.left(), [1], ahead)
        self.wall_clock.record_database_time(NOW - LEAP, self.clock.seconds())
        await pruner.prune()
        self.assertEqual(await self.left(), [])

    async def test_keys_are_forgotten_after_a_day(self) -> None:
        day = 24 * 3600
        await self.store.commit(add_user("ada"))
        for key, age in (("older", day + 1), ("exactly", day), ("newer", day - 1)):
            await self.claimed(key, age)
        await self.pruner().prune()
        found = []
        for key in ("older", "exactly", "newer"):
            snapshot = await self.store.read(Query("key_of", {"user_id": "ada", "key": key}))
            found.append(len(snapshot.results[0]))
        self.assertEqual(found, [0, 1, 1])

    async def test_all_keys_that_are_due_go_however_many(self) -> None:
        """In bites of three: none of eight is left."""
        await self.store.commit(add_user("ada"))
        for number in range(8):
            await self.claimed(str(number), 25 * 3600)
        await self.pruner().prune()
        due = await self.store.read(Query("keys_due", {"before": format_timestamp(NOW)}))
        self.assertEqual((due.results[0], len(self.watched.units)), ((), 3))

    async def test_sessions_go_a_day_after_their_end_with_their_tokens(self) -> None:
        """In bites of three: seven tokens of one session, then the sessions."""
        ended = format_timestamp(NOW - ENDED_SESSION_RETENTION - 1)
        await self.store.commit(add_user("ada"))
        for id, expires in (
            ("old", NOW - ENDED_SESSION_RETENTION - 1),
            ("day", NOW - ENDED_SESSION_RETENTION),
            ("new", NOW + 1),
        ):
            session = add_session(id, "ada").steps[0]
            params = {**session.params, "expires_at": format_timestamp(expires)}
            await self.store.commit(Unit((Step("session_add", params, expected_rows=1),)))
        for id in ("revoked", "other"):
            session = add_session(id, "ada").steps[0]
            params = {**session.params, "expires_at": format_timestamp(NOW + 9)}
            await self.store.commit(Unit((Step("session_add", params, expected_rows=1),)))
        await self.store.commit(
            Unit((Step("session_revoke", {"id": "revoked", "at": ended}, expected_rows=1),))
        )
        for n in range(7):
            token = {"hash": f"h{n}", "session_id": "revoked", "parent": None, "at": format_timestamp(0)}
            await self.store.commit(Unit((Step("refresh_add", token, expected_rows=1),)))
        await self.pruner().prune()
        self.assertEqual(
            [unit.steps[0].name for unit in self.watched.units],
            ["refresh_tokens_prune"] * 3 + ["sessions_prune"],
        )
        kept = Query("sessions_open", {"user_id": "ada", "now": format_timestamp(0), "limit": 9})
        rows = (await self.store.read(kept)).results[0]
        self.assertEqual(sorted(row["id"] for row in rows), ["day", "new", "other"])

    async def test_the_audit_trail_is_kept_as_long_as_configured(self) -> None:
        for age in (101, 100, 99, 5 * 100, 6 * 100, 7 * 100):
            recorder = AuditRecorder(lambda age=age: NOW - age, self.new_id)  # type: ignore[misc]
            await self.store.commit(Unit((recorder.record_step("login", ClientInfo("rest")),)))
        pruner = self.pruner()
        pruner._audit_retention = 100.0
        await pruner.prune()
        rows = (
            await self.store.read(Query("audit_page", {"limit": 9, "offset": 0, "bound": 2**63 - 1}))
        ).results[0]
        self.assertEqual(
            [row["at"] for row in rows], [format_timestamp(NOW - 99), format_timestamp(NOW - 100)]
        )

    async def test_it_looks_every_half_minute(self) -> None:
        await self.happened(100)
        pruner = self.pruner(Namespace(USERS, retention=60))
        self.clock.advance(INTERVAL - 1)
        self.assertIsNone(pruner._round)
        self.clock.advance(1)
        assert pruner._round is not None
        await pruner._round
        self.assertEqual(await self.left(), [])

    async def test_stopping_waits_for_the_bite_under_way_and_begins_no_other(self) -> None:
        await self.happened(*[100] * 10)
        pruner = self.pruner(Namespace(USERS, retention=60))
        stopped: list[Deferred[None] | None] = []

        def stop() -> None:
            if len(self.bites()) == 2 and not stopped:
                stopped.append(pruner.stopService())

        self.watched.before = stop
        self.clock.advance(INTERVAL)
        assert pruner._round is not None
        await pruner._round
        self.assertEqual(stopped, [pruner._round])
        self.assertEqual((await self.left(), await self.floor()), ([7, 8, 9, 10], 6))
        self.clock.advance(INTERVAL * 3)
        self.assertEqual(len(self.bites()), 2)

    async def test_a_store_that_is_away_is_asked_again_later(self) -> None:
        await self.happened(100)
        pruner = self.pruner(Namespace(USERS, retention=60))
        self.watched.away = True
        self.clock.advance(INTERVAL)
        assert pruner._round is not None
        await pruner._round
        self.assertEqual(await self.left(), [1])
        self.watched.away = False
        self.clock.advance(INTERVAL)
        await pruner._round
        self.assertEqual((await self.left(), await self.floor()), ([], 1))

    async def test_a_bug_in_one_round_does_not_end_the_others(self) -> None:
        await self.happened(100)
        pruner = self.pruner(Namespace(USERS, retention=60))
        self.watched.before = lambda: 1 / 0
        self.clock.advance(INTERVAL)
        assert pruner._round is not None
        await pruner._round
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.watched.before = lambda: None
        self.clock.advance(INTERVAL)
        await pruner._round
        self.assertEqual(await self.left(), [])

    async def test_a_store_that_goes_away_between_two_bites(self) -> None:
        """What was done is whole: no floor without its bite, no bite without its floor."""
        await self.happened(*[100] * 5)
        pruner = self.pruner(Namespace(USERS, retention=60))
        self.watched.before = lambda: setattr(self.watched, "away", True)
        self.clock.advance(INTERVAL)
        assert pruner._round is not None
        await pruner._round
        self.assertEqual((await self.left(), await self.floor()), ([4, 5], 3))
