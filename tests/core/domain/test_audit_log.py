"""How the audit log is asked for."""

from __future__ import annotations

from twisted.internet import reactor

from multiproto.core.client_info import ClientInfo
from multiproto.core.domain.audit_log import AuditLog, AuditRecorder
from multiproto.core.errors import ValidationError
from multiproto.core.identity import Identity
from multiproto.core.transactions import Unit

from ...fakes import PlainPasswords, make_account_services
from ...stores import StoreCase
from .test_accounts import ANN, NamingTokens

BOB = ANN | {"email": "Bob@example.org"}


class TrailCase(StoreCase):
    async def asyncSetUp(self) -> None:
        self.members = make_account_services(
            self.store, PlainPasswords(), NamingTokens(), reactor, self.now, self.new_id
        )
        self.ann, self.bob = [await self.person(fields) for fields in (ANN, BOB)]

    async def person(self, fields: dict[str, str]) -> Identity:
        user = (await self.members.accounts.register(fields)).value
        login = await self.members.login_sessions.login(fields)
        return Identity(user.id, login.token.split()[-1], 1e12)

    def trail(self) -> AuditLog:
        return make_account_services(self.store, None, None, reactor, self.now, self.new_id).audit_log

    async def listed(self, trail: AuditLog, **fields: object) -> list[tuple[str, str]]:
        """(action, whose) of each, newest first."""
        names = {self.ann.user_id: "ann", self.bob.user_id: "bob"}
        page = await trail.page(fields)
        return [(note.action, names[note.subject or ""]) for note in page.items]


class PageTests(TrailCase):
    async def test_all_of_one_account_or_of_one_action(self) -> None:
        trail = self.trail()
        added, login = "account.created", "login"
        self.assertEqual(
            await self.listed(trail), [(login, "bob"), (added, "bob"), (login, "ann"), (added, "ann")]
        )
        self.assertEqual(
            await self.listed(trail, user=self.ann.user_id.upper()), [(login, "ann"), (added, "ann")]
        )
        self.assertEqual(await self.listed(trail, action=added), [(added, "bob"), (added, "ann")])
        self.assertEqual(await self.listed(trail, action=added, user=self.ann.user_id), [(added, "ann")])
        self.assertEqual(await self.listed(trail, page=2, limit="3"), [(added, "ann")])

    async def test_cursors_miss_no_record_that_is_written_late(self) -> None:
        """A clock that is behind gives it an early time, and it is in front all the same."""
        trail = self.trail()
        first = await trail.page({"limit": 3})
        self.assertEqual([note.action for note in first.items], ["login", "account.created", "login"])
        behind = AuditRecorder(lambda: 1.0, self.new_id)
        for n in range(2):
            late = behind.record_step("token", ClientInfo(), subject=self.ann.user_id, outcome=f"late {n}")
            await self.store.commit(Unit((late,)))
        rest = await trail.page({"before": first.before})
        self.assertEqual(([note.action for note in rest.items], rest.has_newer), (["account.created"], True))
        for page in (
            await trail.page({"after": first.after}),
            await trail.page({"after": first.after, "action": "token"}),
            await trail.page({"after": first.after, "user": self.ann.user_id}),
            await trail.own_page(self.ann, {"after": first.after}),
        ):
            self.assertEqual([note.outcome for note in page.items], ["late 1", "late 0"])
            nothing = await trail.page({"after": page.after})
            self.assertEqual((nothing.items, nothing.after, nothing.cursor), ((), page.after, None))
            back = await trail.page({"before": nothing.before, "limit": 2})
            self.assertEqual([note.outcome for note in back.items], ["late 1", "late 0"])
        beyond = await trail.page({"page": 9})
        self.assertEqual(
            ((await trail.page({"after": beyond.after})).total, beyond.before), (beyond.total, None)
        )
        self.assertEqual(len((await trail.page({"after": beyond.after})).items), beyond.total)
        empty = await trail.page({"action": "logout"})
        self.assertEqual((empty.items, empty.after), ((), "audit.0"))
        for cursor in ("", "x", "audit.7", "audit.-1", self.store.cursor_of(1)):
            with self.assertRaises(ValidationError) as caught:
                await trail.page({"before": cursor})
            self.assertEqual([error.path for error in caught.exception.errors], [("before",)])

    async def test_what_can_not_be_asked_for(self) -> None:
        trail = self.trail()
        for fields in (
            {"page": 0},
            {"limit": 101},
            {"limit": "x"},
            {"user": "ann"},
            {"user": ""},
            {"action": "x\0"},
            {"action": 1},
        ):
            with self.assertRaises(ValidationError):
                await trail.page(fields)


class OwnTests(TrailCase):
    async def test_everybody_reads_their_own(self) -> None:
        page = await self.trail().own_page(self.ann, {"limit": 1, "user": self.bob.user_id})
        (note,) = page.items
        self.assertEqual((page.total, note.subject, note.action), (2, self.ann.user_id, "login"))
        self.assertEqual(
            note.to_json(),
            {
                "id": note.id,
                "at": note.at,
                "action": "login",
                "outcome": "success",
                "times": 1,
                "actor": self.ann.user_id,
                "subject": self.ann.user_id,
                "sessionId": self.ann.session_id,
            },
        )
        with self.assertRaises(ValidationError):
            await self.trail().own_page(self.ann, {"limit": 0})

    async def test_of_one_action(self) -> None:
        page = await self.trail().own_page(self.ann, {"action": "account.created"})
        self.assertEqual([note.action for note in page.items], ["account.created"])
