"""Revocations: who announces, who listens, and how long they are remembered."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.timestamps import format_timestamp
from multiproto.core.events import EventBuilder
from multiproto.core.identity import Identity
from multiproto.core.model import User
from multiproto.core.revocations import REMEMBERED_FOR, RevocationAnnouncingStore, Revocations
from multiproto.core.transactions import Unit

from ..fakes import MemoryLog, sequential_ids

ANN, BOB = Identity("ann", "session-ann", 1000.0), Identity("bob", "session-bob", 1000.0)


class RevocationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.revocations, self.heard = Revocations(), list[object]()
        self.revocations.on_revoked.append(lambda ids: self.heard.append(("revoked", *ids)))
        self.revocations.on_logged.append(lambda ids: self.heard.append(("logged", *ids)))
        events = EventBuilder(sequential_ids("event"))
        self.ended = events.sessions_revoked("ann", ["session-ann"], format_timestamp(0))
        self.closed = events.user_deleted("bob", format_timestamp(0))
        self.created = events.user_created(User("eve", "e@example.org", "Eve", "", ""))

    def test_a_commit_is_announced_at_once_and_closes_nothing_yet(self) -> None:
        log: Any = MemoryLog()
        store = RevocationAnnouncingStore(log, self.revocations)
        unit = Unit((), (self.created, self.ended, self.closed))
        self.successResultOf(Deferred.fromCoroutine(store.commit(unit)))
        self.assertEqual(self.heard, [("revoked", "session-ann"), ("revoked", "bob")])

    def test_a_commit_that_failed_announces_nothing(self) -> None:
        log: Any = MemoryLog(away=True)
        store = RevocationAnnouncingStore(log, self.revocations)
        self.failureResultOf(Deferred.fromCoroutine(store.commit(Unit((), (self.ended,)))))
        self.assertEqual(self.heard, [])
        self.assertFalse(self.revocations.is_revoked(ANN))

    def test_the_log_announces_and_closes(self) -> None:
        for event in (self.created, self.ended, self.closed):
            self.revocations.revoke_logged(event)
        self.assertEqual(
            self.heard,
            [("revoked", "session-ann"), ("logged", "session-ann"), ("revoked", "bob"), ("logged", "bob")],
        )
        self.assertEqual([self.revocations.is_revoked(each) for each in (ANN, BOB)], [True, True])

    def test_they_are_remembered_for_a_while(self) -> None:
        self.revocations.revoke(["session-ann"])
        self.revocations.forget_old(5.0)
        self.revocations.forget_old(4.9 + REMEMBERED_FOR)
        self.assertTrue(self.revocations.is_revoked(ANN))
        self.revocations.forget_old(5.0 + REMEMBERED_FOR)
        self.assertFalse(self.revocations.is_revoked(ANN))

    def test_a_broken_listener_spares_nobody(self) -> None:
        self.revocations.on_revoked.insert(0, lambda ids: 1 // 0)
        self.revocations.revoke_logged(self.ended)
        self.assertEqual(self.heard, [("revoked", "session-ann"), ("logged", "session-ann")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
