"""A whole run of tests that pass, but tell a secret: it fails, and does not repeat it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.canary import PASSWORD
from tests.timing import TEST_RESCUE

from .processes import Program

# Each tells it in another way; trial itself fails only what is logged.
PLANTED = """
import sys
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from tests.canary import PASSWORD, look

class PlantedTests(SynchronousTestCase):
    def test_planted(self):
        %s
"""


class RunTests(TestCase):
    timeout = TEST_RESCUE

    async def ran(self, statement: str) -> tuple[int, str]:
        """Status and output of a run of one test that does this."""
        file = Path(self.mktemp()).absolute() / "test_planted.py"
        file.parent.mkdir()
        file.write_text(PLANTED % statement)
        program = Program.python("-m", "tests.run", str(file))
        status = await program.ended
        return status, (program.said + program.errors).decode()

    async def test_a_leak_fails_it(self) -> None:
        for statement, masked in (
            ("Logger().debug('{it}', it=PASSWORD)", "[chosen]-Passw0rd!"),
            ("look('metrics', PASSWORD); self.flushLoggedErrors()", "metrics: chosen in [chosen]"),
            ("open('server.log', 'w').write(PASSWORD)", "server.log: [chosen]"),
            ("print(PASSWORD)", "[chosen]-Passw0rd!"),
            ("print(PASSWORD, file=sys.stderr)", "[chosen]-Passw0rd!"),
        ):
            status, output = await self.ran(statement)
            self.assertEqual(status, 1, (statement, output))
            self.assertIn(masked, output)
            self.assertNotIn(PASSWORD, output)

    async def test_no_leak_does_not(self) -> None:
        status, output = await self.ran("Logger().debug('{it}', it='nothing'); print('nothing')")
        self.assertEqual(status, 0, output)
        self.assertEqual(output.splitlines()[-1], "1 passed, 0 failed")
