"""Sessions on the real store; only the hash is quick."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater

from multiproto.base.client_network import client_network
from multiproto.base.timestamps import parse_timestamp
from multiproto.core.client_info import ClientInfo, Requester
from multiproto.core.domain import login_sessions
from multiproto.core.domain.audit_log import unknown_email_subject
from multiproto.core.domain.login_sessions import LoginSessions
from multiproto.core.domain.login_throttle import LoginThrottle
from multiproto.core.errors import (
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
    ValidationError,
)
from multiproto.core.identity import Identity
from multiproto.core.kept_accounts import email_lookup
from multiproto.core.ratelimit.fixed_window import RateLimit
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.core.transactions import Query
from tests.canary import PASSWORD

from .test_accounts import ANN, PROOF, AccountsCase


class LoginTests(AccountsCase):
    async def test_right(self) -> None:
        login = await self.sessions.login({"email": " ann@Example.org ", "password": PASSWORD})
        self.assertEqual(login.user, self.ann)
        self.assertTrue(login.token.startswith(f"{self.ann.id} Ann@example.org "))
        self.assertEqual(login.expires_in, "15m")
        self.assertNotIn(login.refresh_token, repr(login))

    async def test_wrong(self) -> None:
        """One text and one amount of work for an unknown address and a wrong password.

        docs/predecessor-faults.md#fault-16
        """
        for email, password in [("ann@example.org", "wrong"), ("nobody@example.org", PASSWORD), ("", "")]:
            with self.assertRaises(Unauthorized) as caught:
                await self.sessions.login({"email": email, "password": password})
            self.assertEqual(str(caught.exception), "Invalid credentials")
        self.assertEqual(len(self.passwords.verified), 3)

    async def test_of_an_endless_address_so_much_is_looked_at(self) -> None:
        keys: list[str] = []
        self.patch(login_sessions, "email_lookup", lambda email: keys.append(email) or email_lookup(email))
        for email in ("ann@example.org" + " " * 5000, "\n" * 5000 + "ann@example.org"):
            await self.sessions.login({"email": email, "password": PASSWORD})
        for length in (2000, 2001):
            with self.assertRaises(Unauthorized):
                await self.sessions.login({"email": "x" * length, "password": PASSWORD})
        self.assertEqual(list(map(len, keys)), [15, 15, 2000, 2000])

    async def test_what_is_no_login(self) -> None:
        for fields in ({}, {"email": 1, "password": []}):
            with self.assertRaises(ValidationError):
                await self.sessions.login(fields)


class GuessingCase(AccountsCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.clock = Clock()
        self.clock.advance(self.now())
        self.restart()

    def restart(self) -> None:
        """What the process has in its memory is gone."""
        self.sessions._login_throttle = LoginThrottle(self.clock, self.clock.seconds, self.store)

    async def guess(self, email: str, password: str = "wrong", host: str = "203.0.113.1") -> str:
        try:
            await self.sessions.login({"email": email, "password": password}, ClientInfo("rest", host))
        except (Unauthorized, RateLimited) as refusal:
            return refusal.message
        return "in"


class GuessingTests(GuessingCase):
    async def test_known_and_unknown_addresses_are_answered_alike(self) -> None:
        """The eleventh is not even hashed, whether there is such an account or not."""
        answers = []
        for email in ("ann@example.org", "nobody@example.org"):
            said = [await self.guess(email, host=f"203.0.113.{n}") for n in range(11)]
            answers.append(said)
        self.assertEqual(answers[0], answers[1])
        too_many = "Too many wrong passwords for this account; try again in 90 s"
        self.assertEqual(answers[0], ["Invalid credentials"] * 10 + [too_many])
        self.assertEqual(len(self.passwords.verified), 20)

    async def test_the_owner_is_not_locked_out(self) -> None:
        """Where they have logged in or refreshed before, they still can; a stranger with the password can not yet."""
        login = await self.sessions.login(ANN, ClientInfo("rest", "192.0.2.1"))
        for n in range(11):
            await self.guess("ann@example.org", host=f"203.0.113.{n}")
        self.assertEqual(await self.guess("ANN@example.org", PASSWORD, "192.0.2.1"), "in")
        self.assertNotEqual(await self.guess("ann@example.org", PASSWORD, "192.0.2.2"), "in")
        await self.sessions.refresh({"refreshToken": login.refresh_token}, ClientInfo("rest", "192.0.2.2"))
        self.assertEqual(await self.guess("ann@example.org", PASSWORD, "192.0.2.2"), "in")

    async def test_not_after_a_restart_either(self) -> None:
        """Where they have logged in or refreshed before; others' wrong passwords come first."""
        login = await self.sessions.login(ANN, ClientInfo("rest", "192.0.2.1"))
        await self.sessions.refresh({"refreshToken": login.refresh_token}, ClientInfo("rest", "2001:db8::1"))
        self.restart()
        for n in range(11):
            await self.guess("ann@example.org", host=f"203.0.113.{n}")
        for host in ("192.0.2.1", "2001:db8::2"):
            self.assertEqual(await self.guess("Ann@example.org", PASSWORD, host), "in")
        for host in ("192.0.2.2", "2001:db8:0:1::1"):
            self.assertNotEqual(await self.guess("Ann@example.org", PASSWORD, host), "in")

    async def test_as_many_networks_as_are_kept_and_one_more(self) -> None:
        self.patch(login_sessions, "MAX_KNOWN_NETWORKS", 2)
        for n in (1, 2, 1, 3):  # the second is the one that was seen longest ago
            await deferLater(reactor, 0.002)  # a millisecond is what times are told apart by
            await self.sessions.login(ANN, ClientInfo("rest", f"192.0.2.{n}"))
        self.restart()
        for n in range(11):
            await self.guess("ann@example.org", host=f"203.0.113.{n}")
        let_in = [await self.guess("ann@example.org", PASSWORD, f"192.0.2.{n}") == "in" for n in (1, 2, 3)]
        self.assertEqual(let_in, [True, False, True])

    async def test_a_queue_that_is_full_costs_no_attempt(self) -> None:
        async def full(password: str, hashed: str | None, requester: Requester = Requester()) -> bool:
            raise Unavailable("full")

        self.patch(self.passwords, "verify", full)
        for _ in range(20):
            with self.assertRaises(Unavailable):
                await self.guess("ann@example.org")


class ConfirmationTests(GuessingCase):
    """What changes how an account is proven wants the password, unless the session has just begun."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.mine = await self.log_in(client=BROWSER)
        (session,) = await self.sessions.list_active(self.mine)
        self.began = parse_timestamp(session.created_at)

    async def change(self, **fields: str) -> str:
        """What is answered, from where Ann has not been before."""
        try:
            await self.accounts.update(self.mine, self.ann.id, fields, ClientInfo("rest", "203.0.113.9"))
        except (Forbidden, RateLimited) as refusal:
            return refusal.message
        return "done"

    def session_is(self, seconds: float) -> None:
        """So old."""
        self.sessions._latest_now = lambda: self.began + seconds

    async def test_fifteen_minutes_and_a_millisecond_more(self) -> None:
        """Also where the clock that stamped the session was ahead."""
        for age in (900.0, -900.0):
            self.session_is(age)
            self.assertEqual(await self.change(email=f"ann{abs(age)}{age < 0}@example.org"), "done")
        for age in (900.001, -900.001):
            self.session_is(age)
            for change in ({"email": "x@example.org"}, {"password": "An0ther!!"}):
                self.assertEqual(
                    await self.change(**change),
                    "Send your currentPassword, as this session began more than 15 minutes ago",
                )
            with self.assertRaises(Forbidden) as caught:
                await self.accounts.close(self.mine, self.ann.id)
            details = {"errors": [{"path": ["currentPassword"], "message": str(caught.exception)}]}
            self.assertEqual(caught.exception.details, details)

    async def test_what_proves_nothing_needs_no_proof(self) -> None:
        """Another name, or the address that is there already: a form may send all of its fields."""
        self.session_is(901.0)
        self.assertEqual(await self.change(name="Anna", email="Ann@example.org"), "done")

    async def test_the_password(self) -> None:
        """It is checked where it is sent, also before it is asked for."""
        for age in (0.0, 901.0):
            self.session_is(age)
            wrong = await self.change(email="x@example.org", currentPassword="wrong")
            self.assertEqual(wrong, "The currentPassword is wrong")
        self.assertEqual(await self.change(email="Ann2@example.org", **PROOF), "done")
        self.assertEqual(await self.change(password="An0ther!!", **PROOF), "done")
        self.assertEqual(await self.change(email="x@example.org", **PROOF), "The currentPassword is wrong")
        await self.accounts.close(self.mine, self.ann.id, {"currentPassword": "An0ther!!"})
        with self.assertRaises(NotFound):
            await self.accounts.read(self.mine, self.ann.id)

    async def test_a_wrong_one_is_a_failed_login(self) -> None:
        """It is counted, recorded and hashed as one, and the two share one limit."""
        outcomes = []
        self.sessions._on_authentication = lambda *outcome: outcomes.append(outcome)
        before = len(self.passwords.verified)
        for _ in range(5):
            await self.change(email="x@example.org", currentPassword="wrong")
            self.assertEqual(await self.guess("ann@example.org"), "Invalid credentials")
        too_many = await self.guess("ann@example.org")
        self.assertEqual(await self.change(email="x@example.org", **PROOF), too_many)
        self.assertEqual(len(self.passwords.verified) - before, 10)
        self.assertEqual(outcomes, [("password", "invalid")] * 10)
        await self.members.failed_attempts.stopService()
        records = (await self.members.audit_log.own_page(self.mine, {"action": "login"})).items
        failed = [(one.outcome, one.subject, one.times) for one in records if one.outcome != "success"]
        self.assertEqual(failed, [("invalid", self.ann.id, 5)] * 2)

    async def test_where_the_owner_has_been_the_address_has_its_limit(self) -> None:
        """There the limit of the account does not keep somebody at an open session from trying them all."""
        failures = RateLimit(2, 900.0, clock=self.clock)
        self.sessions._login_throttle = LoginThrottle(
            self.clock, self.clock.seconds, self.store, failures_by_address=failures
        )
        await self.sessions.login(ANN, BROWSER)
        for refusal in (Forbidden, Forbidden, RateLimited):
            with self.assertRaises(refusal):
                await self.accounts.close(self.mine, self.ann.id, {"currentPassword": "wrong"}, BROWSER)

    async def test_its_hash_is_the_users_share(self) -> None:
        asked: list[Requester] = []

        async def verify(password: str, hashed: str | None, requester: Requester) -> bool:
            asked.append(requester)
            return True

        self.patch(self.passwords, "verify", verify)
        await self.change(email="x@example.org", **PROOF)
        self.assertEqual(asked, [Requester(client_network("203.0.113.9"), self.ann.id)])


class RefreshTests(AccountsCase):
    async def login(self) -> str:
        return (await self.sessions.login(ANN)).refresh_token

    async def refresh(self, token: str) -> str:
        return (await self.sessions.refresh({"refreshToken": token})).refresh_token

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
        with self.assertRaises(ValidationError):
            await self.sessions.refresh({})
        late = await self.login()
        self.clock_ahead = 1001.0
        await self.refused(late)

    async def test_logout(self) -> None:
        login = await self.sessions.login(ANN)
        session = login.token.split()[-1]
        await self.sessions.logout(Identity(self.ann.id, session, 1e12))
        await self.refused(login.refresh_token)
        self.assertEqual(
            (await self.log())[-1],
            ("session.revoked", ("_sessions",), {"userId": self.ann.id, "sessionIds": [session]}),
        )

    async def test_only_hashes_are_kept(self) -> None:
        token = await self.login()
        self.assertNotIn(token.encode(), self.database_bytes())


BROWSER = ClientInfo("rest", "192.0.2.7", "Firefox/130")


class RefreshRateTests(RefreshTests):
    """Each session has a bucket of its own."""

    async def test_the_limit_and_one_past_it(self) -> None:
        clock = Clock()
        self.sessions._refresh_limit = SharedBuckets("refresh", Rate(0.1, 2), clock)
        first, second = [
            (await self.sessions.login({"email": "ann@example.org", "password": PASSWORD})).refresh_token
            for _ in range(2)
        ]
        for _ in range(2):
            await self.refresh(first)
        with self.assertRaises(RateLimited) as caught:
            await self.refresh(first)
        text = "This session is refreshed too often; try again in 10 s (REFRESH_RATE)"
        self.assertEqual((caught.exception.message, caught.exception.retry_after), (text, 10.0))
        await self.refresh(second)
        clock.advance(10)
        await self.refresh(first)


class SessionsCase(AccountsCase):
    async def login(self, client: ClientInfo = ClientInfo(), fields: dict[str, str] = ANN) -> Identity:
        """Whoever holds the token of a new session."""
        login = await self.sessions.login(fields, client)
        return Identity(login.user.id, login.token.split()[-1], 1e12)

    async def opened(self, who: Identity | None = None) -> list[str]:
        """The ids, newest first."""
        return [session.id for session in await self.sessions.list_active(who or self.who)]

    async def revoked(self) -> list[list[str]]:
        """What the log tells of sessions that were ended."""
        return [content["sessionIds"] for type, _, content in await self.log() if type == "session.revoked"]

    async def noted(self) -> list[tuple[str, str, str | None, object]]:
        """(action, outcome, session, details) of all there is on Ann, in order."""
        page = await self.members.audit_log.own_page(self.who, {"limit": 100})
        return [(note.action, note.outcome, note.session, note.details) for note in reversed(page.items)]


class ListTests(SessionsCase):
    async def test_newest_first_with_what_is_known_of_each(self) -> None:
        first = await self.login()
        second = await self.login(BROWSER)
        shown = [session.to_json() for session in await self.sessions.list_active(first)]
        self.assertEqual([session["id"] for session in shown], [second.session_id, first.session_id])
        self.assertEqual([session["current"] for session in shown], [False, True])
        self.assertEqual(
            list(shown[0]),
            ["id", "createdAt", "lastUsedAt", "expiresAt", "current", "address", "client"],
        )
        self.assertEqual((shown[0]["address"], shown[0]["client"]), ("192.0.2.7", "Firefox/130"))
        self.assertEqual(list(shown[1]), ["id", "createdAt", "lastUsedAt", "expiresAt", "current"])

    async def test_a_refresh_is_a_use(self) -> None:
        login = await self.sessions.login(ANN)
        (before,) = await self.sessions.list_active(self.who)
        self.clock_ahead = 100.0
        await self.sessions.refresh({"refreshToken": login.refresh_token}, BROWSER)
        (after,) = await self.sessions.list_active(self.who)
        self.assertEqual((before.last_used_at, after.created_at), (before.created_at, before.created_at))
        self.assertGreater(after.last_used_at, before.last_used_at)
        self.assertEqual((after.address, after.client), ("192.0.2.7", "Firefox/130"))
        self.assertEqual(after.expires_at, before.expires_at)

    async def test_what_has_ended_is_not_listed(self) -> None:
        for _ in range(2):
            await self.sessions.logout(await self.login())
        await self.login()
        self.clock_ahead = 1001.0
        self.assertEqual(await self.opened(), [])


class RevocationTests(SessionsCase):
    async def test_one_of_ones_own(self) -> None:
        mine, other = await self.login(), await self.login()
        await self.sessions.revoke(mine, other.session_id)
        self.assertEqual(await self.opened(), [mine.session_id])
        self.assertEqual(await self.revoked(), [[other.session_id]])

    async def test_another_persons_is_like_none(self) -> None:
        """IDOR: the answer does not tell whether there is such a session."""
        bob = ANN | {"email": "bob@example.org"}
        await self.accounts.register(bob)
        theirs, mine, nobodys = await self.login(fields=bob), await self.login(), self.new_id()
        for id in (theirs.session_id, nobodys):
            with self.assertRaises(NotFound) as caught:
                await self.sessions.revoke(mine, id)
            self.assertEqual(caught.exception, NotFound.of("Session", id))
        await self.sessions.revoke(mine, mine.session_id)
        with self.assertRaises(NotFound):
            await self.sessions.revoke(mine, mine.session_id)
        with self.assertRaises(ValidationError):
            await self.sessions.revoke(mine, "x")
        self.assertEqual(await self.opened(theirs), [theirs.session_id])

    async def test_all_at_once(self) -> None:
        """One event for all, in the unit that ends them; another user's go on."""
        bob = ANN | {"email": "bob@example.org"}
        await self.accounts.register(bob)
        theirs = await self.login(fields=bob)
        ids = [(await self.login()).session_id for _ in range(3)]
        await self.sessions.logout_all(self.who, {}, BROWSER)
        self.assertEqual((await self.opened(), await self.opened(theirs)), ([], [theirs.session_id]))
        self.assertEqual(await self.revoked(), [ids[::-1]])
        self.assertEqual((await self.noted())[-1], ("logout", "success", "s", {"all": True, "sessions": 3}))

    async def make_credentials(self, *names: str) -> list[str]:
        who = await self.login()
        grants = [{"pattern": "room.*", "verbs": ["publish"]}]
        made = [
            await self.members.credentials.create(who, {"name": name, "grants": grants}) for name in names
        ]
        await self.sessions.logout(who)
        return [each.credential.id for each in made]

    async def test_credentials_that_change_meanwhile_end_too(self) -> None:
        """One that takes the place of another leaves their number as it was; each is told of by its id."""
        (old,) = await self.make_credentials("pump")
        ending, new = self.sessions.revocation_of, []

        async def slowly(_: LoginSessions, *given: Any, **more: Any) -> Any:
            found = await ending(*given, **more)
            if not new:
                await self.members.credentials.revoke(self.who, old)
                new.extend(await self.make_credentials("valve"))
            return found

        self.patch(LoginSessions, "revocation_of", slowly)
        await self.sessions.logout_all(self.who, {"credentials": True})
        self.assertEqual(await self.members.credentials.list_active(self.who), ())
        self.assertIn(new, await self.revoked())

    async def test_all_with_the_credentials(self) -> None:
        """Those of devices end with it only where that is asked for, in the same unit, and are told of."""
        ids = await self.make_credentials("pump", "valve")
        await self.login()
        await self.sessions.logout_all(self.who, {"credentials": False})
        self.assertEqual(len(await self.members.credentials.list_active(self.who)), 2)
        session = (await self.login()).session_id
        await self.sessions.logout_all(self.who, {"credentials": True})
        self.assertEqual(await self.members.credentials.list_active(self.who), ())
        *_, sessions, credentials = await self.revoked()
        self.assertEqual((sessions, sorted(credentials)), ([session], sorted(ids)))
        details = {"all": True, "sessions": 1, "credentials": 2}
        self.assertEqual((await self.noted())[-1], ("logout", "success", "s", details))
        with self.assertRaises(ValidationError):
            await self.sessions.logout_all(self.who, {"credentials": "yes"})

    async def test_all_of_none(self) -> None:
        await self.sessions.logout_all(self.who)
        self.assertEqual(await self.revoked(), [])

    async def test_logins_and_the_end_of_all_at_once(self) -> None:
        """Whatever their order: what the log says has ended has, and nothing else has."""
        begun = [Deferred.fromCoroutine(self.login()) for _ in range(8)]
        ended = [Deferred.fromCoroutine(self.sessions.logout_all(self.who)) for _ in range(3)]
        ids = {who.session_id for who in await gatherResults(begun)}
        await gatherResults(ended)
        gone = [id for together in await self.revoked() for id in together]
        self.assertEqual(sorted(gone), sorted(ids - set(await self.opened())))

    async def test_a_used_up_token_is_noted(self) -> None:
        login = await self.sessions.login(ANN)
        second = (await self.sessions.refresh({"refreshToken": login.refresh_token})).refresh_token
        await self.sessions.refresh({"refreshToken": second})
        with self.assertRaises(Unauthorized):
            await self.sessions.refresh({"refreshToken": login.refresh_token}, BROWSER)
        session = login.token.split()[-1]
        self.assertEqual((await self.noted())[-1], ("refresh", "reused", session, None))
        (note, *_) = (await self.members.audit_log.own_page(self.who, {})).items
        self.assertEqual((note.actor, note.subject, note.address), (None, self.ann.id, "192.0.2.7"))


class NumberTests(SessionsCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(login_sessions, "MAX_SESSIONS", 3)

    async def test_as_many_as_there_may_be_and_one_more(self) -> None:
        """The oldest ends, and what lives on it."""
        ids = [(await self.login()).session_id for _ in range(3)]
        self.assertEqual((await self.opened(), await self.revoked()), (ids[::-1], []))
        ids.append((await self.login()).session_id)
        self.assertEqual((await self.opened(), await self.revoked()), (ids[:0:-1], [[ids[0]]]))
        self.assertEqual(
            (await self.noted())[-2:],
            [
                ("login", "success", ids[3], None),
                ("session.revoked", "success", ids[0], {"why": "more than 3"}),
            ],
        )

    async def test_far_too_many_of_before(self) -> None:
        """When there was no limit yet: the next login ends them all but the newest."""
        self.patch(login_sessions, "MAX_SESSIONS", 500)
        for _ in range(20):
            await self.login()
        self.patch(login_sessions, "MAX_SESSIONS", 3)
        newest = (await self.opened())[:2]
        last = await self.login()
        self.assertEqual(await self.opened(), [last.session_id, *newest])
        await self.sessions.logout_all(self.who)
        self.assertEqual(await self.opened(), [])

    async def test_what_has_ended_makes_room(self) -> None:
        first = await self.login()
        for _ in range(2):
            await self.login()
        await self.sessions.logout(first)
        await self.login()
        self.assertEqual(await self.revoked(), [[first.session_id]])

    async def test_many_logins_at_once(self) -> None:
        """All succeed, and never are there more; each that had to go is told of once."""
        begun = await gatherResults([Deferred.fromCoroutine(self.login()) for _ in range(10)])
        left = await self.opened()
        self.assertEqual(len(left), 3)
        gone = [id for together in await self.revoked() for id in together]
        self.assertEqual(sorted(gone), sorted({who.session_id for who in begun} - set(left)))


class PasswordTests(SessionsCase):
    async def test_a_new_password_ends_all_other_sessions(self) -> None:
        """In the same unit: there is no moment with both."""
        thief, mine = await self.login(), await self.login()
        await self.accounts.update(mine, mine.user_id, {"password": "An0ther!!"}, BROWSER)
        self.assertEqual(await self.opened(), [mine.session_id])
        self.assertEqual(
            [type for type, _, _ in await self.log()], ["user.created", "user.updated", "session.revoked"]
        )
        self.assertEqual(await self.revoked(), [[thief.session_id]])
        self.assertEqual(
            (await self.noted())[-1],
            ("password.changed", "success", mine.session_id, {"sessionsEnded": 1}),
        )

    async def test_and_the_credentials_where_that_is_asked_for(self) -> None:
        mine = await self.login()
        grants = [{"pattern": "room.*", "verbs": ["publish"]}]
        made = await self.members.credentials.create(mine, {"name": "pump", "grants": grants})
        with self.assertRaises(ValidationError):
            await self.accounts.update(mine, mine.user_id, {"name": "Anna", "credentials": True})
        await self.accounts.update(mine, mine.user_id, {"password": "An0ther!!", "credentials": "true"})
        self.assertEqual(await self.revoked(), [[made.credential.id]])
        self.assertEqual(await self.members.credentials.list_active(mine), ())
        details = {"sessionsEnded": 0, "credentialsEnded": 1}
        self.assertEqual((await self.noted())[-1], ("password.changed", "success", mine.session_id, details))

    async def test_other_changes_end_nothing(self) -> None:
        other, mine = await self.login(), await self.login()
        await self.accounts.update(mine, mine.user_id, {"email": "ann2@example.org", "name": "Anna"})
        self.assertEqual(await self.opened(), [mine.session_id, other.session_id])
        self.assertEqual((await self.noted())[-1], ("email.changed", "success", mine.session_id, None))

    async def test_a_login_that_was_being_checked_is_refused(self) -> None:
        """The old password was right when it was looked at, and is not any more when the session begins."""
        mine = await self.login()
        verify = self.passwords.verify

        async def slowly(password: str, hashed: str | None, requester: Requester) -> bool:
            right = await verify(password, hashed)
            await self.accounts.update(mine, mine.user_id, {"password": "An0ther!!"})
            return right

        self.patch(self.passwords, "verify", slowly)
        with self.assertRaises(Unauthorized):
            await self.sessions.login(ANN)
        self.assertEqual(await self.opened(), [mine.session_id])

    async def test_a_change_whose_session_has_ended_meanwhile_is_refused(self) -> None:
        """A password is hashed for long: the owner's new one is not replaced by that of a session that it has ended."""
        mine, theirs = await self.login(), await self.login()
        hash = self.passwords.hash

        async def slowly(password: str, requester: Requester) -> str:
            self.passwords.hash = hash
            hashed: str = await hash(password, requester)
            await self.accounts.update(mine, mine.user_id, {"password": "An0ther!!"})
            return hashed

        self.patch(self.passwords, "hash", slowly)
        with self.assertRaises(Unauthorized):
            await self.accounts.update(theirs, mine.user_id, {"password": "Th1rd!!!!"})
        await self.sessions.login(ANN | {"password": "An0ther!!"})

    async def test_a_login_that_comes_in_between_ends_too(self) -> None:
        mine = await self.login()
        ending, late = self.sessions.revocation_of, []

        async def slowly(_: LoginSessions, *given: Any) -> Any:
            found = await ending(*given)
            if not late:
                late.append(await self.login())
            return found

        self.patch(LoginSessions, "revocation_of", slowly)
        await self.accounts.update(mine, mine.user_id, {"password": "An0ther!!"})
        self.assertEqual(await self.opened(), [mine.session_id])
        self.assertEqual(await self.revoked(), [[late[0].session_id]])


class AuditTests(SessionsCase):
    async def test_what_happens_to_an_account(self) -> None:
        who = await self.login(BROWSER)
        await self.sessions.logout(who, BROWSER)
        await self.accounts.close(who, who.user_id, PROOF, BROWSER)
        self.assertEqual(
            await self.noted(),
            [
                ("account.created", "success", None, None),
                ("login", "success", who.session_id, None),
                ("logout", "success", who.session_id, None),
                ("account.closed", "success", who.session_id, None),
            ],
        )
        for note in (await self.members.audit_log.own_page(who, {"limit": 3})).items:
            self.assertEqual((note.actor, note.subject), (who.user_id, who.user_id))
            self.assertEqual((note.protocol, note.address), ("rest", "192.0.2.7"))

    async def test_what_is_not_done_is_not_noted(self) -> None:
        """A note is kept with its change, or not at all."""
        await self.accounts.register(ANN | {"email": "bob@example.org"})
        before = await self.noted()
        with self.assertRaises(Conflict):
            await self.accounts.register(ANN)
        with self.assertRaises(Conflict):
            await self.accounts.update(self.who, self.ann.id, PROOF | {"email": "bob@example.org"})
        with self.assertRaises(NotFound):
            await self.sessions.revoke(self.who, self.new_id())
        self.assertEqual(await self.noted(), before)

    async def test_failed_logins(self) -> None:
        """Counted, by the account that was tried; an address that nobody has is not written down."""
        for email, password in (
            ("ann@example.org", "S3cret-tried"),
            ("ANN@example.org", "x"),
            ("eve@x.org", "y"),
        ):
            with self.assertRaises(Unauthorized):
                await self.sessions.login({"email": email, "password": password}, BROWSER)
        await self.members.failed_attempts.stopService()
        rows = (
            await self.store.read(Query("audit_page", {"limit": 2, "offset": 0, "bound": 2**63 - 1}))
        ).results[0]
        self.assertEqual(
            {(row["subject"], row["outcome"], row["times"], row["actor"]) for row in rows},
            {(self.ann.id, "invalid", 2, None), (unknown_email_subject(" EVE@x.org"), "invalid", 1, None)},
        )
        for secret in (b"S3cret-tried", b"eve@x.org", b"EVE@x.org"):
            self.assertNotIn(secret, self.database_bytes())
