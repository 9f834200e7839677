"""Accounts on the real store; only the hash is quick."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from multiproto.core.accounts import Accounts
from multiproto.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from multiproto.core.logins import Logins
from multiproto.core.ports import Identity

from ..stores import StoreCase


class PlainPasswords:
    """Not a hash at all, so that tests are about everything else; counts its work."""

    def __init__(self) -> None:
        self.verified: list[str | None] = []

    def check_room(self, on_behalf_of: str = "") -> None:
        """There always is."""

    async def hash(self, password: str, on_behalf_of: str = "") -> str:
        return f"hash of {password}"

    async def verify(self, password: str, hashed: str | None, on_behalf_of: str = "") -> bool:
        self.verified.append(hashed)
        return hashed == f"hash of {password}"


class NamingTokens:
    lifetime = "15m"

    def issue(self, user_id: str, email: str, session_id: str) -> str:
        return f"{user_id} {email} {session_id}"


ANN = {"email": "Ann@example.org", "name": "Ann", "password": "Passw0rd!"}


class AccountsCase(StoreCase):
    async def asyncSetUp(self) -> None:
        self.passwords = PlainPasswords()
        self.accounts = Accounts(
            self.store, self.passwords, NamingTokens(), self.events, self.now, self.new_id, 1000.0
        )
        self.ann = (await self.accounts.register(ANN)).value
        self.who = Identity(self.ann.id, "s", 1e12)


class RegistrationTests(AccountsCase):
    async def test_the_row_and_its_event(self) -> None:
        self.assertEqual(
            self.ann.public(),
            {
                "id": self.ann.id,
                "email": "Ann@example.org",
                "name": "Ann",
                "createdAt": self.ann.created_at,
                "updatedAt": self.ann.created_at,
            },
        )
        self.assertEqual(await self.log(), [("user.created", ("users",), {"user": self.ann.public()})])

    async def test_an_address_is_taken_in_any_case(self) -> None:
        """Fault 16."""
        for email in ("Ann@example.org", "ann@EXAMPLE.org"):
            with self.assertRaises(Conflict):
                await self.accounts.register(ANN | {"email": email})
        self.assertEqual(len(await self.log()), 1)

    async def test_all_faults(self) -> None:
        with self.assertRaises(Invalid) as caught:
            await self.accounts.register({})
        errors: Any = caught.exception.details["errors"]  # type: ignore[index]
        self.assertEqual([error["path"] for error in errors], [["email"], ["name"], ["password"]])

    async def test_many_at_once_for_one_address(self) -> None:
        """One of them gets it."""
        tries = [
            Deferred.fromCoroutine(self.accounts.register(ANN | {"email": "one@example.org"}))
            for _ in range(8)
        ]
        taken = [d.addErrback(lambda f: f.trap(Conflict)) for d in tries]
        self.assertEqual((await gatherResults(taken)).count(Conflict), 7)


class LoginTests(AccountsCase):
    async def test_right(self) -> None:
        login = await self.accounts.login({"email": " ann@Example.org ", "password": "Passw0rd!"})
        self.assertEqual(login.user, self.ann)
        self.assertTrue(login.token.startswith(f"{self.ann.id} Ann@example.org "))
        self.assertEqual(login.expires_in, "15m")
        self.assertNotIn(login.refresh_token, repr(login))

    async def test_wrong(self) -> None:
        """Fault 16: one text and one amount of work for an unknown address and a wrong password."""
        for email, password in [("ann@example.org", "wrong"), ("nobody@example.org", "Passw0rd!"), ("", "")]:
            with self.assertRaises(Unauthorized) as caught:
                await self.accounts.login({"email": email, "password": password})
            self.assertEqual(str(caught.exception), "Invalid credentials")
        self.assertEqual(len(self.passwords.verified), 3)

    async def test_what_is_no_login(self) -> None:
        for fields in ({}, {"email": 1, "password": []}):
            with self.assertRaises(Invalid):
                await self.accounts.login(fields)


class GuessingTests(AccountsCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.accounts._logins = Logins(Clock())

    async def guess(self, email: str, password: str = "wrong", host: str = "203.0.113.1") -> str:
        try:
            await self.accounts.login({"email": email, "password": password}, host)
        except (Unauthorized, RateLimited) as refusal:
            return refusal.message
        return "in"

    async def test_known_and_unknown_addresses_are_answered_alike(self) -> None:
        """The eleventh is not even hashed, whether there is such an account or not."""
        answers = []
        for email in ("ann@example.org", "nobody@example.org"):
            said = [await self.guess(email, host=f"203.0.113.{n}") for n in range(11)]
            answers.append(said)
        self.assertEqual(answers[0], answers[1])
        too_many = "Too many attempts to log in; try again later"
        self.assertEqual(answers[0], ["Invalid credentials"] * 10 + [too_many])
        self.assertEqual(len(self.passwords.verified), 20)

    async def test_the_owner_is_not_locked_out(self) -> None:
        """Where they have logged in or refreshed before, they still can; a stranger with the password can not yet."""
        login = await self.accounts.login(ANN, "192.0.2.1")
        for n in range(11):
            await self.guess("ann@example.org", host=f"203.0.113.{n}")
        self.assertEqual(await self.guess("ANN@example.org", "Passw0rd!", "192.0.2.1"), "in")
        self.assertNotEqual(await self.guess("ann@example.org", "Passw0rd!", "192.0.2.2"), "in")
        await self.accounts.refresh({"refreshToken": login.refresh_token}, "192.0.2.2")
        self.assertEqual(await self.guess("ann@example.org", "Passw0rd!", "192.0.2.2"), "in")

    async def test_a_queue_that_is_full_costs_no_attempt(self) -> None:
        async def full(password: str, hashed: str | None, on_behalf_of: str = "") -> bool:
            raise Unavailable("full")

        self.patch(self.passwords, "verify", full)
        for _ in range(20):
            with self.assertRaises(Unavailable):
                await self.guess("ann@example.org")


class RefreshTests(AccountsCase):
    async def login(self) -> str:
        return (await self.accounts.login(ANN)).refresh_token

    async def refresh(self, token: str) -> str:
        return (await self.accounts.refresh({"refreshToken": token})).refresh_token

    async def refused(self, token: str) -> None:
        with self.assertRaises(Unauthorized):
            await self.refresh(token)

    async def test_one_after_the_other(self) -> None:
        first = await self.login()
        second = await self.refresh(first)
        third = await self.refresh(second)
        self.assertEqual(len({first, second, third}), 3)

    async def test_a_lost_reply_may_be_asked_for_again(self) -> None:
        """The first is good until its successor is used."""
        first = await self.login()
        await self.refresh(first)
        second = await self.refresh(first)
        await self.refresh(second)

    async def test_a_used_up_one_ends_the_session(self) -> None:
        """It was stolen, or its owner's was: nobody goes on with this family."""
        first = await self.login()
        second = await self.refresh(first)
        third = await self.refresh(second)
        await self.refused(first)
        await self.refused(third)
        self.assertEqual((await self.log())[-1][:2], ("session.revoked", ("_sessions",)))

    async def test_of_two_successors_one_can_be_used(self) -> None:
        """The other was asked for by a thief, or is what the thief's victim holds."""
        first = await self.login()
        mine, theirs = await self.refresh(first), await self.refresh(first)
        mine = await self.refresh(mine)
        await self.refused(theirs)
        await self.refused(mine)

    async def test_refused(self) -> None:
        for token in ("", "x", "é" * 1000):
            await self.refused(token)
        with self.assertRaises(Invalid):
            await self.accounts.refresh({})
        late = await self.login()
        self.clock_ahead = 1001.0
        await self.refused(late)

    async def test_logout(self) -> None:
        login = await self.accounts.login(ANN)
        session = login.token.split()[-1]
        await self.accounts.logout(Identity(self.ann.id, session, 1e12))
        await self.refused(login.refresh_token)
        self.assertEqual(
            (await self.log())[-1],
            ("session.revoked", ("_sessions",), {"userId": self.ann.id, "sessionId": session}),
        )

    async def test_only_hashes_are_kept(self) -> None:
        token = await self.login()
        self.assertNotIn(token.encode(), self.database_bytes())


class AccountTests(AccountsCase):
    async def test_reading(self) -> None:
        self.assertEqual((await self.accounts.read(self.ann.id)).value, self.ann)
        for id, refusal in [(self.new_id(), NotFound), ("x", Invalid), (self.ann.id.upper(), Invalid)]:
            with self.assertRaises(refusal):
                await self.accounts.read(id)
        self.assertEqual(await self.accounts.read_many([self.ann.id, "x"]), {self.ann.id: self.ann})

    async def test_pages(self) -> None:
        bob = (await self.accounts.register(ANN | {"email": "bob@example.org"})).value
        page = await self.accounts.page({"limit": 1})
        self.assertEqual((page.items, page.total), ((bob,), 2))
        page = await self.accounts.page({"limit": "1", "page": "2"})
        self.assertEqual(
            (page.items, page.pagination()),
            (
                (self.ann,),
                {
                    "page": 2,
                    "limit": 1,
                    "total": 2,
                    "totalPages": 2,
                    "hasNextPage": False,
                    "hasPreviousPage": True,
                },
            ),
        )
        with self.assertRaises(Invalid):
            await self.accounts.page({"limit": 101})

    async def test_amending(self) -> None:
        """Each change is one event, of the right kind (fault 19)."""
        user = (await self.accounts.amend(self.who, self.ann.id, {"name": "Anna"})).value
        self.assertEqual((user.name, user.email, user.id), ("Anna", "Ann@example.org", self.ann.id))
        self.assertGreaterEqual(user.updated_at, self.ann.updated_at)
        self.assertEqual((await self.accounts.read(user.id)).value, user)
        self.assertEqual(
            (await self.log())[1:],
            [("user.updated", ("users", f"users.{user.id}"), {"user": user.public()})],
        )
        await self.accounts.amend(self.who, self.ann.id, {"password": "An0ther!!"})
        await self.accounts.login(ANN | {"password": "An0ther!!"})

    async def test_changes_at_once_are_all_made(self) -> None:
        """Nobody's change undoes another's, and the log's last event is the row."""
        names = [Deferred.fromCoroutine(self.accounts.amend(self.who, self.ann.id, {"name": "Anna"}))]
        names += [
            Deferred.fromCoroutine(self.accounts.amend(self.who, self.ann.id, {"email": "new@example.org"}))
            for _ in range(5)
        ]
        await gatherResults(names)
        user = (await self.accounts.read(self.ann.id)).value
        self.assertEqual((user.name, user.email), ("Anna", "new@example.org"))
        log = await self.log()
        self.assertEqual(len(log), 7)
        self.assertEqual(log[-1][2], {"user": user.public()})

    async def test_what_may_not_be_amended(self) -> None:
        bob = (await self.accounts.register(ANN | {"email": "bob@example.org"})).value
        for id, fields, refusal in [
            (bob.id, {"name": "Mallory"}, Forbidden),
            (self.ann.id, {}, Invalid),
            (self.ann.id, {"name": "", "email": "x"}, Invalid),
            ("x", {"name": "Anna"}, Invalid),
            (self.ann.id, {"email": "BOB@example.org"}, Conflict),
        ]:
            with self.assertRaises(refusal):
                await self.accounts.amend(self.who, id, fields)
        self.assertEqual((await self.accounts.read(self.ann.id)).value, self.ann)

    async def test_closing(self) -> None:
        """Nothing of it is left in the rows, the log or the sessions; that it left is told."""
        await self.accounts.login(ANN)
        with self.assertRaises(Forbidden):
            await self.accounts.close(self.who, self.new_id())
        with self.assertRaises(Invalid):
            await self.accounts.close(self.who, "x")
        await self.accounts.close(self.who, self.ann.id)
        for again in (self.accounts.close(self.who, self.ann.id), self.accounts.read(self.ann.id)):
            with self.assertRaises(NotFound):
                await again
        with self.assertRaises(NotFound):
            await self.accounts.amend(self.who, self.ann.id, {"name": "Ghost"})
        self.assertEqual(
            await self.log(),
            [
                ("user.created", ("users",), None),
                ("user.deleted", ("users", f"users.{self.ann.id}"), {"userId": self.ann.id}),
            ],
        )
        with self.assertRaises(Unauthorized):
            await self.accounts.login(ANN)
