"""bcrypt in a bounded pool: real threads, the cheapest cost."""

from __future__ import annotations

import os
import sys
import threading

import bcrypt
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from multiproto.auth.passwords import (
    NICENESS,
    NICENESS_OF_MANY,
    BcryptPasswords,
    find_current_core,
    spare_cores,
)
from multiproto.base.client_network import ClientNetwork
from multiproto.core.client_info import Requester
from multiproto.core.errors import RateLimited, Unavailable
from multiproto.core.kept_accounts import TRUNCATED_HASH
from tests.canary import CANARY, PASSWORD
from tests.timing import TEST_RESCUE


class PasswordsTests(TestCase):
    timeout = TEST_RESCUE

    def setUp(self) -> Deferred[None]:
        self.passwords = BcryptPasswords(reactor, rounds=4, threads=2, max_waiting=3)
        self.addCleanup(self.passwords.stopService)
        return self.passwords.startService()

    async def test_right_and_wrong(self) -> None:
        hashed = await self.passwords.hash(PASSWORD)
        self.assertNotIn(PASSWORD, hashed)
        self.assertTrue(hashed.startswith("$2b$04$"))
        self.assertTrue(await self.passwords.verify(PASSWORD, hashed))
        self.assertFalse(await self.passwords.verify("passw0rd!", hashed))

    async def test_one_password_in_two_spellings(self) -> None:
        """A new hash is of NFC.  An old one is of what was typed, and goes on working as it is typed."""
        composed, decomposed = CANARY + "-é", CANARY + "-e\u0301"
        new, old = await self.passwords.hash(composed), await self.passwords.hash(decomposed)
        verify = self.passwords.verify
        self.assertEqual([await verify(typed, new) for typed in (composed, decomposed)], [True, True])
        self.assertEqual([await verify(typed, old) for typed in (composed, decomposed)], [False, True])

    async def test_each_spelling_may_have_72_bytes(self) -> None:
        """What is longer as it was typed is right in NFC, and no spelling is cut."""
        composed = "é" * 36
        self.assertTrue(await self.passwords.verify("e\u0301" * 36, await self.passwords.hash(composed)))
        self.assertFalse(await self.passwords.verify("e\u0301" * 37, await self.passwords.hash(composed)))

    async def test_no_password_is_right_for_nobody(self) -> None:
        self.assertFalse(await self.passwords.verify("", None))

    async def test_no_password_is_cut(self) -> None:
        """What begins with the right 72 bytes is wrong all the same (docs/predecessor-faults.md#fault-16)."""
        longest = "A" * 72
        hashed = await self.passwords.hash(longest)
        self.assertTrue(await self.passwords.verify(longest, hashed))
        self.assertFalse(await self.passwords.verify(longest + "B", hashed))
        self.assertFalse(await self.passwords.verify("\ud800", hashed))

    async def test_hashes_of_the_predecessor(self) -> None:
        """Whatever their prefix; a password over 72 bytes counts by its first 72, as it did there."""
        long = PASSWORD + "x" * 72
        for prefix in ("$2a$", "$2b$", "$2y$"):
            for password in (PASSWORD, long):
                hashed = prefix + bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()[4:]
                self.assertTrue(await self.passwords.verify(password, TRUNCATED_HASH + hashed))
                self.assertFalse(await self.passwords.verify("x" + password, TRUNCATED_HASH + hashed))
                self.assertFalse(await self.passwords.verify(long, hashed))

    async def test_what_is_no_hash_is_nobodys_password(self) -> None:
        for text in ("", "plain text", "$2b$04$short", "$2b$99$" + "a" * 53, TRUNCATED_HASH, "\u00e9" * 60):
            for password in ("", text, PASSWORD):
                self.assertFalse(await self.passwords.verify(password, text))

    async def test_an_unknown_address_costs_the_same_work(self) -> None:
        """With and without a hash, bcrypt compares once for each spelling, at one cost.

        docs/predecessor-faults.md#fault-16
        """
        costs: list[bytes] = []
        compare = bcrypt.checkpw

        def counting(password: bytes, hashed: bytes) -> bool:
            costs.append(hashed[:7])
            return compare(password, hashed)

        self.patch(bcrypt, "checkpw", counting)
        hashed = await self.passwords.hash(PASSWORD)
        for against in (hashed, TRUNCATED_HASH + hashed, "plain text", None):
            for password in ("wrong", "A" * 1001, "e\u0301"):
                await self.passwords.verify(password, against)
        self.assertEqual(costs, [b"$2b$04$"] * 16)

    async def test_a_storm_is_refused_at_once(self) -> None:
        """Two at work and three waiting; the sixth is told to come back, and the five are served."""
        storm = [Deferred.fromCoroutine(self.passwords.hash(PASSWORD)) for _ in range(5)]
        self.assertEqual(self.passwords.waiting, 5)
        self.failureResultOf(Deferred.fromCoroutine(self.passwords.hash(PASSWORD)), Unavailable)
        self.assertEqual(len(await gatherResults(storm)), 5)
        self.assertEqual(self.passwords.waiting, 0)

    async def test_a_client_that_leaves_its_place_in_the_queue_takes_no_thread_with_it(self) -> None:
        """Its turn comes, and goes on to the next one."""
        running = [Deferred.fromCoroutine(self.passwords.hash(PASSWORD)) for _ in range(2)]
        left = [Deferred.fromCoroutine(self.passwords.hash(PASSWORD)) for _ in range(2)]
        for each in left:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        next_one = Deferred.fromCoroutine(self.passwords.hash(PASSWORD))
        await gatherResults([*running, next_one])
        self.assertEqual(self.passwords.waiting, 0)

    async def test_a_client_that_leaves_its_hash_frees_no_thread_before_its_end(self) -> None:
        """Else those who come and go would fill the pool's own queue, which has no bound."""
        running = [Deferred.fromCoroutine(self.passwords.hash(PASSWORD)) for _ in range(2)]
        for each in running:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.passwords.waiting, 2)
        await self.passwords.hash(PASSWORD)
        while self.passwords.waiting:
            await deferLater(reactor, 0)

    async def test_one_address_can_not_fill_the_queue(self) -> None:
        """Whoever has their share waiting is told at once; another's login is not behind all of theirs."""
        passwords = BcryptPasswords(reactor, rounds=4, threads=1, max_waiting_per_network=2)
        self.addCleanup(passwords.stopService)
        await passwords.startService()
        done: list[str] = []

        def login(requester: Requester) -> Deferred[None]:
            hashing = Deferred.fromCoroutine(passwords.hash(PASSWORD, requester))
            return hashing.addCallback(lambda hashed: done.append(requester.network))

        crowd, owner = Requester(ClientNetwork("storm")), Requester(ClientNetwork("owner"))
        storm = [login(crowd) for _ in range(3)]
        self.assertRaises(RateLimited, passwords.check_capacity, crowd)
        passwords.check_capacity(owner)
        refused = self.failureResultOf(Deferred.fromCoroutine(passwords.hash(PASSWORD, crowd)), RateLimited)
        self.assertEqual(refused.value.retry_after, 1.0)
        last = login(owner)
        self.assertEqual(dict(passwords._running), {"storm": 1, "owner": 1})  # not behind all of theirs
        await gatherResults([*storm, last])
        self.assertEqual(sorted(done), ["owner", "storm", "storm", "storm"])

    async def test_a_thread_is_left_for_those_who_have_none(self) -> None:
        """One beyond those of all; who has it waits with the others for the next one."""
        passwords = BcryptPasswords(reactor, rounds=4, threads=1)
        self.addCleanup(passwords.stopService)
        await passwords.startService()
        release, done = threading.Event(), []
        self.addCleanup(release.set)

        def login(name: str) -> Deferred[None]:
            requester = Requester(ClientNetwork(name))
            working = Deferred.fromCoroutine(passwords._in_thread(release.wait, requester))
            return working.addCallback(lambda _: done.append(name))

        logins = [login(name) for name in ("storm", "storm", "owner", "owner", "third")]
        self.assertEqual(dict(passwords._running), {"storm": 1, "owner": 1})
        self.assertEqual(passwords.waiting, 5)
        release.set()
        await gatherResults(logins)
        self.assertEqual(
            (sorted(done), passwords.waiting), (["owner", "owner", "storm", "storm", "third"], 0)
        )

    async def test_one_who_loses_the_place_is_told(self) -> None:
        """To one whose network has less; and the place is given once."""
        running = [Deferred.fromCoroutine(self.passwords.hash(PASSWORD)) for _ in range(2)]
        crowd = Requester(ClientNetwork("crowd"))
        waiting = [Deferred.fromCoroutine(self.passwords.hash(PASSWORD, crowd)) for _ in range(4)]
        late = Deferred.fromCoroutine(self.passwords.hash(PASSWORD, Requester(ClientNetwork("late"))))
        self.failureResultOf(waiting.pop(), RateLimited)
        self.assertEqual(len(await gatherResults([*running, *waiting, late])), 6)
        self.assertEqual(self.passwords.waiting, 0)

    async def test_threads_that_hash_let_others_go_first(self) -> None:
        """The reactor's is none of them."""

        def niceness() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        before = niceness()
        self.assertEqual(await self.passwords._in_thread(niceness, Requester()), NICENESS)
        self.assertEqual(niceness(), before)

    async def test_of_threads_that_hash_those_for_many_go_last(self) -> None:
        """Whoever has more waiting leaves the core to others: the last one of a row has none waiting behind it."""
        passwords = BcryptPasswords(reactor, rounds=4, threads=1)
        self.addCleanup(passwords.stopService)
        await passwords.startService()
        found: list[tuple[str, int]] = []

        def login(name: str) -> Deferred[None]:
            working = Deferred.fromCoroutine(passwords._in_thread(niceness, Requester(ClientNetwork(name))))
            return working.addCallback(lambda nice: found.append((name, nice)))

        def niceness() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        await gatherResults([login(name) for name in ("storm", "storm", "storm", "storm", "owner")])
        self.assertEqual(
            sorted(found),
            [("owner", NICENESS), *[("storm", NICENESS)] * 2, *[("storm", NICENESS_OF_MANY)] * 2],
        )

    async def test_threads_that_hash_leave_the_reactors_core(self) -> None:
        """They begin elsewhere, and may come back: where they were before does not matter."""
        current_core, cores = find_current_core(), os.sched_getaffinity(0)
        passwords = BcryptPasswords(reactor, rounds=4, threads=1, current_core=lambda: before)
        passwords._pool.start()
        self.addCleanup(passwords._pool.stop)
        moved, before = 0, current_core()
        for _ in range(20):
            now, allowed = await passwords._in_thread(
                lambda: (current_core(), os.sched_getaffinity(0)), Requester()
            )
            self.assertEqual(allowed, cores)
            moved, before = moved + (now != before), now
        self.assertGreater(moved, 15)

    if len(getattr(os, "sched_getaffinity", lambda pid: ())(0)) < 2:
        test_threads_that_hash_leave_the_reactors_core.skip = "one core"  # type: ignore[attr-defined]

    if sys.platform != "linux":
        test_threads_that_hash_let_others_go_first.skip = "only there"  # type: ignore[attr-defined]

    def test_the_reactor_keeps_a_core(self) -> None:
        """Where there is more than one."""
        self.patch(os, "sched_getaffinity", lambda pid: set(range(8)))
        self.assertEqual(spare_cores(), 7)
        self.patch(os, "sched_getaffinity", lambda pid: {0})
        self.assertEqual(spare_cores(), 1)
