"""What every store guarantees to the core, told once for all of them.

A store's own tests mix `StoreContract` into a `twisted.trial.unittest.TestCase`
and bring up an empty one in `setUp`.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredList, gatherResults

from multiproto.core.errors import DatabaseError, Unavailable
from multiproto.core.kept_accounts import email_lookup
from multiproto.core.transactions import Query, Step, Unit

from .erasure_contract import ErasureContract
from .log_contract import LogContract
from .session_contract import SessionContract
from .units import (
    GONE,
    STRANGER,
    TAKEN,
    add_credential,
    add_message,
    add_session,
    add_user,
    amend_user,
    at,
    close_account,
    event,
    say,
    step,
    user_by_id,
    withdraw,
)

BEHIND_ALL = 2**63 - 1  # as the bound of a page: none


class StoreContract(SessionContract, LogContract, ErasureContract):
    # Units of work.

    async def test_a_row_and_its_event_are_there_together_under_one_cursor(self) -> None:
        told = event("e1", "ada", "user.created", name="Ada")
        cursor = await self.store.commit(add_user("ada", 0, told))
        snapshot = await self.store.read(user_by_id("ada"))
        (entry,) = await self.store.read_after(0, 10)
        self.assertEqual(snapshot.results[0][0]["email"], "ADA@x.org")
        self.assertEqual(
            (snapshot.cursor, entry.cursor, entry.position, entry.event), (cursor, cursor, 1, told)
        )

    async def test_a_step_that_misses_undoes_its_whole_unit(self) -> None:
        unit = Unit((*add_user("ada").steps, *withdraw("nothing").steps), (event("e1", "ada"),))
        self.assertEqual(await self.refusal(unit), GONE)
        self.assertEqual(await self.rows("user_by_id", id="ada"), ())
        self.assertEqual((await self.store.head())[0], 0)

    async def test_a_violated_constraint_is_the_steps_clash(self) -> None:
        await self.people("ada")
        self.assertEqual(await self.refusal(add_user("ada")), TAKEN)
        self.assertEqual(await self.refusal(add_message("m", "ada", to="nobody")), STRANGER)

    async def test_fault_16_addresses_that_differ_by_case_are_one(self) -> None:
        """The predecessor's fault: two accounts for one mailbox (docs/predecessor-faults.md#fault-16)."""
        await self.people("ada")
        other = add_user("ada2").steps[0]
        params = {**other.params, "email": "Ada@X.org", "email_key": "ada@x.org"}
        clashing = Unit((Step("user_add", params, expected_rows=1, miss=TAKEN, clash=TAKEN),))
        self.assertEqual(await self.refusal(clashing), TAKEN)

    async def test_an_event_that_cannot_be_kept_takes_its_row_back(self) -> None:
        """What fails between the row and its event undoes both.

        docs/guarantees.md#g6-row-and-event-together
        """
        await self.store.commit(add_user("ada", 0, event("e1", "ada")))
        twice = add_user("bob", 0, event("e2", "bob"), event("e1", "bob"))
        self.assertIsInstance(await self.refusal(twice), DatabaseError)
        self.assertEqual(await self.rows("user_by_id", id="bob"), ())
        self.assertEqual([entry.event.id for entry in await self.store.read_after(0, 10)], ["e1"])
        self.flushLoggedErrors()  # type: ignore[attr-defined]

    async def test_a_violation_that_no_step_foresaw_is_logged_and_not_explained(self) -> None:
        await self.people("ada")
        careless = Unit((Step("user_add", add_user("ada").steps[0].params),))
        self.assertEqual(await self.refusal(careless), DatabaseError("Database error"))
        self.assertEqual(len(self.flushLoggedErrors()), 1)  # type: ignore[attr-defined]

    async def test_a_unit_that_misses_leaves_its_neighbours_alone(self) -> None:
        units = [add_user("a", 0, event("e1", "a")), amend_user("x", 1), add_user("b", 0, event("e2", "b"))]
        done = await DeferredList([self.store.commit(unit) for unit in units], consumeErrors=True)
        self.assertEqual([success for success, _ in done], [True, False, True])
        self.assertEqual([entry.event.id for entry in await self.store.read_after(0, 10)], ["e1", "e2"])

    async def test_the_first_step_that_fails_decides(self) -> None:
        """A session that is not added violates a constraint of its refresh token."""
        (full,) = add_session("s", "ada", most=0).steps
        clash = Unavailable("the token has no session")
        token = {"hash": "h", "session_id": "s", "parent": None, "at": at(0)}
        with self.assertRaises(type(GONE)) as caught:  # type: ignore[attr-defined]
            await self.store.commit(
                Unit((full, Step("refresh_add", token, expected_rows=1, miss=clash, clash=clash)))
            )
        self.assertIs(caught.exception, GONE)  # type: ignore[attr-defined]

    async def test_a_unit_that_cannot_even_be_sent_leaves_its_neighbours_alone(self) -> None:
        """An event without JSON, an unknown statement, a missing parameter: bugs of ours, each of one unit."""
        broken = [
            say(event("e", "ada", content=object())),
            Unit((Step("no_such_statement", {}),)),
            Unit((Step("user_drop", {}),)),
        ]
        units = [add_user("a", 0, event("e1", "a")), *broken, add_user("b", 0, event("e2", "b"))]
        done = await DeferredList([self.store.commit(unit) for unit in units], consumeErrors=True)
        self.assertEqual([success for success, _ in done], [True, False, False, False, True])
        self.assertEqual([entry.event.id for entry in await self.store.read_after(0, 10)], ["e1", "e2"])
        self.assertEqual(len(self.flushLoggedErrors()), 3)  # type: ignore[attr-defined]

    async def test_a_unit_without_events_answers_with_the_head(self) -> None:
        cursor = await self.store.commit(add_user("ada", 0, event("e1", "ada")))
        self.assertEqual(await self.store.commit(amend_user("ada", 1)), cursor)

    async def test_many_at_once_get_dense_positions_in_the_order_they_were_asked(self) -> None:
        await self.people("ada")
        sent = [add_message(f"m{n}", "ada", n, event(f"e{n}", f"m{n}")) for n in range(1000)]
        cursors = await gatherResults([self.store.commit(unit) for unit in sent])
        entries = await self.store.read_after(0, 2000)
        self.assertEqual([entry.position for entry in entries], list(range(1, 1001)))
        self.assertEqual([entry.event.id for entry in entries], [f"e{n}" for n in range(1000)])
        self.assertEqual([entry.cursor for entry in entries], cursors)

    async def test_all_that_is_read_together_is_of_one_moment_and_so_is_the_cursor(self) -> None:
        cursors: list[str] = []
        for first in range(0, 600, 20):
            people = range(first, first + 20)
            written = [self.store.commit(add_user(f"u{n}", n, event(f"e{n}", f"u{n}"))) for n in people]
            snapshot = await self.store.read(*[Query("users_count")] * 100)  # while they are being written
            cursors += [await cursor for cursor in written]
            (total,) = {rows[0]["total"] for rows in snapshot.results}
            self.assertEqual([snapshot.cursor], cursors[total - 1 : total] or [snapshot.cursor])

    # Users.

    async def test_an_amended_user_has_the_next_version_and_only_one_amender_wins(self) -> None:
        await self.people("ada")
        await self.store.commit(amend_user("ada", 1, 5))
        self.assertEqual(await self.refusal(amend_user("ada", 1, 6)), GONE)
        (row,) = await self.rows("user_by_email", **email_lookup("new-ada@x.org"))
        self.assertEqual(
            row,
            {
                "id": "ada",
                "email": "new-ada@x.org",
                "email_key": "new-ada@x.org",
                "name": "New",
                "password_hash": "$3$",
                "version": 2,
                "created_at": at(0),
                "updated_at": at(5),
            },
        )

    async def test_an_amendment_in_the_same_millisecond_keeps_the_time_it_was_given(self) -> None:
        await self.people("ada")
        await self.store.commit(amend_user("ada", 1, 0))
        (row,) = await self.rows("user_by_id", id="ada")
        self.assertEqual((row["updated_at"], row["version"]), (at(0), 2))

    async def test_users_are_listed_newest_first(self) -> None:
        await self.people("ada", "bob", "cat")
        page, count = (
            await self.store.read(
                Query("users_page", {"limit": 2, "offset": 1, "bound": BEHIND_ALL}), Query("users_count")
            )
        ).results
        self.assertEqual([row["id"] for row in page], ["bob", "ada"])
        self.assertEqual(count, ({"total": 3},))

    async def test_several_users_are_one_statement(self) -> None:
        """The predecessor's fault: a query per message for its author.

        docs/predecessor-faults.md#fault-25
        """
        await self.people("ada", "bob", "cat")
        found = await self.rows("users_by_ids", ids=["ada", "cat", "nobody", "ada"])
        self.assertEqual(sorted(row["id"] for row in found), ["ada", "cat"])

    # Sessions.

    async def test_fault_15_a_session_is_live_until_expiry_revocation_or_the_end_of_its_user(self) -> None:
        """The predecessor's fault: tokens of deleted users were taken, and nothing could be revoked.

        docs/predecessor-faults.md#fault-15
        """
        await self.people("ada", "bob")
        for id, user in (("s1", "ada"), ("s2", "ada"), ("s3", "bob")):
            await self.store.commit(add_session(id, user))

        async def live(now: float = 1) -> list[str]:
            asked = [("s1", "ada"), ("s2", "ada"), ("s3", "bob"), ("s1", "bob")]
            queries = [Query("session_live", {"id": id, "user_id": who, "now": at(now)}) for id, who in asked]
            return [row["id"] for rows in (await self.store.read(*queries)).results for row in rows]

        self.assertEqual(await live(), ["s1", "s2", "s3"])
        self.assertEqual(await live(100), [])
        await self.store.commit(step("session_revoke", id="s1", at=at(2)))
        self.assertEqual(await live(), ["s2", "s3"])
        self.assertEqual(await self.refusal(step("session_revoke", id="s1", at=at(3))), GONE)
        await self.store.commit(close_account("bob"))
        self.assertEqual(await live(), ["s2"])
        self.assertEqual(await self.refusal(add_session("s4", "bob")), GONE)

    async def test_all_other_sessions_of_a_user_end_or_all(self) -> None:
        await self.people("ada", "bob")
        for id, user in (("s1", "ada"), ("s2", "ada"), ("s3", "ada"), ("s4", "bob")):
            await self.store.commit(add_session(id, user))

        async def live() -> list[str]:
            owners = {"s1": "ada", "s2": "ada", "s3": "ada", "s4": "bob"}
            found = [await self.rows("session_live", id=id, user_id=owners[id], now=at(1)) for id in owners]
            return [row["id"] for rows in found for row in rows]

        params = {"user_id": "ada", "keep": "s2", "at": at(1), "now": at(1)}
        await self.store.commit(Unit((Step("sessions_revoke_others", params),)))
        self.assertEqual(await live(), ["s2", "s4"])
        await self.store.commit(Unit((Step("sessions_revoke_others", params | {"keep": ""}),)))
        self.assertEqual(await live(), ["s4"])

    async def test_a_refresh_token_is_spent_once_and_goes_with_its_user(self) -> None:
        await self.people("ada")
        await self.store.commit(add_session("s1", "ada"))
        await self.store.commit(step("refresh_add", hash="h1", session_id="s1", parent=None, at=at(0)))
        await self.store.commit(step("refresh_add", hash="h2", session_id="s1", parent="h1", at=at(1)))
        await self.store.commit(step("refresh_spend", hash="h1", at=at(2)))
        self.assertEqual(await self.refusal(step("refresh_spend", hash="h1", at=at(3))), GONE)
        first, second = (
            await self.rows("refresh_by_hash", hash="h1"),
            await self.rows("refresh_by_hash", hash="h2"),
        )
        shared = {
            "session_id": "s1",
            "user_id": "ada",
            "email": "ADA@x.org",
            "expires_at": at(100),
            "revoked_at": None,
        }
        self.assertEqual(first, (shared | {"hash": "h1", "parent": None, "spent_at": at(2)},))
        self.assertEqual(second, (shared | {"hash": "h2", "parent": "h1", "spent_at": None},))
        await self.store.commit(close_account("ada"))
        self.assertEqual((await self.rows("refresh_by_hash", hash="h2"))[0]["revoked_at"], at(0))
        await self.store.commit(step("user_drop", id="ada"))
        self.assertEqual(await self.rows("refresh_by_hash", hash="h2"), ())

    # Credentials.

    async def credentials(self, user: str = "ada") -> list[str]:
        return [row["id"] for row in await self.rows("credentials_of_user", user_id=user)]

    async def test_a_credential_has_all_its_columns_and_goes_with_its_user(self) -> None:
        await self.people("ada")
        await self.store.commit(add_credential("c1", "ada", "pump", 9))
        grants = "publish a.**\nsubscribe b"
        self.assertEqual(
            await self.rows("credential_by_id", id="c1"),
            (
                {
                    "id": "c1",
                    "user_id": "ada",
                    "name": "pump",
                    "hash": "hash of c1",
                    "grants": grants,
                    "expires_at": at(9),
                },
            ),
        )
        shown = {"id": "c1", "name": "pump", "grants": grants, "created_at": at(0), "expires_at": at(9)}
        unused = {"last_used_at": None, "last_used_from": None}
        self.assertEqual(await self.rows("credentials_of_user", user_id="ada"), (shown | unused,))
        await self.store.commit(close_account("ada"))
        self.assertEqual(await self.rows("credential_by_id", id="c1"), ())

    async def test_a_credential_is_added_once_by_name_and_only_so_many(self) -> None:
        await self.people("ada", "bob")
        await self.store.commit(add_credential("c1", "ada", "pump"))
        self.assertEqual(await self.refusal(add_credential("c2", "ada", "pump")), TAKEN)
        self.assertEqual(await self.refusal(add_credential("c2", "ada", "lamp", most=1)), GONE)
        self.assertEqual(await self.refusal(add_credential("c2", "nobody", "lamp")), GONE)
        await self.store.commit(add_credential("c3", "bob", "pump", most=1))
        await self.store.commit(add_credential("c2", "ada", "lamp", most=2))
        self.assertEqual(await self.credentials(), ["c2", "c1"])
        self.assertEqual(await self.credentials("bob"), ["c3"])

    async def test_of_many_credentials_at_once_no_more_are_added_than_there_may_be(self) -> None:
        await self.people("ada")
        units = [add_credential(f"c{n}", "ada", f"d{n}", most=3) for n in range(9)]
        done = await DeferredList([self.store.commit(unit) for unit in units], consumeErrors=True)
        self.assertEqual([success for success, _ in done].count(True), 3)
        self.assertEqual(len(await self.credentials()), 3)

    async def test_credentials_are_dropped_by_their_own_user_or_when_they_have_expired(self) -> None:
        await self.people("ada", "bob")
        for unit in (
            add_credential("c1", "ada", "one", 5),
            add_credential("c2", "ada", "two", 6),
            add_credential("c3", "ada", "three"),
            add_credential("c4", "bob", "four", 5),
        ):
            await self.store.commit(unit)
        expired = {"user_id": "ada", "now": at(5)}
        await self.store.commit(Unit((Step("credentials_drop_expired", expired),)))
        self.assertEqual((await self.credentials(), await self.credentials("bob")), (["c3", "c2"], ["c4"]))
        self.assertEqual(await self.refusal(step("credential_drop", id="c4", user_id="ada")), GONE)
        await self.store.commit(step("credential_drop", id="c3", user_id="ada"))
        self.assertEqual(await self.refusal(step("credential_drop", id="c3", user_id="ada")), GONE)
        self.assertEqual((await self.credentials(), await self.credentials("bob")), (["c2"], ["c4"]))

    async def test_the_latest_use_of_a_credential_is_kept(self) -> None:
        """Whichever instance writes first."""
        await self.people("ada")
        await self.store.commit(add_credential("c1", "ada", "pump"))
        await self.store.commit(step("credential_used", id="c1", at=at(2), host="192.0.2.1"))
        self.assertEqual(await self.refusal(step("credential_used", id="c1", at=at(1), host="::1")), GONE)
        self.assertEqual(await self.refusal(step("credential_used", id="gone", at=at(3), host="::1")), GONE)
        [row] = await self.rows("credentials_of_user", user_id="ada")
        self.assertEqual((row["last_used_at"], row["last_used_from"]), (at(2), "192.0.2.1"))

    # Lists of messages.

    async def talk(self) -> None:
        """Ada, Bob and Eve talk, in the open and directly."""
        await self.people("ada", "bob", "eve")
        for unit in (
            add_message("m1", "ada", 1, channel="c"),
            add_message("m2", "bob", 2, channel="c"),
            add_message("m3", "ada", 3, to="bob"),
            add_message("m4", "ada", 4, channel="c", to="bob"),
            add_message("m5", "eve", 5, to="eve"),
            add_message("m6", "ada", 6, channel="d"),
            add_message("m7", "ada", 7, channel="c"),
        ):
            await self.store.commit(unit)

    async def listed(self, which: str, **params: object) -> str:
        """The numbers of the messages listed, newest first; the count, and the parts before and after each, must agree."""
        page = Query(f"messages_page{which}", params | {"limit": 50, "offset": 0, "bound": BEHIND_ALL})
        rows, count = (await self.store.read(page, Query(f"messages_count{which}", params))).results
        assert count == ({"total": len(rows)},), (count, rows)
        for place, row in enumerate(rows):
            beside = params | {"bound": row["position"], "offset": 0}
            for limit in (1, 50):
                older = await self.rows(f"messages_page{which}", **beside, limit=limit)
                newer = await self.rows(f"messages_page_after{which}", **beside, limit=limit)
                self.assertEqual(older, rows[place + 1 :][:limit])
                self.assertEqual(newer, rows[:place][::-1][:limit])
        return "".join(row["id"][1:] for row in rows)

    async def test_fault_13_a_direct_message_is_in_the_lists_and_totals_of_its_two_people_only(self) -> None:
        """The predecessor's fault: REST showed every message to every user.

        docs/predecessor-faults.md#fault-13
        """
        await self.talk()
        self.assertEqual(await self.listed("", viewer="ada"), "764321")
        self.assertEqual(await self.listed("", viewer="bob"), "764321")
        self.assertEqual(await self.listed("", viewer="eve"), "76521")
        self.assertEqual(await self.listed("_by_user", viewer="bob", user_id="ada"), "76431")
        self.assertEqual(await self.listed("_by_user", viewer="eve", user_id="ada"), "761")
        self.assertEqual(await self.listed("_by_channel", viewer="ada", channel_id="c"), "7421")
        self.assertEqual(await self.listed("_by_channel", viewer="eve", channel_id="c"), "721")
        both = {"user_id": "ada", "channel_id": "c"}
        self.assertEqual(await self.listed("_by_user_and_channel", viewer="bob", **both), "741")
        self.assertEqual(await self.listed("_by_user_and_channel", viewer="eve", **both), "71")

    async def test_lists_without_the_channels_that_their_viewer_may_not_read(self) -> None:
        """But with what the viewer said there; by channels that are open, or by those that are closed."""
        await self.talk()
        for viewer, closed, everything in (
            ("eve", ["d"], "7521"),
            ("eve", ["c"], "65"),
            ("eve", ["c", "d", "x"], "5"),
            ("bob", ["c", "d"], "432"),
            ("ada", ["c", "d"], "76431"),
            ("eve", [], "76521"),
        ):
            channels = [channel for channel in ("c", "d", "x", "x") if channel not in closed]
            self.assertEqual(await self.listed("_but_in", viewer=viewer, channels=closed), everything)
            self.assertEqual(await self.listed("_only_in", viewer=viewer, channels=channels), everything)
        for viewer, closed, of_ada in (("eve", ["c"], "6"), ("eve", ["c", "d"], ""), ("bob", ["c"], "643")):
            channels = [channel for channel in ("c", "d") if channel not in closed]
            for only, named in ((False, closed), (True, channels)):
                params = {"viewer": viewer, "user_id": "ada", "channels": named, "only": only}
                self.assertEqual(await self.listed("_by_user_narrowed", **params), of_ada)
                params = {"viewer": viewer, "user_ids": ["ada", "nobody"], "channels": named, "only": only}
                rows = await self.rows(
                    "messages_of_users_page_narrowed", **params, limit=9, offset=0, bound=BEHIND_ALL
                )
                self.assertEqual("".join(row["id"][1:] for row in rows), of_ada)
                params["user_ids"] = ["ada"]
                for row in rows:
                    beside = params | {"bound": row["position"], "limit": 9, "offset": 0}
                    older = await self.rows("messages_of_users_page_narrowed", **beside)
                    newer = await self.rows("messages_of_users_page_after_narrowed", **beside)
                    self.assertEqual((*newer[::-1], row, *older), rows)
                counts = await self.rows("messages_of_users_count_narrowed", **params)
                self.assertEqual([row["total"] for row in counts], [len(of_ada)] if of_ada else [])
        for viewer, author, of_c in (
            *(("ada", "", "741"), ("bob", "", "42"), ("eve", "", "")),
            *(("bob", "ada", "4"), ("ada", "bob", ""), ("ada", "ada", "741")),
        ):
            params = {"viewer": viewer, "user_id": author, "channel_id": "c"}
            self.assertEqual(await self.listed("_by_closed_channel", **params), of_c)

    async def test_the_pages_of_narrowed_lists_follow_one_another(self) -> None:
        await self.talk()
        for name, params in (
            ("only_in", {"viewer": "bob", "channels": ["c"]}),
            ("but_in", {"viewer": "bob", "channels": ["d"]}),
        ):
            pages = [
                await self.rows(f"messages_page_{name}", **params, limit=2, offset=offset, bound=BEHIND_ALL)
                for offset in range(0, 6, 2)
            ]
            self.assertEqual(
                [[row["id"] for row in page] for page in pages], [["m7", "m4"], ["m3", "m2"], ["m1"]]
            )

    async def test_fault_25_pages_follow_one_another_in_a_fixed_order(self) -> None:
        """The predecessor's fault: OFFSET with unstable order (docs/predecessor-faults.md#fault-25)."""
        await self.talk()
        pages = [
            await self.rows("messages_page", viewer="ada", limit=2, offset=offset, bound=BEHIND_ALL)
            for offset in range(0, 8, 2)
        ]
        self.assertEqual(
            [[row["id"] for row in page] for page in pages], [["m7", "m6"], ["m4", "m3"], ["m2", "m1"], []]
        )

    async def test_lists_are_in_the_order_of_the_log_whatever_the_clocks_said(self) -> None:
        """A row's place is that of its event, also behind units of the same transaction that came to nothing."""
        await gatherResults(
            [
                self.store.commit(add_user("ada", 9, event("u1", "ada"))),
                self.store.commit(add_user("bob", 8, event("u2", "bob"), event("u3", "bob"))),
            ]
        )
        units = [
            add_message("m1", "ada", 9, event("e1", "m1"), channel="c"),
            add_message("m2", "ada", 1, event("e2", "m2"), channel="c", to="bob"),
            add_message("mx", "ada", 1, event("ex", "mx"), to="nobody"),
            say(event("e3", "")),
            add_message("m3", "bob", 5, event("e4", "m3"), event("e5", "m3"), channel="c"),
            add_message("m4", "ada", 5, event("e6", "m4"), channel="c"),
        ]
        done = await DeferredList([self.store.commit(unit) for unit in units], consumeErrors=True)
        self.assertEqual([success for success, _ in done], [True, True, False, True, True, True])
        rows = await self.rows("messages_page", viewer="ada", limit=9, offset=0, bound=BEHIND_ALL)
        places = {entry.event.id: entry.position for entry in await self.store.read_after(0, 20)}
        self.assertEqual(
            [(row["id"], row["position"]) for row in rows],
            [("m4", places["e6"]), ("m3", places["e4"]), ("m2", places["e2"]), ("m1", places["e1"])],
        )
        rows = await self.rows("users_page", limit=9, offset=0, bound=BEHIND_ALL)
        self.assertEqual(
            [(row["id"], row["position"]) for row in rows], [("bob", places["u2"]), ("ada", places["u1"])]
        )

    async def test_fault_25_the_pages_of_several_authors_are_one_statement(self) -> None:
        """The predecessor's fault: a query per object of a list (docs/predecessor-faults.md#fault-25)."""
        await self.talk()
        authors = ["eve", "ada", "bob", "nobody", "ada"]
        page = {"viewer": "eve", "user_ids": authors, "limit": 2, "offset": 0, "bound": BEHIND_ALL}
        rows = await self.rows("messages_of_users_page", **page)
        self.assertEqual([row["id"] for row in rows], ["m7", "m6", "m2", "m5"])
        for name, bound, expected in (
            ("messages_of_users_page", 60_000, ["m1", "m2", "m5"]),
            ("messages_of_users_page_after", 0, ["m1", "m6", "m2", "m5"]),
            ("messages_of_users_page_after", 60_000, ["m7"]),
        ):
            rows = await self.rows(name, **page | {"bound": bound})
            self.assertEqual([row["id"] for row in rows], expected)
        rows = await self.rows("messages_of_users_page", **page | {"offset": 2})
        self.assertEqual([row["id"] for row in rows], ["m1"])
        counts = await self.rows("messages_of_users_count", viewer="eve", user_ids=authors)
        self.assertEqual({row["user_id"]: row["total"] for row in counts}, {"ada": 3, "bob": 1, "eve": 1})

    async def test_a_message_has_all_its_columns(self) -> None:
        await self.talk()
        self.assertEqual(
            await self.rows("message_by_id", id="m4"),
            (
                {
                    "id": "m4",
                    "user_id": "ada",
                    "content": "hello",
                    "channel_id": "c",
                    "recipient_id": "bob",
                    "created_at": at(4),
                    "updated_at": at(4),
                },
            ),
        )
