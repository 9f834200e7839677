"""What every store guarantees of sessions and of the audit log; a part of `StoreContract`."""

from __future__ import annotations

from typing import Any

from multiproto.core.transactions import Query, Step, Unit

from .units import GONE, add_session, amend_user, at, step


def note(id: str, second: float, subject: str | None, action: str = "login", **more: object) -> Unit:
    row = {"actor": None, "outcome": "success", "protocol": "rest", "address": None, "session_id": None}
    row |= {"id": id, "at": at(second), "subject": subject, "action": action, "times": 1, "details": None}
    return step("audit_add", **row | more)


class SessionContract:
    store: Any

    async def opened(self, user: str = "ada", now: float = 10) -> list[str]:
        query = Query("sessions_open", {"user_id": user, "now": at(now), "limit": 100})
        return [row["id"] for row in (await self.store.read(query)).results[0]]

    async def test_a_session_begins_only_for_the_password_that_was_checked(self: Any) -> None:
        await self.people("ada")
        await self.store.commit(add_session("s1", "ada"))
        await self.store.commit(amend_user("ada", 1))
        self.assertEqual(await self.refusal(add_session("s2", "ada")), GONE)
        self.assertEqual(await self.refusal(add_session("s2", "nobody")), GONE)
        self.assertEqual(await self.opened(), ["s1"])

    async def test_a_user_has_so_many_sessions_and_not_one_more(self: Any) -> None:
        """Those that have ended do not count."""
        await self.people("ada", "bob")
        for n in range(3):
            await self.store.commit(add_session(f"s{n}", "ada", n, most=3))
        self.assertEqual(await self.refusal(add_session("s3", "ada", 3, most=3)), GONE)
        await self.store.commit(add_session("s4", "bob", 3, most=3))
        await self.store.commit(step("session_revoke", id="s0", at=at(4)))
        await self.store.commit(add_session("s5", "ada", 5, most=3))
        self.assertEqual(await self.opened(), ["s5", "s2", "s1"])
        # A hundred seconds are all they have.
        self.assertEqual(await self.refusal(add_session("s6", "ada", 99, most=3)), GONE)
        await self.store.commit(add_session("s6", "ada", 100, most=3))

    async def test_a_session_is_listed_with_its_last_use(self: Any) -> None:
        await self.people("ada")
        await self.store.commit(add_session("s1", "ada"))
        query = Query("sessions_open", {"user_id": "ada", "now": at(10), "limit": 100})
        row = {"id": "s1", "created_at": at(0), "used_at": at(0), "expires_at": at(100)}
        self.assertEqual(
            (await self.store.read(query)).results[0],
            (row | {"address": "192.0.2.1", "client": "curl/8"},),
        )
        await self.store.commit(
            step("session_used", id="s1", at=at(5), now=at(5), address="192.0.2.2", client=None)
        )
        self.assertEqual(
            (await self.store.read(query)).results[0],
            (row | {"used_at": at(5), "address": "192.0.2.2", "client": None},),
        )
        late = step("session_used", id="s1", at=at(5), now=at(100), address=None, client=None)
        self.assertEqual(await self.refusal(late), GONE)

    async def test_one_ends_only_ones_own(self: Any) -> None:
        await self.people("ada", "bob")
        await self.store.commit(add_session("s1", "ada"))
        for id, user, second in (("s1", "bob", 1), ("s2", "ada", 1), ("s1", "ada", 100)):
            unit = step("session_revoke_own", id=id, user_id=user, at=at(1), now=at(second))
            self.assertEqual(await self.refusal(unit), GONE)
        await self.store.commit(step("session_revoke_own", id="s1", user_id="ada", at=at(1), now=at(1)))
        self.assertEqual(
            await self.refusal(step("session_revoke_own", id="s1", user_id="ada", at=at(1), now=at(1))), GONE
        )

    async def test_sessions_named_end_together_or_not_at_all(self: Any) -> None:
        await self.people("ada")
        for n in range(3):
            await self.store.commit(add_session(f"s{n}", "ada", n))

        def end(*ids: str) -> Unit:
            return Unit(
                (Step("sessions_revoke", {"ids": ids, "at": at(5)}, expected_rows=len(ids), miss=GONE),)
            )

        await self.store.commit(end("s0"))
        self.assertEqual(await self.refusal(end("s0", "s1")), GONE)
        await self.store.commit(end("s1", "s2"))
        self.assertEqual(await self.opened(), [])

    async def test_what_ended_is_pruned_tokens_first_in_bites(self: Any) -> None:
        await self.people("ada")
        for n, second in enumerate((0, 1, 2)):
            await self.store.commit(add_session(f"s{n}", "ada", second))
        await self.store.commit(step("session_revoke", id="s0", at=at(3)))
        parent = None
        for n in range(3):
            token = step("refresh_add", hash=f"h{n}", session_id="s0", parent=parent, at=at(0))
            await self.store.commit(token)
            parent = f"h{n}"
        await self.store.commit(step("refresh_add", hash="alive", session_id="s1", parent=None, at=at(0)))

        async def due(which: str, before: float) -> int:
            return len((await self.store.read(Query(f"{which}_due", {"before": at(before)}))).results[0])

        self.assertEqual([await due("sessions", 3), await due("refresh_tokens", 3)], [0, 0])
        self.assertEqual([await due("sessions", 4), await due("refresh_tokens", 4)], [1, 1])
        bite = {"before": at(4), "most": 2}
        await self.store.commit(Unit((Step("refresh_tokens_prune", bite, expected_rows=2),)))
        await self.store.commit(Unit((Step("refresh_tokens_prune", bite, expected_rows=1),)))
        self.assertEqual(await due("refresh_tokens", 4), 0)
        await self.store.commit(Unit((Step("sessions_prune", bite, expected_rows=1),)))
        self.assertEqual(await due("sessions", 4), 0)
        self.assertEqual(await self.opened(), ["s2", "s1"])
        self.assertEqual(len(await self.rows("refresh_by_hash", hash="alive")), 1)
        await self.store.commit(
            Unit((Step("sessions_prune", {"before": at(101), "most": 9}, expected_rows=2),))
        )

    async def test_networks_that_users_were_seen_at(self: Any) -> None:
        """Each once, with the time when last; of a user that there is not, none."""
        await self.people("ada", "bob")
        seen = [
            ("ada", "a", 1),
            ("ada", "b", 2),
            ("ada", "c", 3),
            ("ada", "a", 4),
            ("ada", "a", 0),
            ("bob", "a", 1),
        ]
        for user, network, second in [*seen, ("nobody", "a", 1)]:
            row = {"user_id": user, "network": network, "at": at(second)}
            await self.store.commit(Unit((Step("network_seen", row),)))

        async def known(user: str, since: float) -> list[str]:
            params = {"email_key": f"{user}@x.org", "since": at(since)}
            return [n for n in "abc" if await self.rows("network_known", network=n, **params)]

        self.assertEqual([await known("ada", second) for second in (1, 3, 4)], [["a", "b", "c"], ["a"], []])
        await self.store.commit(step("networks_forget", user_id="ada", most=2))
        self.assertEqual([await known("ada", -1), await known("bob", -1)], [["a", "c"], ["a"]])
        bite = {"before": at(4), "most": 1}
        self.assertEqual(await self.rows("known_networks_due", before=at(4)), ({"at": at(1)},))
        for _ in range(2):
            await self.store.commit(Unit((Step("known_networks_prune", bite, expected_rows=1),)))
        self.assertEqual(await self.rows("known_networks_due", before=at(4)), ())
        self.assertEqual([await known("ada", -1), await known("bob", -1)], [["a"], []])
        await self.store.commit(step("user_drop", id="ada"))
        self.assertEqual(await known("ada", -1), [])

    # The trail.

    async def test_a_note_has_all_its_columns(self: Any) -> None:
        """Also when nobody has the account any more: it is not of `users`."""
        told = {"actor": "ada", "outcome": "reused", "address": "192.0.2.1", "session_id": "s1", "times": 7}
        await self.store.commit(note("n1", 1, "ada", "refresh", **told, details={"é": [1, None]}))
        (row,) = await self.rows("audit_page", limit=9, offset=0, bound=99)
        self.assertEqual(
            row,
            {"id": "n1", "at": at(1), "subject": "ada", "action": "refresh", "protocol": "rest"}
            | told
            | {"details": '{"é":[1,null]}', "position": 1},
        )

    async def test_the_trail_is_listed_newest_first_by_account_and_by_action(self: Any) -> None:
        for unit in (
            note("n1", 1, "ada"),
            note("n2", 2, "bob"),
            note("n3", 1, "ada", "logout"),  # by a clock that is behind, and yet after the others
            note("n4", 3, None, "token"),
            note("n5", 4, "ada"),
        ):
            await self.store.commit(unit)

        async def listed(which: str, **asked: object) -> str:
            page = await self.rows(f"audit_page{which}", **asked, limit=9, offset=0, bound=99)
            count = await self.rows(f"audit_count{which}", **asked)
            self.assertEqual(count, ({"total": len(page)},))
            for place, row in enumerate(page):
                beside = asked | {"bound": row["position"], "offset": 0, "limit": 9}
                self.assertEqual(await self.rows(f"audit_page{which}", **beside), page[place + 1 :])
                self.assertEqual(await self.rows(f"audit_page_after{which}", **beside), page[:place][::-1])
            return "".join(row["id"][1:] for row in page)

        self.assertEqual(await listed(""), "54321")
        self.assertEqual(await listed("_by_action", action="login"), "521")
        self.assertEqual(await listed("_by_subject", subject="ada", action=""), "531")
        self.assertEqual(await listed("_by_subject", subject="ada", action="login"), "51")
        self.assertEqual(await listed("_by_subject", subject="eve", action=""), "")
        second = await self.rows("audit_page", limit=2, offset=2, bound=99)
        self.assertEqual([row["id"] for row in second], ["n3", "n2"])

    async def test_the_trail_is_pruned_from_its_oldest(self: Any) -> None:
        for n in (3, 1, 2, 4):
            await self.store.commit(note(f"n{n}", n, "ada"))
        due = [await self.rows("audit_due", before=at(n)) for n in (1, 2, 9)]
        self.assertEqual(due, [(), ({"at": at(1)},), ({"at": at(1)},)])
        await self.store.commit(Unit((Step("audit_prune", {"before": at(4), "most": 2}, expected_rows=2),)))
        left = await self.rows("audit_page", limit=9, offset=0, bound=99)
        self.assertEqual([row["id"] for row in left], ["n4", "n3"])
        await self.store.commit(Unit((Step("audit_prune", {"before": at(9), "most": 9}, expected_rows=2),)))
        self.assertEqual((await self.rows("audit_end"))[0]["number"], 0)
        await self.store.commit(note("n5", 5, "ada"))
        self.assertEqual((await self.rows("audit_end"))[0]["number"], 5)  # no number is given twice
