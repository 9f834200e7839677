"""A file that a disk or another program has changed: what is damaged is refused and said, and the rest goes on."""

from __future__ import annotations

from typing import Callable

from twisted.internet.defer import gatherResults
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from multiproto.core.transactions import Query, Step, Unit
from multiproto.storage.errors import DataDamaged
from multiproto.storage.sqlite.store import DATABASE_FILE, SqliteStore

from ..contract import BEHIND_ALL
from ..units import add_message, add_user, event, user_by_id
from .test_store import StoreCase, refusal

PAGE = 4096  # bytes of the file
COUNT = 300  # messages, on many pages
PRIVATE = "what was said in message"
ALL_USERS = Query("users_page", {"limit": 9, "offset": 0, "bound": BEHIND_ALL})
ALL_MESSAGES = Query("messages_page", {"viewer": "ada", "limit": COUNT, "offset": 0, "bound": BEHIND_ALL})


def wreck(content: bytearray) -> None:
    """The page that a message is on is none any more."""
    begin = content.index(f"{PRIVATE} 100 .".encode()) // PAGE * PAGE
    content[begin : begin + 100] = b"\xff" * 100


def spoil_text(content: bytearray) -> None:
    """A bit of a message flips, and it is not UTF-8 any more."""
    content[content.index(f"{PRIVATE} 100 .".encode())] ^= 0x80


def spoil_json(content: bytearray) -> None:
    """A quote of an event's content is another letter."""
    content[content.index(b'"event 100 of the log"')] = ord("x")


def message_by_id(id: str) -> Query:
    return Query("message_by_id", {"id": id})


class DamageCase(StoreCase):
    """A store whose file is changed while it is closed."""

    async def damage(self, change: Callable[[bytearray], None]) -> None:
        """Make a file with a user, messages and events, and change it."""
        store = await self.make_store()
        units = [add_user("ada")]
        for n in range(COUNT):
            told = event(f"e{n}", f"m{n}", text=f"event {n} of the log")
            units.append(add_message(f"m{n}", "ada", n, told, content=f"{PRIVATE} {n} ."))
        await gatherResults([store.commit(unit) for unit in units])
        await store.stopService()
        file = self.directory / DATABASE_FILE
        content = bytearray(file.read_bytes())
        change(content)
        file.write_bytes(content)


class DamageTests(DamageCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, happened: LogEvent) -> None:
        if happened["log_level"] >= LogLevel.error:
            self.lines.append(formatEvent(happened))

    async def damaged_store(self, change: Callable[[bytearray], None]) -> SqliteStore:
        await self.damage(change)
        return await self.make_store()

    def assert_said(self, store: SqliteStore, evidence: str) -> None:
        """Once, in the log and for `/health`, and with nothing of the data in it."""
        expected = (
            f"stored data is damaged: {evidence}; what was read without an error may be damaged, too: "
            "see docs/operations.md#damaged-data"
        )
        self.assertEqual((store.damage_warning, self.lines), (expected, [expected]))

    async def test_a_page_that_is_no_page(self) -> None:
        store = await self.damaged_store(wreck)
        self.assertIs(store.damage_warning, None)
        for _ in range(3):
            refused = await refusal(store.read(ALL_MESSAGES))
            self.assertIsInstance(refused, DataDamaged)
        self.assertEqual((refused.name, refused.message), ("DATABASE_ERROR", "Stored data is damaged"))
        self.assert_said(store, "database disk image is malformed")
        self.assertEqual((await store.read(message_by_id("m299"))).results[0][0]["id"], "m299")
        await store.commit(add_user("bob", 0, event("e-bob", "bob")))
        self.assertEqual((await store.read(user_by_id("bob"))).results[0][0]["id"], "bob")

    async def test_a_unit_that_meets_such_a_page_fails_alone(self) -> None:
        store = await self.damaged_store(wreck)
        drop = Unit((Step("message_drop", {"id": "m100"}),))
        answers = [store.commit(unit) for unit in (add_user("bob"), drop, add_user("eve"))]
        await answers[0]
        self.assertIsInstance(await refusal(answers[1]), DataDamaged)
        await answers[2]
        self.assertEqual(len((await store.read(ALL_USERS)).results[0]), 3)
        self.assert_said(store, "database disk image is malformed")

    async def test_a_text_that_is_none(self) -> None:
        store = await self.damaged_store(spoil_text)
        self.assertIsInstance(await refusal(store.read(message_by_id("m100"))), DataDamaged)
        self.assertIsInstance(await refusal(store.read(ALL_MESSAGES)), DataDamaged)
        self.assert_said(store, "a stored text is not UTF-8")
        self.assertEqual((await store.read(message_by_id("m101"))).results[0][0]["id"], "m101")

    async def test_an_event_that_is_no_json(self) -> None:
        store = await self.damaged_store(spoil_json)
        for position in (0, 100):
            self.assertIsInstance(await refusal(store.read_after(position, COUNT)), DataDamaged)
        self.assertIsInstance(await refusal(store.read_page("messages", 0, COUNT)), DataDamaged)
        self.assert_said(store, "the event at position 101 of the log is no JSON")
        self.assertEqual(len(await store.read_after(101, COUNT)), COUNT - 101)
