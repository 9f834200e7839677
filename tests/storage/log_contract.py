"""What every store guarantees of the log to those who follow it, resume on it and prune it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import gatherResults

from multiproto.core.errors import Refusal
from multiproto.core.transactions import Entry, Event, Page, Query, Row, Step, Unit

from .units import (
    GONE,
    add_message,
    add_user,
    at,
    claim,
    close_account,
    event,
    published,
    say,
    step,
    withdraw,
)


class LogContract:
    store: Any  # from `setUp`: empty, up and running

    async def rows(self, name: str, **params: object) -> tuple[Row, ...]:
        return (await self.store.read(Query(name, params))).results[0]

    async def refusal(self, unit: Unit) -> Refusal:
        try:
            await self.store.commit(unit)
        except Refusal as refusal:
            return refusal
        raise AssertionError("was not refused")

    async def people(self, *names: str) -> None:
        for second, name in enumerate(names):
            await self.store.commit(add_user(name, second))

    # Reading on.

    async def test_the_log_is_read_in_pages(self) -> None:
        await self.store.commit(add_user("ada", 0, *[event(f"e{n}", "ada", n=n) for n in range(5)]))
        self.assertEqual((await self.store.head())[0], 5)
        self.assertEqual([entry.position for entry in await self.store.read_after(1, 2)], [2, 3])
        self.assertEqual(await self.store.read_after(5, 2), ())

    async def test_an_events_content_comes_back_as_it_was(self) -> None:
        deep: object = None
        for _ in range(64):
            deep = [deep]
        told = event("e1", "ada", deep=deep, text="a\0b\u2028🂡", number=0.1, big=2**53 + 1, none=None)
        await self.store.commit(add_user("ada", 0, told))
        self.assertEqual((await self.store.read_after(0, 1))[0].event, told)

    async def test_what_was_said_of_a_withdrawn_message_is_blank(self) -> None:
        await self.people("ada")
        await self.store.commit(add_message("m1", "ada", 1, event("e1", "m1", content="secret")))
        await self.store.commit(withdraw("m1", event("e2", "m1", "message.withdrawn", id="m1")))
        told = [(entry.event.id, entry.event.content) for entry in await self.store.read_after(0, 10)]
        self.assertEqual(told, [("e1", None), ("e2", {"id": "m1"})])
        self.assertEqual(await self.rows("message_by_id", id="m1"), ())

    async def test_a_closed_account_leaves_no_word_in_the_log_or_the_rows(self) -> None:
        await self.people("ada", "bob")
        await self.store.commit(add_user("eve", 0, event("e1", "eve", "user.created", email="eve@x.org")))
        sent = {"m1": {"userId": "eve", "channelId": "c"}}
        sent |= {f"m{n}": {"userId": "ada", "recipientId": to} for n, to in ((2, "eve"), (3, "bob"))}
        for n, (id, message) in enumerate(sent.items(), 1):
            channel, to = message.get("channelId"), message.get("recipientId")
            told = event(f"e{n + 1}", id, message=message)
            await self.store.commit(add_message(id, message["userId"], n, told, channel=channel, to=to))
        await self.store.commit(close_account("eve", event("e5", "", "user.deleted", id="eve")))
        told = [(entry.event.id, entry.event.content) for entry in await self.store.read_after(0, 10)]
        self.assertEqual(
            told,
            [
                ("e1", None),
                ("e2", None),
                ("e3", None),
                ("e4", {"message": sent["m3"]}),
                ("e5", {"id": "eve"}),
            ],
        )
        left = await self.rows("messages_page", viewer="ada", limit=9, offset=0, bound=2**63 - 1)
        self.assertEqual([row["id"] for row in left], ["m3"])

    async def test_what_is_sent_and_blanked_in_one_batch_is_blank(self) -> None:
        """The account is closed while a message to it is on its way to the disk, in the same transaction."""
        await self.people("ada", "eve")
        told = event("e1", "m1", message={"userId": "ada", "recipientId": "eve", "content": "secret"})
        sent = add_message("m1", "ada", 1, told, to="eve")
        await gatherResults([self.store.commit(sent), self.store.commit(close_account("eve"))])
        self.assertEqual([entry.event.content for entry in await self.store.read_after(0, 10)], [None])

    async def test_whatever_a_client_publishes_comes_back_as_it_was(self) -> None:
        told = [
            published(f"e{n}", "telemetry.t", content)
            for n, content in enumerate([None, False, 0, "", [], {}, [{"a": None}]])
        ]
        await self.store.commit(say(*told))
        self.assertEqual(
            [(entry.event, entry.redacted) for entry in await self.store.read_after(0, 9)],
            [(event, False) for event in told],
        )

    async def test_of_what_is_blank_nothing_is_left_but_that_it_was(self) -> None:
        told = Event("e1", "t", ("a",), "secret", "s", at(0), "users.**", "ada", {"secret": 1})
        await self.store.commit(say(told))
        await self.store.commit(Unit((Step("log_blank", {"subject": "s"}),)))
        (entry,) = await self.store.read_after(0, 9)
        left = Event("e1", "t", ("a",), None, "s", at(0), "users.**", "ada", None)
        self.assertEqual(entry, Entry(1, entry.cursor, left, redacted=True))

    # Pages for those who catch up.

    async def ids(self, lead: str, low: int, high: int) -> tuple[list[str], int]:
        page: Page = await self.store.read_page(lead, low, high)
        return [entry.event.id for entry in page.entries], page.end_position

    async def test_a_page_has_what_a_topic_of_the_lead_hears_of(self) -> None:
        topics = (("a.b", "x"), ("ab",), ("x.a.b", "x"), ("x", "a.bc"), ('q"a.b',), ("a.B",), ("a.b\u00fc",))
        told = [Event(f"e{n}", "t", heard, n, "", at(0), "n") for n, heard in enumerate(topics, 1)]
        await self.store.commit(say(*told))
        self.assertEqual(await self.ids("a.b", 0, 7), (["e1", "e4", "e7"], 7))
        self.assertEqual(await self.ids("a.b", 1, 6), (["e4"], 6))
        self.assertEqual(await self.ids("a.b\u00fc", 0, 7), (["e7"], 7))
        self.assertEqual(await self.ids("", 0, 7), ([f"e{n}" for n in range(1, 8)], 7))
        self.assertEqual(await self.ids("nobody", 2, 4), ([], 4))
        self.assertEqual(await self.ids("", 7, 7), ([], 7))

    async def test_the_entries_of_a_page_are_those_that_are_followed(self) -> None:
        await self.store.commit(say(published("e1", "a"), event("e2", "s", n=1)))
        page = await self.store.read_page("", 0, 2)
        self.assertEqual(
            page, Page(await self.store.read_after(0, 2), 2, await self.store.retention_floors())
        )

    async def test_a_page_leaves_out_what_is_blank(self) -> None:
        await self.store.commit(say(event("e1", "s"), published("e2", "messages"), event("e3", "s")))
        await self.store.commit(Unit((Step("log_blank", {"subject": "s"}),)))
        self.assertEqual(await self.ids("", 0, 3), (["e2"], 3))

    async def test_a_page_ends_with_its_1024th_entry(self) -> None:
        await self.store.commit(say(*[published(f"e{n}", "ab"[n % 2]) for n in range(1, 2 * 1024 + 3)]))
        found, upto = await self.ids("a", 0, 2050)
        self.assertEqual((len(found), upto), (1024, 2048))
        self.assertEqual(await self.ids("a", upto, 2050), (["e2050"], 2050))

    async def test_a_page_ends_with_the_entry_that_fills_a_mebibyte(self) -> None:
        half = "x" * (1 << 19)
        large = Event("e3", "t", ("a",), 0, "", at(0), "n", "ada", {"note": half})
        giant = published("e5", "a", half * 3)
        parts = [published("e1", "b", half * 2), published("e2", "a", half), large, published("e4", "a")]
        await self.store.commit(say(*parts, giant, published("e6", "a")))
        self.assertEqual(await self.ids("a", 0, 6), (["e2", "e3"], 3))
        self.assertEqual(await self.ids("a", 3, 6), (["e4", "e5"], 5))
        self.assertEqual(await self.ids("a", 4, 6), (["e5"], 5))
        self.assertEqual(await self.ids("a", 5, 6), (["e6"], 6))

    async def test_a_page_is_weighed_in_bytes_of_utf8(self) -> None:
        """Not in characters: what the database leaves out must not count as read."""
        half = "\u00fc" * (1 << 18)
        await self.store.commit(say(*[published(f"e{n}", "a", half) for n in range(1, 6)]))
        self.assertEqual(await self.ids("a", 0, 5), (["e1", "e2"], 2))
        self.assertEqual(await self.ids("a", 4, 5), (["e5"], 5))

    async def test_a_page_looks_at_4096_entries_and_not_at_those_that_were_pruned(self) -> None:
        told = [published(f"e{n}", "a", None, 0, "kept" if n > 6000 else "gone") for n in range(1, 6100)]
        await self.store.commit(say(*told, published("last", "b")))
        self.assertEqual(await self.ids("b", 0, 6100), ([], 4096))
        self.assertEqual(await self.ids("b", 4096, 6100), (["last"], 6100))
        await self.store.commit(
            Unit((Step("log_prune", {"namespace": "gone", "upto": 6000}, expected_rows=6000),))
        )
        self.assertEqual(await self.ids("b", 0, 6100), (["last"], 6100))
        self.assertEqual(await self.ids("b", 0, 5000), ([], 5000))

    # Cursors.

    async def test_every_cursor_handed_out_is_located(self) -> None:
        cursors = [(await self.store.read()).cursor]
        cursors += [await self.store.commit(say(published(f"e{n}", "a"))) for n in range(1, 4)]
        self.assertEqual([await self.store.locate(cursor) for cursor in cursors], [0, 1, 2, 3])
        self.assertEqual([self.store.cursor_of(position) for position in range(4)], cursors)

    async def test_rows_from_before_the_log_have_cursors_too(self) -> None:
        """Of the first term, whatever came since."""
        first = self.store.cursor_of(0)
        await self.store.commit(say(published("e1", "a")))
        for position in (-(10**17), -1):
            cursor = self.store.cursor_of(position)
            self.assertEqual(cursor, f"{first[:-1]}{position}")
            self.assertEqual(await self.store.locate(cursor), position)

    async def test_other_text_is_no_cursor(self) -> None:
        cursor = await self.store.commit(say(*[published(f"e{n}", "a") for n in range(10)]))
        term = cursor.split(".")[0]
        odd = [
            f"{term}.11",
            f"{term}.010",
            f"{term}.-0",
            f"{term}.-01",
            f"{term}.+1",
            f"{term}.1_0",
            f"{term}. 1",
            f"{term}.1\n",
        ]
        odd += [
            f"{term}.\u0661",
            f"{term}.",
            f"{term}",
            f"{term}.1.1",
            f"{term.upper()}x.1",
            f".{cursor}",
            ".1",
        ]
        odd += ["", ".", "\0", "\ud800", f"{term}.{2**63}", f"{term}.{'9' * 5000}", "0.1", "x" * 100_000]
        self.assertEqual([await self.store.locate(text) for text in odd], [None] * len(odd))

    async def test_an_event_is_found_by_its_id_until_it_is_pruned(self) -> None:
        cursor = await self.store.commit(say(published("e1", "a"), published("e2", "a")))
        ((row,),) = (await self.store.read(Query("event_position", {"id": "e2"}))).results
        self.assertEqual((row, self.store.cursor_of(row["position"])), ({"position": 2}, cursor))
        await self.store.commit(
            Unit((Step("log_prune", {"namespace": "telemetry.**", "upto": 2}, expected_rows=2),))
        )
        self.assertEqual(await self.rows("event_position", id="e2"), ())
        self.assertEqual(await self.store.locate(cursor), 2)

    # Pruning.

    async def test_pruning_takes_the_oldest_of_one_namespace_and_never_the_head(self) -> None:
        await self.store.commit(say(*[published(f"e{n}", "t", n, n, "ab"[n % 2]) for n in range(1, 9)]))
        prune = Step("log_prune", {"namespace": "a", "upto": 6}, expected_rows=3)
        await self.store.commit(
            Unit((prune, Step("log_prune", {"namespace": "b", "upto": 8}, expected_rows=4)))
        )
        self.assertEqual([entry.position for entry in await self.store.read_after(0, 9)], [8])
        await self.store.commit(Unit((Step("log_prune", {"namespace": "a", "upto": 8}),)))
        self.assertEqual(((await self.store.head())[0], await self.store.read_after(0, 9)), (8, ()))
        await self.store.commit(say(published("e9", "t")))
        self.assertEqual([entry.position for entry in await self.store.read_after(0, 9)], [9])

    async def test_what_is_to_be_pruned_is_found_by_age_and_by_number(self) -> None:
        await self.store.commit(say(*[published(f"e{n}", "t", n, n, "ab"[n % 2]) for n in range(1, 9)]))

        async def position(name: str, **params: object) -> int | None:
            found = await self.rows(name, namespace="a", **params)
            return found[0]["position"] if found else None

        expired = [await position("log_expired", before=at(second)) for second in (2, 2.5, 6, 7, 99)]
        self.assertEqual(expired, [None, 2, 4, 6, 8])
        times = {"before": at(7), "now": at(99)}
        upto = [await position("log_expired_upto", **times, upto=upto) for upto in (1, 2, 5, 8)]
        self.assertEqual(upto, [None, 2, 4, 6])
        oldest = [await self.rows("log_oldest", namespace="a", since=at(n)) for n in (0, 2, 2.5, 8, 8.5)]
        self.assertEqual(oldest, [*(({"at": at(n)},) for n in (2, 2, 4, 8)), ()])
        surplus = [await position("log_surplus", most=most) for most in (0, 1, 3, 4, 9)]
        self.assertEqual(surplus, [8, 6, 2, None, None])
        nth = [await position("log_nth", n=n) for n in (1, 2, 4, 5)]
        self.assertEqual(nth, [2, 4, 8, None])

    async def test_what_was_stamped_by_a_clock_set_back_is_kept_as_long_as_what_came_before(self) -> None:
        await self.store.commit(
            say(*[published(f"e{n}", "t", n, second) for n, second in enumerate((5, 6, 90, 1, 2, 91))])
        )
        for before, upto, expected in ((7, 6, 2), (7, 2, 2), (7, 1, 1), (5, 6, None), (91, 6, 5), (99, 6, 6)):
            found = await self.rows(
                "log_expired_upto", namespace="telemetry.**", before=at(before), now=at(99), upto=upto
            )
            self.assertEqual(found[0]["position"], expected, (before, upto))

    async def test_what_was_stamped_by_a_clock_ahead_keeps_nothing_behind_it(self) -> None:
        await self.store.commit(
            say(*[published(f"e{n}", "t", n, second) for n, second in enumerate((5, 900, 6, 90))])
        )
        for now, expected in ((899, 3), (900, 1)):
            found = await self.rows(
                "log_expired_upto", namespace="telemetry.**", before=at(7), now=at(now), upto=4
            )
            self.assertEqual(found[0]["position"], expected, now)

    async def test_the_first_young_entry_of_any_namespace_is_found(self) -> None:
        """By the times of entries, of those namespaces that are kept."""
        names = ("users.**", "messages.**", "_sessions")
        await self.store.commit(
            say(
                *[
                    published(f"e{n}", "t", n, second, names[n % 3])
                    for n, second in enumerate((5, 9, 7, 8, 1, 99))
                ]
            )
        )
        for before, now, expected in ((5, 98, 1), (6, 98, 2), (9, 98, 2), (9.5, 98, None), (9.5, 99, 6)):
            found = await self.rows("log_young", before=at(before), now=at(now))
            self.assertEqual(found, ({"position": expected},), (before, now))

    async def test_the_newest_entry_is_told_with_the_time_of_the_database(self) -> None:
        ((before,),) = (await self.store.read(Query("clocks"))).results
        await self.store.commit(say(published("e1", "t", 1, 9), published("e2", "t", 2, 5)))
        ((row,),) = (await self.store.read(Query("clocks"))).results
        self.assertEqual((before["newest"], row["newest"]), (None, at(5)))

    async def test_a_floor_is_raised_and_never_lowered(self) -> None:
        before = await self.store.retention_floors()
        self.assertEqual(before, {"users.**": 0, "messages.**": 0, "_sessions": 0})
        for position in (2, 5, 5, 3):
            raising = Step("floor_raise", {"namespace": "users.**", "position": position})
            await self.store.commit(Unit((raising,)))
        unknown = Step("floor_raise", {"namespace": "unknown", "position": 9})
        await self.store.commit(Unit((unknown,)))
        self.assertEqual(await self.store.retention_floors(), before | {"users.**": 5})

    # Keys.

    async def test_a_key_is_claimed_once_by_each_user(self) -> None:
        await self.people("ada", "bob")
        await self.store.commit(claim("ada", "k", 0, fingerprint="f1", event_id="e1", answer="{}"))
        await self.store.commit(claim("bob", "k", 0, fingerprint="f2", event_id="e2"))
        self.assertEqual(await self.refusal(claim("ada", "k", 1, fingerprint="f3")), GONE)
        kept = ({"fingerprint": "f1", "event_id": "e1", "answer": "{}", "created_at": at(0)},)
        self.assertEqual(await self.rows("key_of", user_id="ada", key="k"), kept)
        kept = ({"fingerprint": "f2", "event_id": "e2", "answer": None, "created_at": at(0)},)
        self.assertEqual(await self.rows("key_of", user_id="bob", key="k"), kept)
        self.assertEqual(await self.rows("key_of", user_id="ada", key="K"), ())

    async def test_of_two_who_use_a_key_at_once_one_has_an_effect(self) -> None:
        await self.people("ada")
        claims = [claim("ada", "k", event_id=f"e{n}").steps for n in range(2)]
        first, second = (Unit(steps, (published(f"e{n}", "a"),)) for n, steps in enumerate(claims))
        sent = self.store.commit(first)
        self.assertEqual(await self.refusal(second), GONE)
        self.assertEqual([entry.cursor for entry in await self.store.read_after(0, 9)], [await sent])

    async def test_a_key_whose_time_is_over_is_free_again(self) -> None:
        await self.people("ada")
        await self.store.commit(claim("ada", "k", 5, answer="1"))
        self.assertEqual(await self.refusal(claim("ada", "k", 9, expired=5)), GONE)
        await self.store.commit(claim("ada", "k", 9, expired=5.001, fingerprint="f2", event_id="e2"))
        kept = ({"fingerprint": "f2", "event_id": "e2", "answer": None, "created_at": at(9)},)
        self.assertEqual(await self.rows("key_of", user_id="ada", key="k"), kept)
        self.assertEqual(await self.refusal(claim("ada", "k", 10, expired=9)), GONE)

    async def test_keys_go_with_their_user_and_nobody_else_has_any(self) -> None:
        await self.people("ada")
        await self.store.commit(claim("ada", "k"))
        await self.store.commit(step("user_drop", id="ada"))
        self.assertEqual(await self.rows("key_of", user_id="ada", key="k"), ())
        self.assertEqual(await self.refusal(claim("ada", "k")), GONE)

    async def test_old_keys_are_pruned_in_bites(self) -> None:
        await self.people("ada")
        for second in range(5):
            await self.store.commit(claim("ada", f"k{second}", second))

        async def left() -> list[str]:
            return [f"k{n}" for n in range(5) if await self.rows("key_of", user_id="ada", key=f"k{n}")]

        await self.store.commit(Unit((Step("keys_prune", {"before": at(3), "most": 2}, expected_rows=2),)))
        self.assertEqual(await left(), ["k2", "k3", "k4"])
        await self.store.commit(Unit((Step("keys_prune", {"before": at(3), "most": 2}, expected_rows=1),)))
        self.assertEqual(await left(), ["k3", "k4"])
