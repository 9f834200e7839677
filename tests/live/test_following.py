"""The follower of docs/client-libraries.md, while its server and it are killed: each event once for each pattern, in order."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from twisted.internet.defer import Deferred

from multiproto.core.pubsub.topics import matches

from ..test_pages import page
from .clients import Device, Person
from .processes import Program
from .test_twistd import Started, TwistdCase

PATTERNS = ("log.**", "log.a", "log.*.deep")
TOPICS = ("log.a", "log.b", "log.c.deep")
ROUNDS = 6
BURST = 120  # publications of each
FOLLOWER = """
import random, sys, time

class Printing(Cursors):
    handled = None  # what was handled and not printed

    def on_message(self, message):
        super().on_message(message)
        print(json.dumps([message["type"], self.handled, self.to_store()]), flush=True)  # in one write: all or nothing
        self.handled = None

def handle(message, patterns):
    cursors.handled = [message["topic"], message["content"], patterns]

cursors = Printing(json.loads(sys.argv[3]))
while True:
    try:
        follow(("127.0.0.1", int(sys.argv[1])), sys.argv[2], cursors, handle)
    except OSError:
        pass
    time.sleep(random.random() / 10)
"""


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)


def program() -> str:
    """The code of the pages, and what runs it."""
    (frames,) = blocks("docs/tcp.md")
    return "\n".join([frames.partition("\nwith ")[0], *blocks("docs/client-libraries.md"), FOLLOWER])


class FollowingTests(TwistdCase):
    def setUp(self) -> None:
        super().setUp()
        self.published: list[tuple[str, int]] = []
        self.handled: dict[str, list[tuple[str, int]]] = {pattern: [] for pattern in PATTERNS}
        self.stored: dict[str, str | None] = dict.fromkeys(PATTERNS)

    async def test_kills(self) -> None:
        """docs/client-libraries.md#which-cursor-to-keep"""
        await self.serve(None)
        self.ann = await Person.register(self.started.address, "ann")
        self.addCleanup(self.ann.leave)
        self.follow()
        while not all(self.stored.values()):
            await self.hear()
        first, rewound = self.stored["log.a"], len(self.handled["log.a"])
        for number in range(ROUNDS):
            if number % 2:
                await self.follower.kill()
                for line in self.follower.lines.rest():
                    self.note(json.loads(line))
                self.stored["log.a"] = first  # it has the most to catch up with
                del self.handled["log.a"][rewound:]
            missed = Deferred.fromCoroutine(self.publish(BURST))
            if number % 2:
                await missed
                self.follow()
                while (await self.hear())[0] != "caught_up":
                    pass
            else:
                for _ in range(random.randrange(1, BURST)):
                    await self.hear()
                await missed
            await self.started.program.kill()
            await self.serve(self.started)
        await self.publish(1)
        expected = {
            pattern: [each for each in self.published if matches(pattern.split("."), each[0].split("."))]
            for pattern in PATTERNS
        }
        while any(self.handled[pattern][-1] != expected[pattern][-1] for pattern in PATTERNS):
            await self.hear()
        self.assertEqual(self.handled, expected)

    async def serve(self, former: Started | None) -> None:
        """A server, in the place of one that was killed."""
        address = None if former is None else former.address
        namespaces = '[{"match": "log.**"}]'
        self.started = await self.start(address=address, NAMESPACES=namespaces, PUBLISH_RATE="none").ready()

    async def publish(self, count: int) -> None:
        """So many on each topic; returns when all are acknowledged."""
        device = await Device.open(self.started.address)
        assert (await device.ask(0x01, token=self.ann.token))[0] == 0x02
        fresh = [(topic, len(self.published) + number) for number in range(count) for topic in TOPICS]
        for topic, number in fresh:
            device.say(0x20, topic=topic, content=number, id=number)
        for _ in fresh:
            kind, said = await device.inbox.next()
            assert kind == 0x22, said
        self.published += fresh
        await device.close()

    def follow(self) -> None:
        """The program of the pages, from where the last one stood."""
        where, stored = str(self.started.address.tcp), json.dumps(self.stored)
        self.follower = Program.python("-c", program(), where, self.ann.token, stored)
        self.addCleanup(self.follower.kill)

    async def hear(self) -> Any:
        """Note the next that the follower prints."""
        said = await self.follower.next()
        self.note(said)
        return said

    def note(self, said: Any) -> None:
        _, handled, self.stored = said
        if handled is not None:
            topic, content, patterns = handled
            for pattern in patterns:
                self.handled[pattern].append((topic, content))
