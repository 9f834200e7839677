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
from .clients import Address, Rest
from .processes import ROOT, Program
from .test_twistd import TWISTD

MESSAGE = "One message, four protocols"


class FirstMinutesCase(TestCase):
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


class FirstMinutesTests(FirstMinutesCase):
    async def test_the_commands_of_the_banner(self) -> None:
        """Pasted as they are, in their order, all four show the one message."""
        text = await self.start()
        *listening, sending = commands(text)
        self.assertEqual(len(listening), 3, text)
        listeners = [self.paste(command) for command in listening]
        for command, listener in zip(listening, listeners):
            await self.said(listener, "asked" if "graphql" in command else "subscribed")

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

    async def test_examples_teach(self) -> None:
        """Every one that can be run explains itself, also to a Python that has no package but its own."""
        for example in sorted((ROOT / "examples").glob("[!_]*.py")):
            if "def main()" not in example.read_text():
                continue
            for python in ([], ["-S"]):
                program = Program.python(*python, "-m", f"examples.{example.stem}", "--help")
                self.assertEqual(await program.ended, 0, program.errors)
                self.assertIn(f"-m examples.{example.stem}".encode(), program.said)

    async def test_a_package_that_is_missing(self) -> None:
        """One line says which, and what to do."""
        await self.start()
        where = "--url", self.address.url(""), "--account", str(self.data / "demo-account.json")
        for example, words in (
            ("websocket_subscriber", ["a.b"]),
            ("graphql_subscriber", ["subscription { messageSent { id } }"]),
        ):
            program = Program.python("-S", "-m", f"examples.{example}", *where, *words)
            self.assertEqual(await program.ended, 1)
            self.assertRegex(program.errors, rb"^this needs the package websockets, .* `make run` .*\n$")

    async def test_what_the_server_refuses(self) -> None:
        """Each says why, and none that it was subscribed before."""
        await self.start()
        where = "--url", self.address.url(""), "--account", str(self.data / "demo-account.json")
        tcp = "--tcp", f"127.0.0.1:{self.address.tcp}"
        bad, why = "us*rs", "(topic: Not a topic pattern: 'us*rs')"
        for example, words, said in (
            ("websocket_subscriber", [bad], f"Validation failed {why}\n"),
            ("device", [*tcp, bad], f"2: Validation failed {why}\n"),
            ("events", [bad], f"400: Validation failed {why.replace('topic', 'pattern', 1)}\n"),
            (
                "graphql_subscriber",
                [f'subscription {{ topic(pattern: "{bad}") {{ data }} }}'],
                f"asked: results follow\nValidation failed {why.replace('topic', 'pattern', 1)}\n",
            ),
        ):
            program = Program.python("-m", f"examples.{example}", *where, *words)
            self.assertEqual((await program.ended, program.errors.decode()), (1, said))

    async def test_one_cursor(self) -> None:
        """The demonstration of the README."""
        program = Program.python("-m", "examples.one_cursor")
        self.assertEqual(await program.ended, 0, program.said + program.errors)
        reads = re.findall(rb"^   (TCP|WebSocket|REST) +(\w+) ", program.said, re.MULTILINE)
        self.assertEqual(
            [(protocol.decode(), text.decode()) for protocol, text in reads],
            [
                ("TCP", "one"),
                ("TCP", "two"),
                ("WebSocket", "three"),
                ("WebSocket", "four"),
                ("WebSocket", "five"),
                ("REST", "six"),
                ("REST", "seven"),
            ],
        )


SUBSCRIPTION = 'subscription($after: String) { messageSent(channelId: "c", after: $after) { content } }'


def position(cursor: str) -> int:
    """Within the log; clients can't know it."""
    return int(cursor.rpartition(".")[2])


class ResumingTests(FirstMinutesCase):
    """Each subscriber hears each message once, whichever of server and subscriber is killed in between."""

    async def send(self, *texts: str) -> str:
        """Gives the cursor of the last one."""
        account = json.loads((self.data / "demo-account.json").read_text())
        rest = Rest(self.address, account["token"])
        for text in texts:
            status, answer = await rest.ask("POST", "/api/v1/messages", {"content": text, "channelId": "c"})
            self.assertEqual(status, 201, answer)
        cursor: str = answer["cursor"]
        return cursor

    async def until_noted(self, cursor: str, file: Path) -> None:
        """Or what came behind it: who catches up is soon at the end of the log, where other events are, too."""
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while True:
            kept = json.loads(file.read_text())
            if max(map(position, (kept["live"], *kept["replaying"].values()))) >= position(cursor):
                break
            self.assertLess(reactor.seconds(), give_up)  # type: ignore[attr-defined]
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def check(self, example: str, *words: str) -> None:
        await self.start()
        cursor = self.data / "cursor"
        where = "--url", self.address.url(""), "--account", str(self.data / "demo-account.json")
        command = "-m", f"examples.{example}", *where, "--cursor", str(cursor), *words

        def subscribe() -> Program:
            program = Program.python(*command)
            self.addCleanup(program.kill)
            return program

        first = subscribe()
        await self.said(first, "asked" if example == "graphql_subscriber" else "subscribed")
        await self.send("m1", "m2")
        await self.said(first, "m2")
        self.server.signal("KILL")
        await self.server.ended
        await self.start()
        await self.until_noted(await self.send("m3"), cursor)
        self.server.signal("KILL")  # as it is when the subscriber ends and comes back
        await first.kill()
        await self.server.ended
        await self.start()
        await self.send("m4", "m5")
        second = subscribe()
        await self.said(second, "m5")
        await self.send("m6")
        await self.said(second, "m6")
        self.assertEqual(re.findall(rb"\bm\d\b", first.said), [b"m1", b"m2", b"m3"])
        self.assertEqual(re.findall(rb"\bm\d\b", second.said), [b"m4", b"m5", b"m6"])
        self.assertIn(b"resuming", second.errors)

    async def test_rest(self) -> None:
        await self.check("events", "messages.channel.c")

    async def test_websocket(self) -> None:
        await self.check("websocket_subscriber", "messages.channel.c")

    async def test_tcp(self) -> None:
        await self.check("device", "--tcp", f"127.0.0.1:{self.address.tcp}", "messages.channel.c")

    async def test_graphql(self) -> None:
        await self.check("graphql_subscriber", SUBSCRIPTION)

    async def test_several_subscriptions(self) -> None:
        """On one connection, of which another one's deliveries move the cursor."""
        await self.check("websocket_subscriber", "messages.channel.c", "messages.channel.d", "users")
