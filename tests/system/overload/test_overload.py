"""The short form of `python -m tests.system.overload`: the most telling attacks, and no stop-watch."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ...live.processes import Program
from ...timing import TEST_RESCUE


class OverloadTests(TestCase):
    timeout = TEST_RESCUE

    async def test_others_are_answered_while_each_attack_goes_on(self) -> None:
        """Before it ends they have a hundred, one by one, in order, on connections that they keep; newcomers are let in."""
        program = Program.python("-m", "tests.system.overload", "--short", "--seconds", "4")
        self.addCleanup(lambda: Deferred.fromCoroutine(program.kill()))
        status = await program.ended
        self.assertEqual(status, 0, (program.said + program.errors).decode())
