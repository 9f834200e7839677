"""What a newcomer does: starts the server, pastes the banner's commands, follows the README."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from ..ports import free_ports
from ..test_banner import commands
from ..timing import RESCUE, TEST_RESCUE
from .clients import Address
from .processes import ROOT, Program
from .test_twistd import TWISTD

MESSAGE = "One message, four protocols"
PAGES = sorted((ROOT / "docs").glob("*.md"))


class FirstMinutesTests(TestCase):
    """One server in development for each test, as `make run` starts it."""

    timeout = TEST_RESCUE

    def setUp(self) -> None:
        self.data = Path(self.mktemp()).absolute()
        self.address = Address(*free_ports(3))

    async def start(self) -> str:
        """The banner of a server that has just come up."""
        self.server = Program.python(
            *TWISTD,
            "multiproto",
            PORT=str(self.address.http),
            TCP_PORT=str(self.address.tcp),
            METRICS_PORT=str(self.address.metrics),
            DATA_DIR=str(self.data),
        )
        self.addCleanup(self.server.kill)
        return await self.said(self.server, "examples.four_ways")

    def paste(self, command: str) -> Program:
        program = Program.start("/bin/bash", "-c", command)
        program.hands_out = True  # one of them prints the token to log in with
        self.addCleanup(program.kill)
        return program

    async def said(self, program: Program, words: str) -> str:
        """All that `program` has printed, once `words` are there and the line is whole."""
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while reactor.seconds() < give_up:  # type: ignore[attr-defined]
            text = (program.said + program.errors).decode()
            if words in text and text.endswith("\n"):
                return text
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]
        raise AssertionError(f"{words!r} was not said, but:\n{text}")

    async def test_the_commands_of_the_banner(self) -> None:
        """Pasted as they are, in their order, all four show the one message."""
        text = await self.start()
        *listening, sending = commands(text)
        self.assertEqual(len(listening), 3, text)
        listeners = [self.paste(command) for command in listening]
        for listener in listeners:
            await self.said(listener, "subscribed")

        sender = self.paste(sending)
        self.assertEqual(await sender.ended, 0, sender.errors)
        answer = json.loads(sender.said)
        self.assertEqual((answer["success"], answer["data"]["content"]), (True, MESSAGE))
        for listener in listeners:
            await self.said(listener, MESSAGE)

    async def test_the_demo_account(self) -> None:
        """Its password is random and its file is its owner's alone; four at once make one account."""
        text = await self.start()
        login = re.search(r"\$\((.*?)\)", text)
        assert login, text
        programs = [self.paste(login[1]) for _ in range(4)]
        statuses = [await program.ended for program in programs]
        self.assertEqual(statuses, [0] * 4, [program.errors for program in programs])
        self.assertEqual(len({program.said for program in programs}), 1)
        kept = self.data / "demo-account.json"
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o600)
        self.assertNotIn(json.loads(kept.read_text())["password"], text)

    async def test_four_ways(self) -> None:
        """Every listener hears every sender."""
        text = await self.start()
        command = re.search(r"at once: (.*)", text)
        assert command, text
        program = self.paste(command[1])
        self.assertEqual(await program.ended, 0, program.said + program.errors)
        head, *rows = program.said.decode().splitlines()
        self.assertEqual(head.split()[-5:], ["WebSocket", "TCP", "GraphQL-WS", "GraphQL-SSE", "REST-SSE"])
        self.assertEqual(len(rows), 6)
        for row in rows:
            self.assertRegex(row, r"^(message|publication) by \w+( +\d+\.\d){5}$")

    async def test_a_device_comes_back(self) -> None:
        """It hears its own readings, is told that the server goes, and hears them again on the next one."""
        text = await self.start()
        device = self.paste(f"{commands(text)[2]} 'sensors.*' --publish sensors.kitchen --every 0.1")
        await self.said(device, "sensors.kitchen {")
        self.server.signal("TERM")
        await self.server.ended
        await self.said(device, "server is shutting down")
        await self.start()
        device.said = b""
        await self.said(device, "sensors.kitchen {")

    async def test_commands_of_the_pages(self) -> None:
        """What stands in docs/ as `bash` can be pasted, page by page."""
        await self.start()
        for page in PAGES:
            script = "\n".join(re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
            program = self.paste(f"set -euo pipefail\n{self.moved(script)}")
            self.assertEqual(await program.ended, 0, f"{page.name}: {program.errors[-2000:]!r}")

    def moved(self, script: str) -> str:
        """`script` for where this server is, not for the defaults that the pages speak of."""
        url, data = self.address.url(""), str(self.data)
        for default, here in (
            ("-m examples.login", f"-m examples.login --url {url} --account {data}/demo-account.json"),
            ("127.0.0.1:3000", url.removeprefix("http://")),
            ("127.0.0.1:9090", f"127.0.0.1:{self.address.metrics}"),
            ("127.0.0.1 3001", f"127.0.0.1 {self.address.tcp}"),
            ('"127.0.0.1", 3001', f'"127.0.0.1", {self.address.tcp}'),
            ("data/", f"{data}/"),
        ):
            script = script.replace(default, here)
        return script

    async def test_examples_teach(self) -> None:
        """Every example explains itself."""
        for example in sorted((ROOT / "examples").glob("[!_]*.py")):
            module = f"examples.{example.stem}"
            program = Program.python("-m", module, "--help")
            self.assertEqual(await program.ended, 0, program.errors)
            self.assertIn(b"--url", program.said)
