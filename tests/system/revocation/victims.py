"""Those whose rights end: a connection of each protocol that listens and commands, until it is told to go.

Each keeps a `Record`.  What is published has the time at which it was sent as
`at`; each command has it as its id.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Awaitable, Callable, Coroutine
from urllib.parse import quote

from attrs import Factory, define
from autobahn.exception import Disconnected
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tests.live.clients import Address, Device, Events, Inbox, Rest, WebSocket
from tests.timing import RESCUE

from .judge import COMMANDS, LISTENS, Record

PATTERN, SAID = "load.*", "said.x"  # what they hear, and where they say something to nobody
LISTEN = f'subscription {{ topic(pattern: "{PATTERN}") {{ data }} }}'
SAY = f'mutation {{ publish(topic: "{SAID}", data: 1) {{ topic }} }}'
PACE = 0.1  # seconds between two commands
SUBSCRIPTION = "load"  # its id on a GraphQL socket

now = time.monotonic
_log = Logger()


@define(eq=False)
class Victim:
    record: Record
    _hang_up: Callable[[], object]
    going: bool = True
    _work: Deferred[None] = Factory(lambda: succeed(None))

    def heard(self, data: Any) -> None:
        self.record.heard = max(self.record.heard, float(data["at"]))
        self.record.noticed = now()

    def obeyed(self, sent: float) -> None:
        self.record.obeyed = max(self.record.obeyed, sent)
        self.record.noticed = now()

    def ended(self, reason: object) -> None:
        """By the server, unless it was too late for that."""
        if self.going:
            self.going, self.record.closed = False, now()

    @property
    def was_given_something(self) -> bool:
        """All that its protocol gives."""
        record = self.record
        heard, obeyed = record.heard > 0, record.obeyed > 0
        return (heard or record.protocol not in LISTENS) and (obeyed or record.protocol not in COMMANDS)

    async def leave(self) -> None:
        """Whoever is still there."""
        if self.going:
            self.going = False
            await maybeDeferred(self._hang_up)
        await self._work

    def listen(self, inbox: Inbox, tell: Callable[[Any], None]) -> None:
        """What has come by now is told first."""
        for said in inbox.rest():
            tell(said)
        inbox.listener = tell
        inbox.closed.addBoth(self.ended)

    def command(self, say: Callable[[float], object]) -> None:
        self.begin(self._command(say))

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = begun(work)

    async def _command(self, say: Callable[[float], object]) -> None:
        with suppress(Disconnected):  # it is being closed
            while self.going:
                say(now())
                await deferLater(reactor, PACE)  # type: ignore[arg-type]


Open = Callable[[Address, str, Record], Awaitable[Victim]]


def begun(work: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Fires when it is done; a failure is logged, and so fails the test."""
    return Deferred.fromCoroutine(work).addErrback(lambda failure: _log.failure("the driver broke", failure))


async def granted(ask: Callable[[], Awaitable[Any]], is_granted: Callable[[Any], bool]) -> None:
    """Ask until it is: an instance that is too busy to follow the log refuses for a while."""
    rescue = now() + RESCUE
    while not is_granted(said := await ask()):
        assert now() < rescue, said
        await deferLater(reactor, PACE)  # type: ignore[arg-type]


async def websocket(there: Address, token: str, record: Record) -> Victim:
    socket = await WebSocket.open(there)
    await granted(lambda: socket.ask(type="auth", token=token), lambda said: said["type"] == "auth_success")
    await granted(
        lambda: socket.ask(type="subscribe", topic=PATTERN), lambda said: said["type"] == "subscribed"
    )
    victim = Victim(record, socket.close)

    def tell(said: Any) -> None:
        if said["type"] == "message":
            victim.heard(said["data"])
        elif said["type"] == "ack":
            victim.obeyed(float(said["id"]))

    victim.listen(socket.inbox, tell)
    victim.command(lambda at: socket.say(type="message", topic=SAID, data=1, id=repr(at)))
    return victim


async def tcp(there: Address, token: str, record: Record) -> Victim:
    device = await Device.open(there)
    await granted(lambda: device.ask(0x01, token=token), lambda said: said[0] == 0x02)
    await granted(lambda: device.ask(0x10, topic=PATTERN), lambda said: said[0] == 0x12)
    victim = Victim(record, device.close)

    def tell(said: Any) -> None:
        kind, fields = said
        if kind == 0x21:
            victim.heard(fields["content"])
        elif kind == 0x22:
            victim.obeyed(float(fields["id"]))

    victim.listen(device.inbox, tell)
    victim.command(lambda at: device.say(0x20, topic=SAID, content=1, id=repr(at)))
    return victim


async def graphql_socket(there: Address, token: str, record: Record) -> Victim:
    socket = await WebSocket.open(there, "/graphql", ("graphql-transport-ws",))
    begun = await socket.ask(type="connection_init", payload={"authorization": f"Bearer {token}"})
    assert begun["type"] == "connection_ack"
    victim = Victim(record, socket.close)

    def tell(said: Any) -> None:
        if said["type"] != "next":
            return
        data = said["payload"]["data"]
        if said["id"] == SUBSCRIPTION:
            victim.heard(data["topic"]["data"])
        elif data is not None and "errors" not in said["payload"]:
            victim.obeyed(float(said["id"]))

    victim.listen(socket.inbox, tell)
    socket.say(type="subscribe", id=SUBSCRIPTION, payload={"query": LISTEN})
    victim.command(lambda at: socket.say(type="subscribe", id=repr(at), payload={"query": SAY}))
    return victim


async def rest_stream(there: Address, token: str, record: Record) -> Victim:
    path = f"/api/v1/topics/{quote(PATTERN, safe='')}/events"
    events = await Rest(there, token).events("GET", path)
    assert (await events.inbox.next())[0] == "subscribed"
    return _stream(events, record, "message", lambda said: said["data"])


async def graphql_stream(there: Address, token: str, record: Record) -> Victim:
    events = await Rest(there, token).events("POST", "/graphql", {"query": LISTEN})
    return _stream(events, record, "next", lambda said: (said["data"] or {}).get("topic", {}).get("data"))


def _stream(events: Events, record: Record, event: str, data_of: Callable[[Any], Any]) -> Victim:
    victim = Victim(record, events.hang_up)

    def tell(said: Any) -> None:
        kind, fields = said
        if kind == event and "errors" not in fields:
            victim.heard(data_of(fields))

    victim.listen(events.inbox, tell)
    return victim


async def rest(there: Address, token: str, record: Record) -> Victim:
    """One request after the other, so that the token is known there; it goes on when it is refused."""
    victim = Victim(record, lambda: None)

    async def ask() -> None:
        client = Rest(there, token)
        while victim.going:
            sent = now()
            status, _ = await client.ask("POST", f"/api/v1/topics/{SAID}", {"data": 1})
            if status == 202:
                victim.obeyed(sent)
                record.closed = None
            elif status == 401 and record.closed is None:
                record.closed = now()
            await deferLater(reactor, PACE)  # type: ignore[arg-type]

    victim.begin(ask())
    return victim


OPEN: dict[str, Open] = {
    "websocket": websocket,
    "tcp": tcp,
    "graphql-socket": graphql_socket,
    "rest-stream": rest_stream,
    "graphql-stream": graphql_stream,
    "rest": rest,
}
