"""What every store guarantees while the log is cleared, in batches, of what accounts have left there."""

from __future__ import annotations

import contextlib
from itertools import product
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from multiproto.core.errors import Refusal, Unavailable
from multiproto.core.transactions import Event, Query, Row, Snapshot, Step, Unit
from multiproto.log import eraser
from multiproto.log.eraser import Eraser

from .units import (
    add_credential,
    add_message,
    add_session,
    add_user,
    amend_user,
    at,
    claim,
    close_account,
    event,
    say,
    step,
)

LISTS = ("", "_by_user", "_by_channel", "_by_user_and_channel", "_only_in", "_but_in")
LISTS += ("_by_user_narrowed", "_by_closed_channel")
MESSAGES = 18  # that `fill` sends


def updated(id: str, user: str, email: str) -> Event:
    content = {"user": {"id": user, "email": email, "name": "n"}}
    return Event(id, "user.updated", ("users",), content, user, at(0), "users.**")


def change_email(user: str, *events: Event) -> Unit:
    return Unit((Step("email_outdated", {"id": user}),), events)


class KilledStore:
    """A store of which, after so many units, nothing more is written: as where its process is killed."""

    def __init__(self, store: Any, units: int) -> None:
        self.store, self.units = store, units
        self.read = store.read
        self.committed: list[Unit] = []

    async def commit(self, unit: Unit) -> str:
        if len(self.committed) == self.units:
            raise Unavailable("killed")
        self.committed.append(unit)
        return await self.store.commit(unit)  # type: ignore[no-any-return]


class ErasureContract:
    store: Any  # from `setUp`: empty, up and running

    async def rows(self, name: str, **params: object) -> tuple[Row, ...]:
        snapshot: Snapshot = await self.store.read(Query(name, params))
        return snapshot.results[0]

    def eraser(self, store: Any = None) -> Eraser:
        made = Eraser(store or self.store, Clock())
        made.running = 1
        return made

    async def emails(self) -> dict[str, str | None]:
        """By event, as the follower and those who resume read them, which is the same."""
        entries = await self.store.read_after(0, 100)
        page = await self.store.read_page("users", 0, 100)
        self.assertEqual(page.entries, tuple(each for each in entries if not each.redacted))
        return {each.event.id: each.event.content["user"].get("email") for each in entries}

    async def left(self, user: str) -> list[str]:
        """The events with an address that the database itself has, by a statement that hides nothing."""
        found = await self.rows("log_page", lead="users", low=0, high=100, text=1 << 20, most=100)
        return [row["id"] for row in found if row["subject"] == user and "email" in row["content"]]

    async def test_an_old_address_is_hidden_at_once_and_erased_in_batches(self) -> None:
        """Others' events keep theirs, and so does what is written after the change."""
        for user in ("ada", "bob"):
            told = [updated(f"{user}{n}", user, "old@x.org") for n in range(5)]
            await self.store.commit(add_user(user, 0, *told))
        await self.store.commit(change_email("ada", updated("ada5", "ada", "new@x.org")))
        now = {f"ada{n}": None for n in range(5)} | {f"bob{n}": "old@x.org" for n in range(5)}
        now |= {"ada5": "new@x.org"}
        self.assertEqual(await self.emails(), now)
        self.assertEqual(await self.left("ada"), [f"ada{n}" for n in range(6)])
        killed = KilledStore(self.store, 1)
        with patch.object(eraser, "BATCH_SIZE", 2):
            with contextlib.suppress(Unavailable):
                await self.eraser(killed).erase()
            self.assertEqual(await self.emails(), now)
            self.assertEqual(await self.left("ada"), ["ada2", "ada3", "ada4", "ada5"])
            goes_on = KilledStore(self.store, 100)
            await self.eraser(goes_on).erase()
        self.assertEqual(len(goes_on.committed), 2)
        self.assertEqual(await self.emails(), now)
        self.assertEqual(await self.left("ada"), ["ada5"])
        self.assertEqual(await self.rows("erasures_pending"), ())
        await self.eraser(KilledStore(self.store, 0)).erase()  # nothing is written any more
        # Those without are not written again: else each change would write all that there were before it.
        await self.store.commit(step("log_forget_email", id="ada", after=0, upto=11))

    async def test_an_address_that_changes_again_while_it_is_erased(self) -> None:
        """Two instances erase at the same time, too."""
        await self.store.commit(add_user("ada", 0, *[updated(f"e{n}", "ada", "1@x.org") for n in range(4)]))
        await self.store.commit(change_email("ada", updated("e4", "ada", "2@x.org")))
        with patch.object(eraser, "BATCH_SIZE", 2):
            both = gatherResults([Deferred.fromCoroutine(self.eraser().erase()) for _ in range(2)])
            changed = [
                self.store.commit(change_email("ada", updated(f"f{n}", "ada", f"{n}@x.org")))
                for n in range(3, 6)
            ]
            await gatherResults(changed)
            hidden = {f"e{n}": None for n in range(5)} | {"f3": None, "f4": None, "f5": "5@x.org"}
            self.assertEqual(await self.emails(), hidden)
            await both
            await self.eraser().erase()
        self.assertEqual(await self.emails(), hidden)
        self.assertEqual(await self.left("ada"), ["f5"])

    async def test_an_address_of_which_the_log_has_nothing_any_more(self) -> None:
        """All that had it was pruned."""
        await self.store.commit(add_user("ada"))
        await self.store.commit(change_email("ada"))
        await self.eraser().erase()
        self.assertEqual(await self.rows("erasures_pending"), ())

    async def test_events_of_the_transaction_in_which_an_address_changes_are_hidden(self) -> None:
        """Of an event that is written a moment before, in the same transaction, nobody reads the old one."""
        await self.store.commit(add_user("ada"))
        units = [
            say(updated("e1", "ada", "1@x.org")),
            change_email("ada", updated("e2", "ada", "2@x.org")),
            say(updated("e3", "ada", "2@x.org")),
        ]
        await gatherResults([self.store.commit(unit) for unit in units])
        self.assertEqual(await self.emails(), {"e1": None, "e2": "2@x.org", "e3": "2@x.org"})

    # Accounts that are closed.

    async def lists(self) -> dict[str, tuple[Row, ...]]:
        """All that is read of users and messages, for each viewer."""
        page = {"limit": 50, "offset": 0, "bound": 2**63 - 1}
        some = page | {"ids": ["ada", "bob", "eve"], "user_ids": ["ada", "bob", "eve"], "channels": ["c"]}
        queries = [Query("users_page", page), Query("users_count"), Query("users_by_ids", some)]
        queries += [Query("user_by_id", {"id": id}) for id in ("ada", "bob", "eve")]
        queries += [Query("message_by_id", {"id": f"m{n}"}) for n in range(MESSAGES)]
        for viewer, user, channel, only in product(("ada", "bob"), ("ada", "bob", "eve"), ("c", "d"), (0, 1)):
            params = {"viewer": viewer, "user_id": user, "channel_id": channel, "only": only}
            for of in LISTS:
                queries += [Query(f"messages_{kind}{of}", params | some) for kind in ("page", "count")]
            for of in ("page", "count", "page_narrowed", "count_narrowed"):
                queries.append(Query(f"messages_of_users_{of}", params | some))
        snapshot = await self.store.read(*queries)
        return {
            f"{query.name} {query.params}": tuple(sorted(rows, key=str))
            for query, rows in zip(queries, snapshot.results)
        }

    async def read_log(self) -> list[tuple[str, object, bool]]:
        entries = await self.store.read_after(0, 500)
        page = await self.store.read_page("", 0, 500)
        self.assertEqual(page.entries, tuple(each for each in entries if not each.redacted))
        return [(each.event.id, each.event.content, each.redacted) for each in entries]

    async def fill(self) -> None:
        """Three users, whose messages go from each to each and to two channels, and all that else hangs on `eve`."""
        for user in ("ada", "bob", "eve"):
            await self.store.commit(add_user(user, 0, updated(f"u-{user}", user, f"{user}@x.org")))
        targets = [("c", None), ("d", None), ("c", "ada"), (None, "bob"), (None, "eve"), ("d", "eve")]
        for n, (author, (channel, to)) in enumerate(product(("ada", "bob", "eve"), targets)):
            message = {"userId": author, "channelId": channel, "recipientId": to}
            sent = event(f"e{n}", f"m{n}", message={name: value for name, value in message.items() if value})
            await self.store.commit(add_message(f"m{n}", author, n, sent, channel=channel, to=to))
        for n in range(5):
            await self.store.commit(say(updated(f"v{n}", "eve", "eve@x.org")))
            await self.store.commit(claim("eve", f"k{n}"))
            await self.store.commit(add_session(f"s{n}", "eve"))
            await self.store.commit(
                step("refresh_add", hash=f"h{n}", session_id=f"s{n % 2}", parent=None, at=at(0))
            )
        await self.store.commit(add_credential("c1", "eve", "pump"))
        await self.store.commit(step("operator_add", id="eve", at=at(0)))

    async def test_whatever_is_left_of_a_closed_account_nobody_is_given_any_of_it(self) -> None:
        """From the moment it is closed on until its last row is deleted, over as many kills as there are batches."""
        await self.fill()
        before = await self.lists()
        await self.store.commit(close_account("eve", event("gone", "", "user.deleted", userId="eve")))
        lists, log = await self.lists(), await self.read_log()
        changed = {name.split()[0] for name in lists if lists[name] != before[name]}
        self.assertEqual(changed, {name.split()[0] for name in lists})  # so each is seen to hide something
        self.assertNotIn("eve", str(list(lists.values())))
        self.assertNotIn("eve", str([content for id, content, _ in log if id != "gone"]))
        kills = 0
        with patch.object(eraser, "BATCH_SIZE", 2):
            while await self.rows("closed_accounts_due", most=1):
                kills += 1
                with contextlib.suppress(Unavailable):
                    await self.eraser(KilledStore(self.store, 1)).erase()
                self.assertEqual((await self.lists(), await self.read_log()), (lists, log), kills)
        self.assertEqual(
            kills, 5 + 3 + 3 + 3 + 3 + 1
        )  # messages, events, keys, tokens, sessions, and the account
        self.assertEqual(await self.rows("erasures_pending"), ())
        stored = await self.rows("log_page", lead="", low=0, high=500, text=1 << 20, most=500)
        self.assertEqual([row["id"] for row in stored], [id for id, _, redacted in log if not redacted])
        self.assertEqual(await self.rows("refresh_by_hash", hash="h0"), ())

    async def test_nothing_comes_to_an_account_that_is_closed(self) -> None:
        await self.fill()
        await self.store.commit(close_account("eve"))
        for unit in (
            add_message("n1", "eve", 1, channel="c"),
            add_message("n2", "ada", 1, to="eve"),
            amend_user("eve", 1),
            add_session("s9", "eve"),
            close_account("eve"),
        ):
            with self.assertRaises(Refusal):
                await self.store.commit(unit)
        self.assertEqual(await self.rows("session_live", id="s0", user_id="eve", now=at(1)), ())
        self.assertEqual(await self.rows("credential_by_id", id="c1"), ())
        self.assertEqual(await self.rows("operator_by_id", id="eve"), ())
        self.assertEqual(await self.rows("email_owners", email_key="eve@x.org"), ())
        await self.store.commit(add_user("eve2", 1))
        again = Step("user_add", dict(add_user("eve").steps[0].params) | {"id": "new"}, expected_rows=1)
        await self.store.commit(Unit((again,)))  # whoever has the address from now on
        await self.eraser().erase()
        self.assertEqual([row["id"] for row in await self.rows("users_by_ids", ids=["eve", "new"])], ["new"])
