"""Accounts on the real store; only the hash is quick."""

from __future__ import annotations

from typing import Any, Mapping

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from multiproto.auth.passwords import BcryptPasswords
from multiproto.base.timestamps import format_timestamp
from multiproto.core.client_info import ClientInfo
from multiproto.core.domain.login_throttle import LoginThrottle
from multiproto.core.errors import Conflict, Forbidden, NotFound, RateLimited, Unauthorized, ValidationError
from multiproto.core.identity import Identity
from multiproto.core.kept_accounts import shared_email_key
from multiproto.core.mailbox import email_key
from multiproto.core.model import User
from multiproto.core.ratelimit.fixed_window import RateLimit
from multiproto.core.transactions import Step, Unit
from tests.canary import PASSWORD

from ...fakes import PlainPasswords, begin_session, make_account_services
from ...stores import StoreCase


class NamingTokens:
    lifetime = "15m"

    def issue(self, user_id: str, email: str, session_id: str) -> str:
        return f"{user_id} {email} {session_id}"


ANN = {"email": "Ann@example.org", "name": "Ann", "password": PASSWORD}
PROOF = {"currentPassword": PASSWORD}  # for a session that has not just begun, or is none


class AccountsCase(StoreCase):
    def make_passwords(self) -> Any:
        return PlainPasswords()

    async def asyncSetUp(self) -> None:
        self.passwords = self.make_passwords()
        self.members = make_account_services(
            self.store, self.passwords, NamingTokens(), reactor, self.now, self.new_id, 1000.0
        )
        self.accounts, self.sessions = self.members.accounts, self.members.login_sessions
        self.ann = (await self.accounts.register(ANN)).value
        self.who = Identity(self.ann.id, "s", 1e12)

    async def log_in(self, fields: Mapping[str, object] = ANN, client: ClientInfo = ClientInfo()) -> Identity:
        """Who has a session that has just begun, and may change everything without the password."""
        login = await self.sessions.login(fields, client)
        return Identity(login.user.id, login.token.split()[-1], 1e12)


class RegistrationTests(AccountsCase):
    async def test_where_it_is_closed_each_attempt_is_a_failure(self) -> None:
        """Else no limit would count them."""
        failures = RateLimit(2, 60.0, clock=Clock())
        throttle = LoginThrottle(Clock(), self.now, self.store, failures_by_address=failures)
        self.accounts._login_throttle, self.accounts._registration_open = throttle, False
        bob = {"email": "bob@example.org", "name": "Bob", "password": PASSWORD}
        for expected in (Forbidden, Forbidden, RateLimited):
            with self.assertRaises(expected):
                await self.accounts.register(bob, ClientInfo("rest", "192.0.2.1"))
        with self.assertRaises(Forbidden):
            await self.accounts.register(bob, ClientInfo("rest", "192.0.2.2"))

    async def test_the_row_and_its_event(self) -> None:
        self.assertEqual(
            self.ann.to_json(),
            {
                "id": self.ann.id,
                "email": "Ann@example.org",
                "name": "Ann",
                "createdAt": self.ann.created_at,
                "updatedAt": self.ann.created_at,
            },
        )
        self.assertEqual(await self.log(), [("user.created", ("users",), {"user": self.ann.to_json()})])

    async def test_an_address_is_taken_in_any_case(self) -> None:
        """Addresses are one whatever their case (docs/predecessor-faults.md#fault-16)."""
        for email in ("Ann@example.org", "ann@EXAMPLE.org"):
            with self.assertRaises(Conflict):
                await self.accounts.register(ANN | {"email": email})
        self.assertEqual(len(await self.log()), 1)

    async def test_an_address_is_taken_and_found_in_any_spelling_of_its_letters(self) -> None:
        """A final sigma, an iota subscript, a sharp s, and what nobody sees make no other address."""
        for first, other in (
            ("ΝΙΚΟΣ@b.org", "νικοσ@b.org"),
            ("ᾳ@b.org", "αι@b.org"),
            ("straße@b.org", "STRASSE@b.org"),
            ("anna@b.org", "an\u200cna@b.org"),
            ("eva@b.org", "eva@\u00adb.org"),
        ):
            user = (await self.accounts.register(ANN | {"email": first})).value
            with self.assertRaises(Conflict):
                await self.accounts.register(ANN | {"email": other})
            login = await self.sessions.login({"email": other, "password": ANN["password"]})
            self.assertEqual(login.user.id, user.id)

    async def test_where_registration_is_closed(self) -> None:
        """Nobody gets in, and what is asked for costs nothing: neither faults are told nor passwords hashed."""
        self.patch(self.accounts, "_registration_open", False)
        for fields in ({}, ANN | {"email": "new@example.org"}):
            with self.assertRaises(Forbidden) as caught:
                await self.accounts.register(fields)
            self.assertEqual(
                str(caught.exception), "Registration is closed on this server; its operators make accounts"
            )
        self.assertEqual(len(await self.log()), 1)

    async def test_all_faults(self) -> None:
        with self.assertRaises(ValidationError) as caught:
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


class SharedAddressTests(AccountsCase):
    """Accounts of the predecessor whose addresses differ in spelling only; Ann's is the oldest."""

    SHARING = (("ANN@example.org", PASSWORD + "2"), ("aNN@example.org", PASSWORD + "3"))

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.upper, self.mixed = [await self.taken_over(*each) for each in self.SHARING]

    async def taken_over(self, email: str, password: str) -> Identity:
        columns = {
            "id": self.new_id(),
            "email": email,
            "email_key": shared_email_key(email),
            "name": "Ann Too",
        }
        hashed = await self.passwords.hash(password)
        await self.store.commit(
            Unit(
                (
                    Step(
                        "user_add",
                        columns | {"password_hash": hashed, "at": format_timestamp(1.0), "position": 0},
                    ),
                )
            )
        )
        identity = Identity(str(columns["id"]), f"session of {email}", 1e12)
        await begin_session(self.store, identity)
        return identity

    async def login(self, email: str, password: str) -> str:
        return (await self.sessions.login({"email": email, "password": password})).user.id

    async def test_each_logs_in_with_its_spelling_and_the_oldest_with_any_other(self) -> None:
        for email in ("Ann@example.org", "ann@example.org", " aNn@EXAMPLE.org "):
            self.assertEqual(await self.login(email, PASSWORD), self.ann.id)
        for (email, password), who in zip(self.SHARING, (self.upper, self.mixed)):
            self.assertEqual(await self.login(email, password), who.user_id)
            with self.assertRaises(Unauthorized):
                await self.login(email, PASSWORD)

    async def test_none_is_found_by_its_key(self) -> None:
        """It has a space and a second @, and would be tried under another limit than the address."""
        lower = await self.taken_over("ann@example.org", PASSWORD + "4")
        self.assertEqual(await self.login("ann@example.org", PASSWORD + "4"), lower.user_id)
        for twice in (
            "ann@example.org ann@example.org",
            " ANN@EXAMPLE.ORG Ann@example.org ",
            "\uff41nn@example.org ann@example.org",  # a full-width letter
            "ann@example.org ANN@example.org",
            "ann@example.org aNN@example.org",
        ):
            for password in (PASSWORD + "4", *(password for _, password in self.SHARING)):
                with self.assertRaises(Unauthorized):
                    await self.login(twice, password)
            with self.assertRaises(NotFound):
                await self.members.operators.grant(twice)

    async def test_an_address_of_the_predecessor_with_a_space_or_two_ats(self) -> None:
        """Nobody can register it, and whoever has it logs in as before."""
        for number, email in enumerate(
            ('"ann ann"@x.org', "a@b@x.org", "a b", "a@x.org b@x.org", '"a@b c"@x.org')
        ):
            columns = {"id": self.new_id(), "email": email, "email_key": email_key(email), "name": "Ann"}
            hashed = await self.passwords.hash(f"{PASSWORD}{number}")
            params = columns | {"password_hash": hashed, "at": format_timestamp(1.0), "position": -number}
            await self.store.commit(Unit((Step("user_add", params),)))
            self.assertEqual(await self.login(email.upper(), f"{PASSWORD}{number}"), columns["id"])

    async def test_a_change_of_another_field_leaves_the_address_as_it_is(self) -> None:
        id = self.upper.user_id
        updated = (await self.accounts.update(self.upper, id, {"name": "Ann Upper"})).value
        self.assertEqual((updated.email, updated.name), ("ANN@example.org", "Ann Upper"))
        await self.accounts.update(self.upper, id, {"email": "ANN@example.org"})
        self.assertEqual(await self.login(*self.SHARING[0]), id)

    async def test_no_further_account_shares_it_even_when_the_oldest_has_left(self) -> None:
        new = ANN | {"email": "ann@EXAMPLE.org"}
        bob = (await self.accounts.register(ANN | {"email": "bob@example.org"})).value
        moved = {"email": "Ann@Example.org", "currentPassword": PASSWORD}
        close = {"currentPassword": PASSWORD}
        for leave in (lambda: self.accounts.close(self.who, self.ann.id, close), None):
            with self.assertRaises(Conflict):
                await self.accounts.register(new)
            with self.assertRaises(Conflict):
                await self.accounts.update(Identity(bob.id, "s", 1e12), bob.id, moved)
            if leave:
                await leave()

    async def test_the_last_one_may_change_its_spelling(self) -> None:
        await self.accounts.close(self.who, self.ann.id, {"currentPassword": PASSWORD})
        upper_password, mixed_password = (password for _, password in self.SHARING)
        await self.accounts.close(self.mixed, self.mixed.user_id, {"currentPassword": mixed_password})
        changed = {"email": "ann@example.org", "currentPassword": upper_password}
        await self.accounts.update(self.upper, self.upper.user_id, changed)
        self.assertEqual(await self.login("Ann@Example.org", PASSWORD + "2"), self.upper.user_id)

    async def test_an_operator_is_the_account_that_is_spelled_so(self) -> None:
        await self.members.operators.grant("ANN@example.org")
        granted = [row["user_id"] for row in await self.members.operators.granted()]
        self.assertEqual(granted, [self.upper.user_id])


class CrowdTests(AccountsCase):
    """Real hashes at the lowest cost, one at a time, and one of another address."""

    def make_passwords(self) -> BcryptPasswords:
        passwords = BcryptPasswords(reactor, rounds=4, threads=1)
        passwords.startService()
        self.addCleanup(passwords.stopService)
        return passwords

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.crowd = [await self.log_in(ANN | {"email": (await self.register(n)).email}) for n in range(20)]
        self.who = await self.log_in()

    async def register(self, number: int) -> User:
        return (await self.accounts.register(ANN | {"email": f"user{number}@example.org"})).value

    def change_password(self, user: Identity, host: str) -> Deferred[object]:
        fields = {"password": PASSWORD + "2"}
        changing = self.accounts.update(user, user.user_id, fields, ClientInfo("graphql", host))
        return Deferred.fromCoroutine(changing)

    async def test_twenty_accounts_of_one_address_shut_nobody_out(self) -> None:
        """Each has 12 new passwords on their way; others register, log in and change theirs."""
        crowd = [self.change_password(user, "203.0.113.1") for user in self.crowd for _ in range(12)]
        elsewhere = ClientInfo("rest", "192.0.2.1")
        await self.accounts.register(ANN | {"email": "new@example.org"}, elsewhere)
        await self.sessions.login(ANN, elsewhere)
        await self.change_password(self.who, "192.0.2.1")
        for each in crowd:
            each.addErrback(lambda failure: failure.trap(RateLimited))
        refused = (await gatherResults(crowd)).count(RateLimited)
        self.assertEqual(refused, 240 - 1 - 10)  # one was being hashed, and ten waited

    async def test_nor_does_one_user_from_many(self) -> None:
        """The share of a user, and one past it: two are being hashed, and three wait."""
        crowd = [self.change_password(self.who, f"203.0.113.{n}") for n in range(6)]
        self.failureResultOf(crowd.pop(), RateLimited)
        await self.change_password(self.crowd[0], "203.0.113.1")
        await gatherResults(crowd)


class AccountTests(AccountsCase):
    async def test_reading(self) -> None:
        for id in (self.ann.id, self.ann.id.upper()):
            self.assertEqual((await self.accounts.read(self.who, id)).value, self.ann)
        for id, refusal in [
            (self.new_id(), NotFound),
            ("x", ValidationError),
            (self.ann.id + "0", ValidationError),
        ]:
            with self.assertRaises(refusal):
                await self.accounts.read(self.who, id)
        self.assertEqual(await self.accounts.read_many(self.who, [self.ann.id, "x"]), {self.ann.id: self.ann})

    async def test_the_list_has_the_order_in_which_subscribers_heard_of_them(self) -> None:
        """The log's, also where the clock of one of two instances is ten minutes behind."""
        behind = make_account_services(
            self.store, self.passwords, NamingTokens(), reactor, lambda: self.now() - 600, self.new_id
        ).accounts
        for n, accounts in enumerate((self.accounts, behind, self.accounts)):
            await accounts.register(ANN | {"email": f"{n}@example.org"})
        heard = [content["user"]["email"] for _, _, content in await self.log()]
        page = await self.accounts.page(self.who, {})
        self.assertEqual([user.email for user in page.items], heard[::-1])

    async def test_pages(self) -> None:
        bob = (await self.accounts.register(ANN | {"email": "bob@example.org"})).value
        page = await self.accounts.page(self.who, {"limit": 1})
        self.assertEqual((page.items, page.total), ((bob,), 2))
        page = await self.accounts.page(self.who, {"limit": "1", "page": "2"})
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
                    "after": self.store.cursor_of(1),
                },
            ),
        )
        page = await self.accounts.page(self.who, {"before": self.store.cursor_of(2)})
        self.assertEqual((page.items, page.has_older, page.has_newer), ((self.ann,), False, True))
        page = await self.accounts.page(self.who, {"after": self.store.cursor_of(1)})
        self.assertEqual((page.items, page.has_older, page.has_newer), ((bob,), True, False))
        with self.assertRaises(ValidationError):
            await self.accounts.page(self.who, {"limit": 101})

    async def test_an_address_that_is_its_owners_alone(self) -> None:
        """Every other reader sees the account without it; the owner sees it in each answer."""
        await begin_session(self.store, self.who)
        self.patch(self.accounts, "_shows_emails", False)
        bob = Identity((await self.accounts.register(ANN | {"email": "bob@example.org"})).value.id, "s", 1e12)
        seen: list[set[str]] = []
        for viewer in (self.who, bob):
            read = (await self.accounts.read(viewer, self.ann.id)).value
            listed = (await self.accounts.page(viewer, {})).items[1]
            found = (await self.accounts.read_many(viewer, [self.ann.id]))[self.ann.id]
            seen += [set(user.to_json()) for user in (read, listed, found)]
        hidden = {"id", "name", "createdAt", "updatedAt"}
        self.assertEqual(seen, [hidden | {"email"}] * 3 + [hidden] * 3)
        changed = (await self.accounts.update(self.who, self.ann.id, {"name": "Anna"})).value
        self.assertEqual(changed.to_json()["email"], "Ann@example.org")

    async def test_old_events_do_not_tell_an_old_address(self) -> None:
        """From the moment of the change on; a change of anything else takes nothing from them."""
        await begin_session(self.store, self.who)
        await self.accounts.update(self.who, self.ann.id, {"name": "Anna"})
        before = await self.log()
        self.assertEqual([content["user"]["email"] for *_, content in before], ["Ann@example.org"] * 2)
        user = (
            await self.accounts.update(self.who, self.ann.id, PROOF | {"email": "anna@example.org"})
        ).value
        *old, (_, _, newest) = await self.log()
        self.assertEqual(newest, {"user": user.to_json()})
        for (_, _, had), (_, _, has) in zip(before, old):
            del had["user"]["email"]
            self.assertEqual(has, had)

    async def test_amending(self) -> None:
        """Each change is one event, of the right kind (docs/predecessor-faults.md#fault-19)."""
        await begin_session(self.store, self.who)
        user = (await self.accounts.update(self.who, self.ann.id, {"name": "Anna"})).value
        self.assertEqual((user.name, user.email, user.id), ("Anna", "Ann@example.org", self.ann.id))
        self.assertGreaterEqual(user.updated_at, self.ann.updated_at)
        self.assertEqual((await self.accounts.read(self.who, user.id)).value, user)
        self.assertEqual(
            (await self.log())[1:],
            [("user.updated", ("users", f"users.{user.id}"), {"user": user.to_json()})],
        )
        await self.accounts.update(self.who, self.ann.id, PROOF | {"password": "An0ther!!"})
        await self.sessions.login(ANN | {"password": "An0ther!!"})

    async def test_changes_at_once_are_all_made(self) -> None:
        """Nobody's change undoes another's, and the log's last event is the row."""
        await begin_session(self.store, self.who)
        names = [Deferred.fromCoroutine(self.accounts.update(self.who, self.ann.id, {"name": "Anna"}))]
        names += [
            Deferred.fromCoroutine(
                self.accounts.update(self.who, self.ann.id, PROOF | {"email": "new@example.org"})
            )
            for _ in range(5)
        ]
        await gatherResults(names)
        user = (await self.accounts.read(self.who, self.ann.id)).value
        self.assertEqual((user.name, user.email), ("Anna", "new@example.org"))
        log = await self.log()
        self.assertEqual(len(log), 7)
        self.assertEqual(log[-1][2], {"user": user.to_json()})

    async def test_what_may_not_be_amended(self) -> None:
        bob = (await self.accounts.register(ANN | {"email": "bob@example.org"})).value
        for id, fields, refusal in [
            (bob.id, {"name": "Mallory"}, Forbidden),
            (self.ann.id, {}, ValidationError),
            (self.ann.id, {"name": "", "email": "x"}, ValidationError),
            ("x", {"name": "Anna"}, ValidationError),
            (self.ann.id, PROOF | {"email": "BOB@example.org"}, Conflict),
        ]:
            with self.assertRaises(refusal):
                await self.accounts.update(self.who, id, fields)
        self.assertEqual((await self.accounts.read(self.who, self.ann.id)).value, self.ann)

    async def test_closing(self) -> None:
        """Nothing of it is left in the rows, the log or the sessions; that it left is told."""
        await self.sessions.login(ANN)
        with self.assertRaises(Forbidden):
            await self.accounts.close(self.who, self.new_id(), PROOF)
        with self.assertRaises(ValidationError):
            await self.accounts.close(self.who, "x", PROOF)
        await self.accounts.close(self.who, self.ann.id, PROOF)
        for again in (
            self.accounts.close(self.who, self.ann.id, PROOF),
            self.accounts.read(self.who, self.ann.id),
        ):
            with self.assertRaises(NotFound):
                await again
        with self.assertRaises(NotFound):
            await self.accounts.update(self.who, self.ann.id, {"name": "Ghost"})
        self.assertEqual(
            await self.log(),
            [
                ("user.created", ("users",), None),
                ("user.deleted", ("users", f"users.{self.ann.id}"), {"userId": self.ann.id}),
            ],
        )
        with self.assertRaises(Unauthorized):
            await self.sessions.login(ANN)
