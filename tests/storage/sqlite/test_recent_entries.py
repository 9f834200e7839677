"""What was just written is told from memory, and is what the disk would give."""

from __future__ import annotations

import sqlite3
from itertools import count

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import Unavailable
from multiproto.core.transactions import Entry, Event, Unit
from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.migrate import migrate
from multiproto.storage.sqlite.reader import SqliteReader
from multiproto.storage.sqlite.recent_entries import MAX_ENTRIES, RecentEntries
from multiproto.storage.sqlite.writer import SqliteWriter, begin_term
from multiproto.storage.statements import load_statements, sql_directory

from ...stores import StoreCase
from ..units import published, say, step, withdraw

SQL = sql_directory("sqlite")
STATEMENTS = load_statements(SQL / "queries")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
acts = st.one_of(
    st.tuples(st.just("say"), values),
    st.tuples(st.just("both"), values),
    st.tuples(st.just("unheard"), values),
    st.tuples(st.just("blank"), st.integers(0, 9)),
    st.tuples(st.just("prune"), st.integers(0, 9)),
)


class SameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fresh()

    def fresh(self) -> None:
        database = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(database.close)
        migrate(database, load_migrations(SQL), STATEMENTS, 0.0)
        terms = begin_term(database, STATEMENTS, "t", ["n"], 0.0)
        self.group = SqliteWriter(database, STATEMENTS, terms, lambda *settled: None)
        self.reader = SqliteReader(database, STATEMENTS, terms, lambda *answered: None, Clock(), 1.0)
        self.recent, self.numbers = RecentEntries(), count()

    def unit(self, what: str, how: object) -> Unit:
        events = [published(f"e{next(self.numbers)}", "n", how, namespace="n") for _ in "ab"]
        said = [evolve(event, subject="s1") for event in events]
        match what:
            case "say":
                return say(said[0])
            case "both":
                return say(*said)
            case "unheard":
                return Unit(step("user_drop", id="nobody").steps, (said[0],))
            case "blank":
                return step("log_blank", subject="s1")
            case _:
                return step("log_prune", namespace="n", upto=how)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.lists(acts, max_size=3), st.integers(0, 2), st.integers(1, 4)), max_size=8))
    def test_whatever_happens(self, batches: list[tuple[list[tuple[str, object]], int, int]]) -> None:
        """Who follows reads between batches, or doesn't, and stands where they left off."""
        self.fresh()
        position = 0
        for doing, reads, limit in batches:
            units = [self.unit(*each) for each in doing]
            self.recent.add(self.group.commit(units).appended, units)
            for _ in range(reads):
                found = self.recent.read_after(position, limit)
                there = self.reader.read_after(position, limit)
                if found:
                    self.assertEqual(found, there)
                position = max([position, *(entry.position for entry in there)])


class RecentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.recent = RecentEntries()

    def add(self, *positions: int) -> None:
        entries = [Entry(n, f"t.{n}", published(f"e{n}", "a")) for n in positions]
        self.recent.add(entries, [say(entry.event) for entry in entries])

    def after(self, position: int, limit: int = 1000) -> list[int]:
        return [entry.position for entry in self.recent.read_after(position, limit)]

    def test_what_was_added_is_there_until_more_is_asked_for(self) -> None:
        self.add(5, 6)
        self.add(7)
        self.assertEqual([self.after(4, 2), self.after(4), self.after(6)], [[5, 6], [5, 6, 7], [7]])
        self.assertEqual([self.after(7), self.after(4)], [[], []])

    def test_who_is_further_behind_asks_the_disk(self) -> None:
        self.add(5, 6)
        self.assertEqual([self.after(3), self.after(4)], [[], [5, 6]])

    def test_so_does_who_would_miss_one(self) -> None:
        """The fate of a commit was unknown, and it was there after all."""
        self.add(5, 6)
        self.add(8)
        self.assertEqual([self.after(4), self.after(6), self.after(7)], [[], [], [8]])

    def test_how_much_is_kept(self) -> None:
        self.add(*range(1, MAX_ENTRIES + 1))
        self.assertEqual(len(self.after(0)), MAX_ENTRIES)
        self.add(MAX_ENTRIES + 1)
        self.assertEqual(self.after(0), [])
        self.add(MAX_ENTRIES + 2)
        self.assertEqual(self.after(MAX_ENTRIES + 1), [MAX_ENTRIES + 2])

    def test_more_than_that_at_once(self) -> None:
        self.add(*range(1, MAX_ENTRIES + 2))
        self.assertEqual(self.after(0), [])

    def test_what_was_withdrawn_is_forgotten_with_all_else(self) -> None:
        self.add(1)
        self.recent.add([], [withdraw("m")])
        self.assertEqual(self.after(0), [])


class StoreTests(StoreCase):
    async def after(self, position: int) -> tuple[bool, list[Event]]:
        """Whether it was there at once, and what it was."""
        reading: Deferred[tuple[Entry, ...]] = self.store.read_after(position, 10)
        at_once = reading.called
        return at_once, [entry.event for entry in await reading]

    async def test_what_was_committed_is_there_at_once(self) -> None:
        events = [published(f"e{n}", "a", {"n": n}) for n in range(3)]
        for event in events:
            await self.store.commit(say(event))
        fast = self.store._inline_reads
        self.assertEqual([await self.after(0), await self.after(1)], [(fast, events), (fast, events[1:])])
        self.assertEqual([await self.after(3), await self.after(0)], [(False, []), (False, events)])

    async def test_nothing_is_told_by_a_store_that_was_stopped(self) -> None:
        await self.store.commit(say(published("e", "a")))
        await self.store.stopService()
        await self.assertFailure(self.store.read_after(0, 10), Unavailable)
