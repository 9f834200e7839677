"""The examples of docs/events.md are what a subscriber hears, and each event is on the topics that the page says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any
from urllib.parse import quote

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace
from multiproto.core.pubsub.topics import channel_topic

from ..test_pages import page, section
from .running import LiveCase

NODE = shutil.which("node")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CURSOR = re.compile(r"\b[0-9a-f]{16}\.\d+\b")


def normalized(value: object) -> Any:
    """The JSON of `value`, in which each id is named by when it comes first, and a time or cursor is like any other."""
    ids: dict[str, str] = {}
    text = UUID.sub(lambda found: ids.setdefault(found[0], f"id{len(ids)}"), json.dumps(value))
    return json.loads(CURSOR.sub("cursor", TIME.sub("time", text)))


def examples() -> dict[str, Any]:
    """The JSON below each heading of the page's list of events, by the heading."""
    listed = section(page("docs/events.md"), "## Every event")
    found = re.findall(r"^### (.*?)\n.*?```json\n(.*?)```", listed, re.MULTILINE | re.DOTALL)
    return {heading: json.loads(text) for heading, text in found}


def topics() -> dict[str, list[str]]:
    """The topics that the page's list of events has for each heading, with ids in angle brackets."""
    listed = section(page("docs/events.md"), "## Every event")
    found = re.findall(r"^### (.*?)\n+On (.*?)\.\n", listed, re.MULTILINE)
    return {heading: re.findall(r"`([^`]+)`", text) for heading, text in found}


class JavaScriptTests(SynchronousTestCase):
    def test_how_a_channel_becomes_a_topic(self) -> None:
        """The function of the page, in Node, on every character that a channel may have."""
        assert NODE is not None
        [block] = re.findall(r"```js\n(.*?)```", page("docs/events.md"), re.DOTALL)
        asked = """
            const codes = [...Array(0x110000).keys()].filter((code) => code > 0 && (code < 0xd800 || code > 0xdfff));
            process.stdout.write(JSON.stringify(codes.map((code) => channelTopic(String.fromCodePoint(code)))));
        """
        found = subprocess.run([NODE, "-e", block + asked], capture_output=True, check=True).stdout
        codes = [*range(1, 0xD800), *range(0xE000, 0x110000)]
        wrong = [
            code
            for code, topic in zip(codes, json.loads(found), strict=True)
            if topic != channel_topic(chr(code))
        ]
        self.assertEqual(wrong, [])

    if not NODE:
        test_how_a_channel_becomes_a_topic.skip = "node is not installed"  # type: ignore[attr-defined]


class EventsPageTests(LiveCase):
    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), namespaces=(Namespace("telemetry.**"),))

    async def asyncSetUp(self) -> None:
        self.heard: dict[str, Any] = {}  # the delivery of each example
        self.published: dict[
            str, list[str]
        ] = {}  # the topics of its event in the log, with ids in angle brackets
        self.ann = await self.person("ann")
        self.observer = await self.ann.websocket()
        await self.observer.ask(type="subscribe", topic="**")

    async def happened(self, heading: str, **names: str) -> Any:
        """Note the event that just happened under the `heading` that shows it; `names` are those of ids in topics."""
        delivery = self.heard[heading] = await self.observer.inbox.next()
        if "cursor" in delivery:
            store = self.server.getServiceNamed("store")
            [entry] = [each for each in await store.read_after(0, 1000) if each.event.id == delivery["id"]]
            by_id = {id: f"<{name}>" for name, id in names.items()}
            self.published[heading] = [
                re.sub(UUID, lambda found: by_id[found[0]], topic) for topic in entry.event.topics
            ]
        return delivery

    async def test_examples_and_topics(self) -> None:
        ann, ask = self.ann, self.ann.rest.ask
        bob = await self.person("bob")
        created = await self.happened("`user.created`")
        await bob.rest.ask("PUT", f"/api/v1/users/{bob.id}", {"name": "Bob"})
        await self.happened("`user.updated`", id=bob.id)
        await ask("POST", "/api/v1/messages", {"content": "hello", "channelId": "a.b"})
        said = await self.happened("`message.sent`, in a channel", author=ann.id)
        events = await ann.stream(
            "GET", "/api/v1/topics/messages.channel.a%252Eb/events?after=" + created["cursor"]
        )
        _, subscribed = await events.inbox.next()
        _, again = await events.inbox.next()
        self.assertEqual((again["topic"], again["id"]), ("messages.channel.a%2Eb", said["id"]))
        _, listed = await ask("GET", "/api/v1/messages/channel/a.b")
        self.assertEqual(listed["data"]["data"], [said["data"]["message"]])
        await ask("POST", "/api/v1/messages", {"content": "psst", "recipientId": bob.id})
        whispered = await self.happened("`message.sent`, direct", author=ann.id, recipient=bob.id)
        await ask("DELETE", f"/api/v1/messages/{said['data']['message']['id']}")
        await self.happened("`message.deleted`, in a channel", author=ann.id)
        await ask("DELETE", f"/api/v1/messages/{whispered['data']['message']['id']}")
        await self.happened("`message.deleted`, direct", author=ann.id, recipient=bob.id)
        device = await bob.device()
        device.say(0x20, topic="telemetry.engine", content={"speed": 900}, metadata={"unit": "rpm"})
        await self.happened("A publication on a logged topic")
        await bob.rest.ask("POST", f"/api/v1/topics/{quote('chat:room1')}", {"data": "hi"})
        await self.happened("A publication on a live topic")
        await bob.rest.ask("DELETE", f"/api/v1/users/{bob.id}")
        await self.happened("`user.deleted`", id=bob.id)
        self.assertEqual(
            {heading: normalized(example) for heading, example in examples().items()},
            {heading: normalized(delivery) for heading, delivery in self.heard.items()},
        )
        server = {heading: found for heading, found in self.published.items() if heading.startswith("`")}
        self.assertEqual(
            {
                heading: [topic.replace("<channel>", "a%2Eb") for topic in found]
                for heading, found in topics().items()
            },
            server,
        )
