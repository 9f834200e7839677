"""The machine's clock is set while the server runs: a real `twistd`, to which libfaketime tells another time of day."""

from __future__ import annotations

import base64
import json
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import treq

from multiproto.base.timestamps import parse_timestamp
from tests.canary import PASSWORD

from . import test_twistd
from .clients import Device, Rest, WebSocket
from .running import LiveCase
from .test_twistd import STOPPED, Started, TwistdCase

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
# Under libfaketime, Python's `time.sleep` fails; the thread of the log sleeps.
TWISTD = (
    "-c",
    "import select, time; time.sleep = lambda seconds: select.select([], [], [], seconds); "
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
)
MINUTE, HOUR, DAY = 60, 3600, 86_400
LEAPS = (10 * MINUTE, -HOUR, 40 * DAY, -40 * DAY)  # seconds
PING, MESSAGE, ACK = 0x30, 0x20, 0x22


class LeapTests(TwistdCase):
    if not LIBRARIES:
        skip = "libfaketime is not installed: Debian's package libfaketime has it"

    async def test_a_leap_either_way_disconnects_nobody_and_stops_nothing(self) -> None:
        started = await self.start_with_faked_time()
        await self.log_in_to(started, register=True)
        token = await self.log_in_to(started)
        publisher = await Device.open(started.address)
        await publisher.ask(0x01, token=token)
        subscriber = await WebSocket.open(started.address)
        await subscriber.ask(type="auth", token=token)
        await subscriber.ask(type="subscribe", topic="room.*")
        for seconds in LEAPS:
            self.set_clock(seconds)
            await self.publish(publisher, subscriber, f"at {seconds}")
            self.assertEqual((await Rest(started.address).ask("GET", "/health/live"))[0], 200)
            _, health = await Rest(started.address).ask("GET", "/health")
            self.assertEqual(health["status"], "degraded")
            self.assertIn("set forward" if seconds > 0 else "set back", health["clock"])
            status, _ = await Rest(started.address, await self.log_in_to(started)).ask(
                "GET", "/api/v1/auth/me"
            )
            self.assertEqual(status, 200)
            await self.next_frame(publisher, PING)  # the connection's timers go on
            await (await Device.open(started.address)).inbox.closed  # not authenticated in time
            await self.publish(publisher, subscriber, f"later at {seconds}")
            self.set_clock(0)
            await self.publish(publisher, subscriber, f"after {seconds}")
            _, health = await Rest(started.address).ask("GET", "/health")
            self.assertEqual((health["status"], "clock" in health), ("healthy", False))
        self.assertFalse(publisher.inbox.closed.called or subscriber.inbox.closed.called)
        self.set_clock(-HOUR)
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)

    def set_clock(self, seconds: float) -> None:
        """Set the server's clock ahead of ours by `seconds`; in one step, as it reads the file again each time."""
        written = self.file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self.file)

    async def start_with_faked_time(self) -> Started:
        self.patch(test_twistd, "TWISTD", TWISTD)
        self.file = self.data.with_suffix(".time")
        self.set_clock(0)
        return await self.start(
            LD_PRELOAD=str(LIBRARIES[0]),
            FAKETIME_TIMESTAMP_FILE=str(self.file),
            FAKETIME_NO_CACHE="1",
            DONT_FAKE_MONOTONIC="1",
            AUTH_TIMEOUT="1s",
            TCP_PING_INTERVAL="1s",
            WEBSOCKET_PING_INTERVAL="1s",
        ).ready()

    async def log_in_to(self, started: Started, register: bool = False) -> str:
        fields = {"email": "ann@example.org", "password": PASSWORD}
        if register:
            status, answer = await Rest(started.address).ask(
                "POST", "/api/v1/auth/register", {**fields, "name": "ann"}
            )
            self.assertEqual(status, 201, answer)
            return ""
        status, answer = await Rest(started.address).ask("POST", "/api/v1/auth/login", fields)
        self.assertEqual(status, 200, answer)
        return str(answer["data"]["token"])

    async def publish(self, publisher: Device, subscriber: WebSocket, text: str) -> None:
        """A publication is acknowledged, and delivered."""
        publisher.say(MESSAGE, topic="room.1", content=text, id=text)
        self.assertEqual((await self.next_frame(publisher, ACK))["id"], text)
        self.assertEqual((await subscriber.inbox.next())["data"], text)

    async def next_frame(self, device: Device, wanted: int) -> Any:
        while True:
            kind, fields = await device.inbox.next()
            if kind == wanted:
                return fields


class FarClockTests(LiveCase):
    """The time of day is far from what the reactor's clock says: whoever takes one for the other shows here."""

    def now(self) -> float:
        return time.time() + 40 * DAY

    async def test_everything_is_stamped_by_the_time_of_day(self) -> None:
        ann = await self.person("ann")
        socket, device = await ann.websocket(), await ann.device()
        subscribed = await socket.ask(type="subscribe", topic="room.*")
        await device.ask(MESSAGE, topic="room.1", content="x", id=1)
        delivered = await socket.inbox.next()
        pinged = await socket.ask(type="ping")
        _, sent = await ann.rest.ask("POST", "/api/v1/messages", {"content": "hello", "channelId": "c"})
        _, sessions = await ann.rest.ask("GET", "/api/v1/auth/sessions")
        _, index = await ann.rest.ask("GET", "/")
        _, health = await ann.rest.ask("GET", "/health")
        stamps = [
            *(subscribed["timestamp"], delivered["timestamp"], pinged["timestamp"]),
            *(sent["timestamp"], sent["data"]["createdAt"], sessions["data"][0]["createdAt"]),
            *(index["timestamp"], health["timestamp"]),
        ]
        entries = await self.server.getServiceNamed("store").read_after(0, 100)
        stamps += [entry.event.occurred_at for entry in entries]
        response = await treq.get(self.address.url("/health/live"), agent=ann.rest.agent(self.address))
        await response.content()
        (date,) = response.headers.getRawHeaders("date")
        claims = json.loads(base64.urlsafe_b64decode(ann.token.split(".")[1] + "=="))
        times = [parse_timestamp(stamp) for stamp in stamps]
        times += [parsedate_to_datetime(date).timestamp(), claims["iat"]]
        times.append(int(ann.id.replace("-", "")[:12], 16) / 1000)  # of a UUID of version 7
        for each in times:
            self.assertLess(abs(each - self.now()), HOUR)

    async def test_what_has_run_out_by_it_has_run_out(self) -> None:
        """And what takes its time does, by the other clock."""
        ann = await self.person("ann")
        status, stats = await Rest(self.address).ask("GET", "/health")
        self.assertEqual((status, stats["status"]), (200, "healthy"))
        self.assertLess(stats["uptime"], HOUR)
        self.assertEqual((await ann.rest.ask("GET", "/api/v1/auth/me"))[0], 200)
        self.now = lambda: time.time() + 41 * DAY  # type: ignore[method-assign]
        self.assertEqual((await ann.rest.ask("GET", "/api/v1/auth/me"))[0], 401)
        _, health = await Rest(self.address).ask("GET", "/health")
        self.assertIn("set forward by 86400 s", health["clock"])
