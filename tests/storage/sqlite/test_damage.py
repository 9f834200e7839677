"""A file that a disk or another program has changed: what is damaged is refused and said, and the rest goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Callable

from twisted.internet.defer import gatherResults
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from multiproto.core.errors import DataDamaged
from multiproto.core.transactions import Query, Step, Unit
from multiproto.storage.check import RowsRead
from multiproto.storage.sqlite.check import find_damage
from multiproto.storage.sqlite.store import DATABASE_FILE, SqliteStore

from ..contract import BEHIND_ALL
from ..units import add_message, add_user, amend_user, at, event, user_by_id
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


def alter_texts(content: bytearray) -> None:
    """A bit of a message, of an event and of a user flips, and each is still such a text."""
    for text in (f"{PRIVATE} 100 .", '"event 100 of the log"', "ADA@x.org"):
        content[content.index(text.encode()) + 2] ^= 1


def message_by_id(id: str) -> Query:
    return Query("message_by_id", {"id": id})


class DamageCase(StoreCase):
    """A store whose file is changed while it is closed."""

    async def damage(self, change: Callable[[bytearray], None], checksums: bool = True) -> None:
        """Make a file with a user, messages and events, and change it; `checksums`: whether rows have any."""
        store = await self.make_store()
        units = [add_user("ada")]
        for n in range(COUNT):
            told = event(f"e{n}", f"m{n}", text=f"event {n} of the log")
            units.append(add_message(f"m{n}", "ada", n, told, content=f"{PRIVATE} {n} ."))
        await gatherResults([store.commit(unit) for unit in units])
        await store.stopService()
        if not checksums:
            with closing(self.other_program()) as other:
                for table in ("users", "messages", "events"):
                    other.execute(f"UPDATE {table} SET crc32 = NULL")
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

    async def damaged_store(self, change: Callable[[bytearray], None], checksums: bool = True) -> SqliteStore:
        await self.damage(change, checksums)
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
        store = await self.damaged_store(spoil_json, checksums=False)
        for position in (0, 100):
            self.assertIsInstance(await refusal(store.read_after(position, COUNT)), DataDamaged)
        self.assertIsInstance(await refusal(store.read_page("messages", 0, COUNT)), DataDamaged)
        self.assert_said(store, "the event at position 101 of the log is no JSON")
        self.assertEqual(len(await store.read_after(101, COUNT)), COUNT - 101)

    async def test_texts_that_are_others(self) -> None:
        store = await self.damaged_store(alter_texts)
        for read in (
            store.read(message_by_id("m100")),
            store.read(ALL_MESSAGES),
            store.read_after(100, 1),
            store.read_page("messages", 0, COUNT),
            store.read(user_by_id("ada")),
            store.read(ALL_USERS),
        ):
            self.assertIsInstance(await refusal(read), DataDamaged)
        self.assert_said(store, "a row of messages is not as its checksum says")
        self.assertEqual((await store.read(message_by_id("m101"))).results[0][0]["id"], "m101")
        self.assertEqual(len(await store.read_after(101, COUNT)), COUNT - 101)

    async def test_of_rows_without_a_checksum_that_is_not_noticed(self) -> None:
        """Those from before there were any, and those that another program has changed."""
        store = await self.damaged_store(alter_texts, checksums=False)
        self.assertEqual(len((await store.read(ALL_MESSAGES)).results[0]), COUNT)
        self.assertEqual(len(await store.read_after(0, COUNT)), COUNT)
        self.assertIs(store.damage_warning, None)

    async def test_what_is_written_anew_has_one(self) -> None:
        """By every statement that changes a row, also of a row that had none."""
        for checksums in (True, False):
            self.directory = Path(self.mktemp())
            store = await self.damaged_store(lambda content: None, checksums)
            about = event("e-ada", "ada", "user.updated", user={"email": "ada@x.org", "name": "Ada"})
            await store.commit(add_user("bob", 0, event("e-bob", "bob")))
            await store.commit(Unit(amend_user("ada", 1).steps, (about,)))
            forget = {"id": "ada", "after": 0, "upto": 9 * COUNT}
            await store.commit(Unit((Step("log_forget_email", forget, expected_rows=1),)))
            await store.commit(Unit((Step("log_blank", {"subject": "m1"}, expected_rows=1),)))
            await store.commit(Unit((Step("account_close", {"id": "bob", "at": at(9)}, expected_rows=1),)))
            (told,) = await store.read_after(COUNT + 1, 1)
            self.assertEqual(told.event.content, {"user": {"name": "Ada"}})
            (ada, bob) = (await store.read(ALL_USERS)).results[0]
            self.assertEqual({ada["name"], bob["name"]}, {"New", ""})
            await store.stopService()
            other = self.other_program()
            for table, which in (("users", "true"), ("events", f"position > {COUNT} OR subject = 'm1'")):
                lacking = f"SELECT count(*) FROM {table} WHERE crc32 IS NULL AND ({which})"
                self.assertEqual(other.execute(lacking).fetchone(), (0,), table)
            self.assertEqual(list(find_damage(self.directory / DATABASE_FILE, RowsRead())), [])

    async def test_erasing_does_not_make_it_look_sound(self) -> None:
        def alter(content: bytearray) -> None:
            content[content.index(b'"name":"Ada"') + 8] ^= 1

        store = await self.make_store()
        await store.commit(add_user("ada", 0, event("e1", "ada", "user.created", email=1, name="Ada")))
        await store.stopService()
        file = self.directory / DATABASE_FILE
        content = bytearray(file.read_bytes())
        alter(content)
        file.write_bytes(content)
        store = await self.make_store()
        forget = {"id": "ada", "after": 0, "upto": 9}
        await store.commit(Unit((Step("log_forget_email", forget, expected_rows=0),)))
        self.assertIsInstance(await refusal(store.read_after(0, 1)), DataDamaged)
