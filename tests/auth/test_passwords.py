"""bcrypt in a bounded pool: real threads, the cheapest cost."""

from __future__ import annotations

import bcrypt
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from multiproto.auth.passwords import BcryptPasswords
from multiproto.core.errors import Unavailable
from tests.canary import PASSWORD


class PasswordsTests(TestCase):
    def setUp(self) -> Deferred[None]:
        self.passwords = BcryptPasswords(reactor, rounds=4, threads=2, most_waiting=3)
        self.addCleanup(self.passwords.stopService)
        return self.passwords.startService()

    async def test_right_and_wrong(self) -> None:
        hashed = await self.passwords.hash(PASSWORD)
        self.assertNotIn(PASSWORD, hashed)
        self.assertTrue(hashed.startswith("$2b$04$"))
        self.assertTrue(await self.passwords.verify(PASSWORD, hashed))
        self.assertFalse(await self.passwords.verify("passw0rd!", hashed))

    async def test_no_password_is_right_for_nobody(self) -> None:
        self.assertFalse(await self.passwords.verify("", None))

    async def test_no_password_is_cut(self) -> None:
        """Fault 16: what begins with the right 72 bytes is wrong all the same."""
        longest = "A" * 72
        hashed = await self.passwords.hash(longest)
        self.assertTrue(await self.passwords.verify(longest, hashed))
        self.assertFalse(await self.passwords.verify(longest + "B", hashed))
        self.assertFalse(await self.passwords.verify("\ud800", hashed))

    async def test_an_unknown_address_costs_the_same_work(self) -> None:
        """Fault 16: with and without a hash, bcrypt compares once, at one cost."""
        costs: list[bytes] = []
        compare = bcrypt.checkpw

        def counting(password: bytes, hashed: bytes) -> bool:
            costs.append(hashed[:7])
            return compare(password, hashed)

        self.patch(bcrypt, "checkpw", counting)
        hashed = await self.passwords.hash(PASSWORD)
        for against in (hashed, None):
            for password in ("wrong", "A" * 1000):
                await self.passwords.verify(password, against)
        self.assertEqual(costs, [b"$2b$04$"] * 4)

    async def test_a_storm_is_refused_at_once(self) -> None:
        """Two at work and three waiting; the sixth is told to come back, and the five are served."""
        storm = [Deferred.fromCoroutine(self.passwords.hash(PASSWORD)) for _ in range(5)]
        self.assertEqual(self.passwords.waiting, 5)
        self.failureResultOf(Deferred.fromCoroutine(self.passwords.hash(PASSWORD)), Unavailable)
        self.assertEqual(len(await gatherResults(storm)), 5)
        self.assertEqual(self.passwords.waiting, 0)
