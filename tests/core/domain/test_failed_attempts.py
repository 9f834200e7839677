"""Failed attempts in number: counted, written a few at a time, and never by those who fail."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.client_info import ClientInfo
from multiproto.core.domain import failed_attempts
from multiproto.core.domain.audit_log import AuditRecorder
from multiproto.core.domain.failed_attempts import WRITE_INTERVAL, FailedAttempts
from multiproto.core.errors import Unavailable
from multiproto.core.transactions import Unit

from ...fakes import sequential_ids

HERE = ClientInfo("tcp", "192.0.2.1")


@define(eq=False)
class Kept:
    """A store that keeps the units it is given; `away` refuses them, and `broken` has a bug."""

    units: list[Unit] = Factory(list)
    away: bool = False
    broken: bool = False

    async def commit(self, unit: Unit) -> str:
        if self.broken:
            raise ZeroDivisionError
        if self.away:
            raise Unavailable("the database is away")
        self.units.append(unit)
        return "cursor"


class FailedAttemptsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store = Clock(), Kept()
        self.dropped: list[int] = []
        store: Any = self.store
        audit = AuditRecorder(self.clock.seconds, sequential_ids("note"))
        self.attempts = FailedAttempts(store, audit, self.clock, self.dropped.append)
        self.attempts.startService()

    def written(self) -> list[list[tuple[object, ...]]]:
        """(action, outcome, address, subject, times) of each row of each unit."""
        names = ("action", "outcome", "address", "subject", "times")
        return [
            [tuple(step.params[name] for name in names) for step in unit.steps] for unit in self.store.units
        ]

    def test_alike_ones_are_one_row(self) -> None:
        for _ in range(1000):
            self.attempts.record("login", "invalid", HERE, "ann")
        self.attempts.record("login", "invalid", HERE, "bob")
        self.attempts.record("login", "invalid", ClientInfo("tcp", "192.0.2.2"), "ann")
        self.clock.advance(WRITE_INTERVAL - 1)
        self.assertEqual(self.written(), [])
        self.clock.advance(1)
        self.assertEqual(
            self.written(),
            [
                [
                    ("login", "invalid", "192.0.2.1", "ann", 1000),
                    ("login", "invalid", "192.0.2.1", "bob", 1),
                    ("login", "invalid", "192.0.2.2", "ann", 1),
                ]
            ],
        )

    def test_a_network_is_one_address(self) -> None:
        for n in range(1000):
            self.attempts.record("token", "invalid", ClientInfo("tcp", f"2001:db8::{n:x}"))
        self.attempts.record("token", "invalid", ClientInfo("tcp", "2001:db8:0:1::1"))
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(
            self.written(),
            [
                [
                    ("token", "invalid", "2001:db8::/64", None, 1000),
                    ("token", "invalid", "2001:db8:0:1::/64", None, 1),
                ]
            ],
        )

    def test_as_many_rows_as_one_address_has_and_one_more(self) -> None:
        """Beyond them there is one row for each of its kinds, so that others' are told apart."""
        for n in range(failed_attempts.MAX_ROWS_EACH + 500):
            self.attempts.record("login", "invalid", HERE, f"user{n}")
        self.attempts.record("login", "invalid", ClientInfo("tcp", "192.0.2.2"), "ann")
        self.clock.advance(WRITE_INTERVAL)
        (rows,) = self.written()
        self.assertEqual(
            rows[failed_attempts.MAX_ROWS_EACH - 1 :],
            [
                ("login", "invalid", "192.0.2.1", f"user{failed_attempts.MAX_ROWS_EACH - 1}", 1),
                ("login", "invalid", "192.0.2.1", None, 500),
                ("login", "invalid", "192.0.2.2", "ann", 1),
            ],
        )

    def test_nothing_is_written_of_nothing(self) -> None:
        self.clock.pump([WRITE_INTERVAL] * 3)
        self.assertEqual(self.written(), [])

    def test_as_many_rows_as_one_write_has_and_one_more(self) -> None:
        """What is beyond is one row for its kind; what is alike still counts."""
        for n in range(failed_attempts.MAX_ROWS):
            self.attempts.record("token", "invalid", ClientInfo("tcp", f"192.0.2.{n}"))
        for n in range(1000):
            self.attempts.record("login", "invalid", ClientInfo("tcp", f"198.51.100.{n}"), f"email:{n}")
        self.attempts.record("token", "invalid", ClientInfo("tcp", "192.0.2.0"))
        self.clock.advance(WRITE_INTERVAL)
        ((first, *_, last),) = self.written()
        self.assertEqual(len(self.written()[0]), failed_attempts.MAX_ROWS + 1)
        self.assertEqual(first, ("token", "invalid", "192.0.2.0", None, 2))
        self.assertEqual(last, ("login", "invalid", None, None, 1000))
        self.attempts.record("token", "invalid", ClientInfo("tcp", "198.51.100.1"))
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(self.written()[1:], [[("token", "invalid", "198.51.100.1", None, 1)]])
        self.assertEqual(self.dropped, [])

    def test_a_store_that_is_away_costs_the_notes_and_nothing_else(self) -> None:
        self.store.away = True
        for _ in range(3):
            self.attempts.record("login", "invalid", HERE)
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(self.dropped, [3])
        self.store.away = False
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(self.written(), [])
        self.attempts.record("login", "invalid", HERE)
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(len(self.written()), 1)

    def test_a_bug_in_one_write_does_not_end_the_others(self) -> None:
        for broken in (True, False):
            self.store.broken = broken
            self.attempts.record("login", "invalid", HERE)
            self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(len(self.written()), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_last_ones_are_written_at_the_end(self) -> None:
        self.attempts.record("login", "invalid", HERE)
        self.successResultOf(self.attempts.stopService())
        self.assertEqual(len(self.written()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
