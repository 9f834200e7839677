"""Who may read the whole audit log."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.logger import LogEvent, globalLogPublisher

from multiproto.core.domain.operators import Operators
from multiproto.core.errors import Forbidden, NotFound
from multiproto.core.identity import Identity

from ...fakes import make_account_services
from .test_accounts import PROOF
from .test_audit_log import ANN, TrailCase

ROOT = ANN | {"email": "Root@example.org"}


class OperatorsCase(TrailCase):
    async def operators(self, *configured: str) -> Operators:
        """Those of an instance that starts now."""
        services = make_account_services(
            self.store, None, None, reactor, self.now, self.new_id, operators=configured
        )
        await services.operators.startService()
        return services.operators

    async def is_one(self, operators: Operators, identity: Identity) -> bool:
        try:
            await operators.check(identity)
        except Forbidden:
            return False
        return True

    async def audited(self) -> list[tuple[str, str | None, object]]:
        """(action, whose, details) of all grants and revocations, newest first."""
        return [
            (record.action, record.subject, record.details)
            for record in (await self.members.audit_log.page({})).items
            if record.action.startswith("operator.")
        ]


class SettingTests(OperatorsCase):
    async def test_nobody_is_one_unless_named(self) -> None:
        for configured in ((), (self.bob.user_id,), ("bob@example.org",)):
            self.assertFalse(await self.is_one(await self.operators(*configured), self.ann))

    async def test_by_id_or_by_address_in_any_case(self) -> None:
        for configured in ((self.bob.user_id,), (self.bob.user_id.upper(),), ("x@x.org", "BOB@example.org")):
            self.assertTrue(await self.is_one(await self.operators(*configured), self.bob))

    async def test_an_address_that_nobody_has_is_nobodys_for_good(self) -> None:
        """Whoever registered it first could read everything."""
        running = await self.operators("root@example.org")
        root = await self.person(ROOT)
        self.assertFalse(await self.is_one(running, root))
        self.assertFalse(await self.is_one(await self.operators("root@example.org"), root))

    async def test_an_address_means_the_account_that_had_it(self) -> None:
        """Not whom it belongs to after its operator has another one."""
        running = await self.operators("bob@example.org")
        await self.members.accounts.update(self.bob, self.bob.user_id, PROOF | {"email": "rob@example.org"})
        heir = await self.person(ANN | {"email": "bob@example.org"})
        for operators in (running, await self.operators("bob@example.org")):
            self.assertTrue(await self.is_one(operators, self.bob))
            self.assertFalse(await self.is_one(operators, heir))

    async def test_an_address_has_two_spellings_of_its_domain(self) -> None:
        root = await self.person(ANN | {"email": "root@bücher.example"})
        for named in ("root@xn--bcher-kva.example", "Root@BÜCHER.example"):
            self.assertTrue(await self.is_one(await self.operators(named), root))
        self.assertFalse(await self.is_one(await self.operators("root@bucher.example"), root))

    async def test_nor_after_the_account_is_closed(self) -> None:
        await self.operators("bob@example.org")
        await self.members.accounts.close(self.bob, self.bob.user_id, PROOF)
        heir = await self.person(ANN | {"email": "bob@example.org"})
        self.assertFalse(await self.is_one(await self.operators("bob@example.org"), heir))

    async def test_what_is_no_longer_configured_grants_nothing(self) -> None:
        await self.operators("bob@example.org")
        self.assertFalse(await self.is_one(await self.operators(), self.bob))

    async def test_it_is_audited_once_and_nobody_is_warned_of(self) -> None:
        lines: list[LogEvent] = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        for _ in range(2):
            await self.operators("bob@example.org", "root@example.org", "no@example.org", self.ann.user_id)
        self.assertEqual(await self.audited(), [("operator.granted", self.bob.user_id, {"by": "OPERATORS"})])
        warned: list[Any] = [line["addresses"] for line in lines if "addresses" in line]
        self.assertEqual(warned, ["no@example.org, root@example.org"] * 2)


class CommandTests(OperatorsCase):
    async def test_granted_and_revoked(self) -> None:
        running, commands = await self.operators(), await self.operators()
        for user in ("BOB@example.org", self.bob.user_id):
            self.assertEqual(await commands.grant(user), self.bob.user_id)
        self.assertTrue(await self.is_one(running, self.bob))
        self.assertFalse(await self.is_one(running, self.ann))
        [row] = await commands.granted()
        self.assertEqual((row["user_id"], row["email"]), (self.bob.user_id, "Bob@example.org"))
        self.assertEqual([await commands.revoke("bob@example.org") for _ in range(2)], [True, False])
        self.assertFalse(await self.is_one(running, self.bob))
        self.assertEqual(
            await self.audited(),
            [("operator.revoked", self.bob.user_id, None), ("operator.granted", self.bob.user_id, None)],
        )

    async def test_a_new_address_changes_nothing(self) -> None:
        operators = await self.operators()
        await operators.grant(self.bob.user_id)
        await self.members.accounts.update(self.bob, self.bob.user_id, PROOF | {"email": "rob@example.org"})
        heir = await self.person(ANN | {"email": "bob@example.org"})
        self.assertTrue(await self.is_one(operators, self.bob))
        self.assertFalse(await self.is_one(operators, heir))

    async def test_one_that_is_not_there(self) -> None:
        operators = await self.operators()
        for user in ("x@x.org", "x", self.bob.user_id[:-1]):
            with self.assertRaises(NotFound):
                await operators.grant(user)

    async def test_a_closed_account_is_none(self) -> None:
        operators = await self.operators()
        await operators.grant(self.bob.user_id)
        await self.members.accounts.close(self.bob, self.bob.user_id, PROOF)
        self.assertEqual(await operators.granted(), [])
