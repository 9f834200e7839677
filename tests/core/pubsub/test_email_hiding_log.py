"""The log without the addresses of its users, on the real store."""

from __future__ import annotations

from multiproto.core.domain.messages import Messages
from multiproto.core.pubsub.email_hiding_log import EmailHidingLog
from multiproto.core.pubsub.policy import Policy

from ...fakes import begin_session
from ..domain.test_accounts import PROOF, AccountsCase


class EmailHidingLogTests(AccountsCase):
    async def test_events_of_accounts_have_no_address(self) -> None:
        """Also those that were written before; all else is as it was, and what is read equals what is sent."""
        await begin_session(self.store, self.who)
        await self.accounts.update(self.who, self.ann.id, {"name": "Anna"})
        messages = Messages(self.store, self.sends, self.events, Policy(), self.now, self.new_id)
        await messages.send(self.who, {"content": "Ann@example.org", "channelId": "c"})
        await self.accounts.close(self.who, self.ann.id, PROOF)
        await self.accounts.register({"email": "bob@example.org", "name": "Bob", "password": "Passw0rd!"})
        log = EmailHidingLog(self.store)
        entries = await log.read_after(0, 10)
        self.assertEqual([entry.position for entry in entries], [1, 2, 3, 4, 5])
        page = await log.read_page("users", 3, 5)
        self.assertEqual(page.entries, entries[3:])
        self.assertEqual([entry.redacted for entry in entries], [True] * 3 + [False] * 2)
        deleted, created = (entry.event for entry in entries[3:])
        self.assertEqual(deleted.content, {"userId": self.ann.id})
        self.assertEqual(set(created.content["user"]), {"id", "name", "createdAt", "updatedAt"})  # type: ignore[index]
        self.assertIsNone(created.encoded_content)  # of the store's text, which has it
        stored = await self.store.read_after(4, 1)
        self.assertIn(b"bob@example.org", stored[0].event.encoded_content or b"")

    async def test_it_is_the_same_log(self) -> None:
        log = EmailHidingLog(self.store)
        position, cursor = await log.head()
        self.assertEqual((position, await log.locate(cursor)), (1, 1))
        self.assertEqual(await log.retention_floors(), await self.store.retention_floors())
