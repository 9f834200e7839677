"""docs/architecture.md is true: each journey it describes calls the functions it names, in that order.

The page's steps are links to a file whose text is a function, `Class.method`.
Each journey is made on a running server, with every call into the package
recorded, and the page's steps must be found in the record in their order.
"""

from __future__ import annotations

import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from attrs import define, evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

import multiproto
from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace

from .running import LiveCase

PACKAGE = Path(multiproto.__file__).parent
ROOT = PACKAGE.parent
PAGE = ROOT / "docs/architecture.md"

_STEP = re.compile(r"\[`([\w.]+)`\]\(\.\./(multiproto/[\w/]+\.py)\)")


@define(frozen=True)
class Step:
    """One function of the package."""

    path: str  # from the root of the repository
    function: str  # `Class.method`, or the name of a function


def documented(number: int) -> list[Step]:
    """The steps of a journey, in the order of the page."""
    section = re.split(r"^### ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    (journey,) = (text for text in section if text.startswith(f"{number}. "))
    return [Step(path, function) for function, path in _STEP.findall(journey)]


@define(eq=False)
class Recorder:
    """Notes every call into the package while it records; a coroutine that is resumed counts again."""

    calls: list[Step] | None = None  # none while it doesn't record

    def install(self) -> None:
        """For this thread, and those that start from now on."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def uninstall(self) -> None:
        threading.setprofile(None)
        sys.setprofile(None)

    @contextmanager
    def recording(self) -> Iterator[list[Step]]:
        self.calls = calls = []
        try:
            yield calls
        finally:
            self.calls = None

    def _note(self, frame: Any, event: str, _: object) -> None:
        calls, code = self.calls, frame.f_code
        if calls is not None and event == "call" and code.co_filename.startswith(str(PACKAGE)):
            path = str(Path(code.co_filename).relative_to(ROOT))
            calls.append(Step(path, code.co_qualname.replace(".<locals>", "")))


def first_missing(steps: list[Step], calls: list[Step]) -> Step | None:
    """The first of `steps` that is not found in `calls` behind the ones before it."""
    remaining = iter(calls)
    return next((step for step in steps if step not in remaining), None)


class JourneyTests(LiveCase):
    """One server of the embedded kind."""

    def setUp(self) -> Deferred[None]:
        self.recorder = Recorder()
        self.recorder.install()
        self.addCleanup(self.recorder.uninstall)
        return super().setUp()

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, namespaces=(Namespace("telemetry.**", retention=86400.0),))

    async def asyncSetUp(self) -> None:
        self.ann, self.bob = await self.person("ann"), await self.person("bob")

    def check(self, number: int, calls: list[Step]) -> None:
        steps = documented(number)
        self.assertGreaterEqual(len(steps), 6, "a journey has some steps")
        missing = first_missing(steps, calls)
        if missing is not None:
            near = [f"{call.path} {call.function}" for call in calls if call.path == missing.path]
            self.fail(f"{PAGE.name}, journey {number}: {missing} was not called here; its file: {near}")

    async def test_1_a_devices_message_to_a_browser(self) -> None:
        socket, device = await self.ann.websocket(), await self.bob.device()
        assert (await socket.ask(type="subscribe", topic="telemetry.*"))["type"] == "subscribed"
        with self.recorder.recording() as calls:
            device.say(0x20, topic="telemetry.engine", content=71, id=1)
            delivery = await socket.inbox.next()
            kind, ack = await device.inbox.next()
        self.assertEqual((delivery["data"], kind, ack["id"]), (71, 0x22, 1))
        self.check(1, calls)

    async def test_2_a_posted_message_to_a_graphql_subscription(self) -> None:
        graphql = await self.ann.graphql_socket()
        query = 'subscription { messageSent(channelId: "hall") { content } }'
        graphql.say(type="subscribe", id="1", payload={"query": query})
        assert (await graphql.ask(type="ping"))["type"] == "pong"
        with self.recorder.recording() as calls:
            status, _ = await self.bob.rest.ask(
                "POST", "/api/v1/messages", {"content": "hello", "channelId": "hall"}
            )
            result = await graphql.inbox.next()
        self.assertEqual((status, result["payload"]["data"]), (201, {"messageSent": {"content": "hello"}}))
        self.check(2, calls)

    async def test_3_a_logout_to_a_closed_socket(self) -> None:
        socket = await self.ann.websocket()
        with self.recorder.recording() as calls:
            status, _ = await self.ann.rest.ask("POST", "/api/v1/auth/logout")
            code, _ = await socket.inbox.closed
        self.assertEqual((status, code), (204, 4401))
        self.check(3, calls)

    async def test_4_a_resume(self) -> None:
        cursors = []
        for number in (1, 2, 3):
            answer = await self.bob.rest.ask("POST", "/api/v1/topics/telemetry.engine", {"data": number})
            cursors.append(answer[1]["data"]["cursor"])
        await self.told_everywhere()
        socket = await self.ann.websocket()
        with self.recorder.recording() as calls:
            subscribed = await socket.ask(type="subscribe", topic="telemetry.*", after=cursors[0])
            replayed = [await socket.inbox.next(), await socket.inbox.next()]
            caught_up = await socket.inbox.next()
            await deferLater(reactor, 0)
        self.assertEqual([each["data"] for each in replayed], [2, 3])
        self.assertEqual((subscribed["recovered"], caught_up["type"]), (True, "caught_up"))
        self.check(4, calls)


class CheckerTests(SynchronousTestCase):
    """The check itself can fail."""

    A, B = Step("multiproto/a.py", "A.x"), Step("multiproto/b.py", "b")

    def test_steps_in_their_order(self) -> None:
        self.assertIsNone(first_missing([self.A, self.B], [self.A, self.A, self.B]))

    def test_steps_in_another_order(self) -> None:
        self.assertEqual(first_missing([self.A, self.B], [self.B, self.A]), self.B)

    def test_a_step_that_was_not_called(self) -> None:
        self.assertEqual(first_missing([self.A], [self.B]), self.A)

    def test_the_page_names_functions_that_exist(self) -> None:
        for number in (1, 2, 3, 4):
            for step in documented(number):
                text = (ROOT / step.path).read_text("utf-8")
                self.assertIn(f"def {step.function.rpartition('.')[2]}(", text, step)
