"""Nothing holds the reactor: a small run of `python -m tests.system.reactor_latency`, which says more when it is run by hand."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ..timing import TEST_RESCUE
from .processes import Program


class StallTests(TestCase):
    timeout = TEST_RESCUE

    async def test_no_turn_is_too_long(self) -> None:
        program = Program.python("-m", "tests.system.reactor_latency", "--readers", "200", "--events", "3000")
        self.addCleanup(lambda: Deferred.fromCoroutine(program.kill()))
        status = await program.ended
        self.assertEqual(status, 0, (program.said + program.errors).decode())
