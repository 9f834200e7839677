"""The server as one of several services in somebody else's process, as docs/operations.md has it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.ports import free_ports

from .clients import Address, Person
from .processes import Program
from .test_twistd import STOPPED, Started, TwistdCase

PAGE = Path(__file__).parents[2] / "docs/operations.md"
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=", "--python")


def example() -> str:
    section = PAGE.read_text("utf-8").partition("### Inside another service")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


class EmbeddingTests(TwistdCase):
    async def test_the_example_serves_beside_another_service(self) -> None:
        file = self.data.with_suffix(".tac")
        file.write_text(example())
        started = Started.__new__(Started)
        started.address = Address(*free_ports(3))
        started.program = Program.python(
            *TWISTD,
            str(file),
            PORT=str(started.address.http),
            TCP_PORT=str(started.address.tcp),
            METRICS_PORT=str(started.address.metrics),
            DATA_DIR=str(self.data),
            BCRYPT_ROUNDS="4",
        )
        self.addCleanup(started.program.kill)
        await started.ready()
        ann = await Person.register(started.address, "ann")
        device = await ann.device()
        self.assertEqual((await device.ask(0x10, topic="users"))[0], 0x12)
        self.assertEqual((await ann.rest.ask("GET", "/graphql"))[0], 404)  # its options count
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)
        for said in (
            "a service of yours",
            "http listens on",
            "stopped",
        ):  # in the log of the process that it is in
            self.assertIn(said, started.output)
        self.assertNotIn("Traceback", started.output)
        self.assertNotIn("in development. Ctrl-C stops it", started.output)
