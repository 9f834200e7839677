"""Rights end on one instance, and with them all that lives on them on the other: fifty times on each protocol.

Judged by the order of events; `make prove` also looks at the clock.
"""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.servers import needs
from tests.system.revocation.endings import ENDINGS
from tests.system.revocation.fleet import Fleet
from tests.system.revocation.judge import PROTOCOLS, faults
from tests.system.revocation.mutants import keeps_connections, keeps_tokens
from tests.system.revocation.run import Run
from tests.timing import TEST_RESCUE

ROUNDS = 8  # of each kind of ending: 56 on each protocol


@needs("postgresql", "redis")
class RevocationTests(TestCase):
    """Two `twistd` on one PostgreSQL; `python -m tests.system.revocation` prints the figures."""

    timeout = TEST_RESCUE

    async def run_on(self, fleet: Fleet) -> Run:
        run = Run(fleet)
        self.addCleanup(lambda: Deferred.fromCoroutine(run.stop()))
        await run.start()
        return run

    async def kept(self, fleet: Fleet) -> None:
        """Also by an instance that can't see the log meanwhile, and so can't know whose rights have ended."""
        run = await self.run_on(fleet)
        records = await run.rounds(ROUNDS)
        self.assertEqual(faults(records), [])
        times = Counter(record.protocol for record in records)
        self.assertEqual(times, dict.fromkeys(PROTOCOLS, ROUNDS * len(ENDINGS)))
        self.assertEqual(faults(await run.rounds(1, blind=True)), [])

    async def test_with_redis(self) -> None:
        await self.kept(Fleet(with_redis=True, is_patient=True))

    async def test_without_redis(self) -> None:
        await self.kept(Fleet(with_redis=False, is_patient=True))

    async def test_servers_that_break_the_promise_are_found_out(self) -> None:
        mutants = [each.__name__ for each in (keeps_connections, keeps_tokens)]
        run = await self.run_on(Fleet(with_redis=False, is_patient=True, mutants=mutants))
        late = {each.protocol for each in await run.rounds(1) if each.was_given_after_it_was_known}
        self.assertEqual(late, set(PROTOCOLS))
