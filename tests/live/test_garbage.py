"""What a connection leaves behind when it ends: nothing that only the garbage collector would find.

What refers to itself in a circle stays until a collection finds it, and the server waits meanwhile: 150 ms and more,
after some thousand connections.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from itertools import count
from threading import Thread
from typing import Callable, TypeVar

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from zope.interface.declarations import ProvidesClass

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace
from tests import canary

from .clients import Rest
from .running import LiveCase
from .visitors import (
    AUTH,
    MESSAGE,
    PING,
    SUBPROTOCOL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Place,
    Visitor,
    websocket_frame,
)

CONNECTIONS = 50  # of each kind
OPERATIONS = 200  # of each kind, on a connection that stays
FIRST = 2  # connections of each kind, which may leave what is made once
T = TypeVar("T")
Visit = Callable[[Place], None]
ROOM = "/api/v1/topics/room.1"
COMPRESSION = {"Sec_WebSocket_Extensions": "permessage-deflate; client_no_context_takeover"}
LONG = "x" * 2_000
NOBODY = "01a22db6-64d9-7000-b822-0ec1c31e81c5"


class GarbageCase(LiveCase):
    stays = False  # whether connections are left open

    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), namespaces=(Namespace("kept.**"),))

    async def asyncSetUp(self) -> None:
        address, email = self.address, "ann@example.org"
        fields = {"email": email, "name": "ann", "password": canary.PASSWORD}
        await Rest(address).ask("POST", "/api/v1/auth/register", fields)
        status, answer = await Rest(address).ask("POST", "/api/v1/auth/login", fields)
        self.assertEqual(status, 200, answer)
        token = answer["data"]["token"]
        _, before = await Rest(address, token).ask("POST", "/api/v1/topics/kept.1", {"data": 0})
        for number in range(3):
            status, kept = await Rest(address, token).ask("POST", "/api/v1/topics/kept.1", {"data": number})
            self.assertEqual(status, 202, kept)
        self.place = Place(
            address.http,
            address.tcp,
            address.metrics,
            None,
            token,
            email,
            canary.PASSWORD,
            before["data"]["cursor"],
        )

    async def assert_no_garbage(self, *visits: Visit, times: int = CONNECTIONS) -> None:
        """Each of `visits` happens so often."""
        found: dict[str, dict[str, int]] = {}
        for visit in visits:
            await self.happen(visit, FIRST)
            # What a class provides is made anew when a collection has found it, and then it is used by all.
            provided = [each for each in gc.get_objects() if isinstance(each, ProvidesClass)]
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await self.happen(visit, times)
                gc.collect()
                garbage = Counter(type(each).__qualname__ for each in gc.garbage)
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
            del provided
            if garbage:
                found[visit.__name__] = dict(garbage.most_common())
        self.assertEqual(found, {}, json.dumps(found, indent=1))

    async def happen(self, visit: Visit, times: int) -> None:
        def visits() -> None:
            for _ in range(times):
                visit(self.place)

        await in_thread(visits)
        while not self.stays and any(isinstance(each, Server) for each in reactor.getReaders()):  # type: ignore[attr-defined]
            await deferLater(reactor, 0.005)
        await deferLater(reactor, 0.005)

    async def open_sessions(self) -> None:
        """For one kind that ends them: Twisted's pool of threads leaves four objects for each password that it hashed."""
        await in_thread(lambda: self.place.open_sessions(FIRST + CONNECTIONS))


def in_thread(work: Callable[[], T]) -> Deferred[T]:
    """As `deferToThread`, but without garbage."""
    done: Deferred[T] = Deferred()

    def run() -> None:
        try:
            result = work()
        except Exception:
            reactor.callFromThread(done.errback, Failure())  # type: ignore[attr-defined]
        else:
            reactor.callFromThread(done.callback, result)  # type: ignore[attr-defined]

    Thread(target=run, daemon=True).start()
    return done


def open_websocket(place: Place, token: str = "", **headers: str) -> Visitor:
    """Authenticated, and subscribed to a live and to a logged pattern."""
    visitor = place.connect(place.http)
    visitor.upgrade("/ws", **headers)
    visitor.say(type="auth", token=token or place.token)
    visitor.say(type="subscribe", topic="room.*", id=1)
    visitor.say(type="subscribe", topic="kept.*", after=place.cursor, id=2)
    visitor.read_until(b"auth_success", b"caught_up")
    return visitor


def open_device(place: Place, token: str = "") -> Visitor:
    visitor = place.connect(place.tcp)
    visitor.tell(AUTH, token=token or place.token)
    visitor.tell(SUBSCRIBE, topic="room.*", id=1)
    visitor.tell(SUBSCRIBE, topic="kept.*", after=place.cursor, id=2)
    visitor.read_until(b"\x02{", b"\x14{")
    return visitor


def open_graphql(place: Place, token: str = "") -> Visitor:
    visitor = place.connect(place.http)
    visitor.upgrade("/graphql", Sec_WebSocket_Protocol=SUBPROTOCOL)
    visitor.say(type="connection_init", payload={"authorization": f"Bearer {token or place.token}"})
    visitor.read_until(b"connection_ack")
    return visitor


def run(visitor: Visitor, id: str, query: str) -> None:
    visitor.say(type="subscribe", id=id, payload={"query": query})


FOLLOW = 'subscription { topic(pattern: "kept.*", after: "%s") { topic data } }'
LISTEN = 'subscription { topic(pattern: "room.*") { topic data } }'
PUBLISH = 'mutation { publish(topic: "room.1", data: 1) { topic } }'
QUERY = "{ me { id messages { edges { node { id } } } } users { edges { node { id name } } } }"


class OperationTests(GarbageCase):
    """What each of many operations leaves behind, on a connection that stays.

    Not asked for is a path that was never matched before: for each, werkzeug leaves a function that refers to itself.
    """

    stays = True

    async def assert_no_garbage_of(self, *operations: Callable[[], object]) -> None:
        def as_visit(operation: Callable[[], object]) -> Visit:
            def visit(place: Place) -> None:
                operation()

            visit.__name__ = operation.__name__
            return visit

        await self.assert_no_garbage(*map(as_visit, operations), times=OPERATIONS)

    async def test_http(self) -> None:
        token = self.place.token
        visitor = self.place.connect(self.place.http)
        self.addCleanup(visitor.close)

        def read() -> None:
            visitor.ask(200, "GET", "/api/v1/auth/me", token=token)
            visitor.ask(200, "GET", "/api/v1/messages?limit=2", token=token)
            visitor.ask(200, "GET", "/health")

        def publish() -> None:
            visitor.ask(202, "POST", ROOM, {"data": 1}, token=token)
            visitor.ask(202, "POST", "/api/v1/topics/kept.1", {"data": 1}, token=token)

        def send() -> None:
            visitor.ask(201, "POST", "/api/v1/messages", {"content": "hi", "channelId": "c"}, token=token)

        def repeat() -> None:
            options = {"token": token, "Idempotency_Key": "same"}
            visitor.ask(201, "POST", "/api/v1/messages", {"content": "hi", "channelId": "c"}, **options)
            visitor.ask(409, "POST", "/api/v1/messages", {"content": "ho", "channelId": "c"}, **options)

        def refused() -> None:
            visitor.ask(400, "POST", "/api/v1/messages", {"content": ""}, token=token)
            visitor.ask(400, "GET", "/api/v1/messages?limit=-1", token=token)
            visitor.ask(401, "GET", "/api/v1/auth/me")
            visitor.ask(401, "GET", "/api/v1/auth/me", token="nonsense")
            visitor.ask(403, "POST", "/api/v1/topics/users.x", {"data": 1}, token=token)
            visitor.ask(404, "GET", f"/api/v1/messages/{NOBODY}", token=token)
            visitor.ask(404, "DELETE", f"/api/v1/messages/{NOBODY}", token=token)

        await self.assert_no_garbage_of(read, publish, send, repeat, refused)

    async def test_websocket(self) -> None:
        visitor = await in_thread(lambda: open_websocket(self.place))
        self.addCleanup(visitor.close)

        def ping() -> None:
            visitor.say(type="ping")
            visitor.read_until(b'"pong"')

        def publish() -> None:
            """Each is delivered to it as well."""
            visitor.say(type="message", topic="room.1", data=1, id="live")
            visitor.say(type="message", topic="kept.1", data=1, id="log")
            visitor.read_until(b'"id":"live"', b'"id":"log"')

        def repeat() -> None:
            visitor.say(type="message", topic="kept.1", data=1, key="same", id="first")
            visitor.say(type="message", topic="kept.1", data=2, key="same", id="second")
            visitor.read_until(b'"id":"first"', b'"id":"second"')

        def subscribe() -> None:
            visitor.say(type="subscribe", topic="other.*", id="other")
            visitor.say(type="unsubscribe", topic="other.*", id="no more")
            visitor.read_until(b'"id":"no more"')

        def resume() -> None:
            visitor.say(type="subscribe", topic="kept.2", after=self.place.cursor)
            visitor.say(type="unsubscribe", topic="kept.2", id="no more")
            visitor.read_until(b'"id":"no more"')

        def authenticate() -> None:
            visitor.say(type="auth", token=self.place.token, id="again")
            visitor.say(type="auth", token="nonsense", id="nonsense")
            visitor.read_until(b'"id":"again"', b'"id":"nonsense"')

        def refused() -> None:
            visitor.send(websocket_frame(0x81, b"nonsense"))
            visitor.say(type="nonsense")
            visitor.say(type="subscribe", topic="a..b")
            visitor.say(type="subscribe", topic="messages.user.other")
            visitor.say(type="message", topic="users.x", data=1)
            visitor.say(type="message", topic="room.1", id="last")
            visitor.read_until(b'"id":"last"')

        await self.assert_no_garbage_of(ping, publish, repeat, subscribe, resume, authenticate, refused)

    async def test_tcp(self) -> None:
        visitor = await in_thread(lambda: open_device(self.place))
        self.addCleanup(visitor.close)

        def ping() -> None:
            visitor.tell(PING)
            visitor.read_until(b"\x31{")

        def publish() -> None:
            visitor.tell(MESSAGE, topic="room.1", content=1, id="live")
            visitor.tell(MESSAGE, topic="kept.1", content=1, id="log")
            visitor.read_until(b'"id":"live"', b'"id":"log"')

        def resume() -> None:
            visitor.tell(SUBSCRIBE, topic="kept.2", after=self.place.cursor)
            visitor.tell(UNSUBSCRIBE, topic="kept.2", id="no more")
            visitor.read_until(b'"id":"no more"')

        def refused() -> None:
            visitor.send(b"\0\0\0\x05nonse")
            visitor.tell(AUTH, token="nonsense")
            visitor.tell(SUBSCRIBE, topic="room.*")
            visitor.tell(MESSAGE, topic="users.x", content=1)
            visitor.tell(UNSUBSCRIBE, topic="nothing", id="last")
            visitor.read_until(b'"id":"last"')

        await self.assert_no_garbage_of(ping, publish, resume, refused)

    async def test_graphql_over_http(self) -> None:
        visitor = self.place.connect(self.place.http)
        self.addCleanup(visitor.close)
        numbers = count()

        def ask(query: str) -> None:
            visitor.ask(200, "POST", "/graphql", {"query": query}, token=self.place.token)

        def read() -> None:
            ask(QUERY)
            ask("{ health { status } }")

        def read_anew() -> None:
            """A document that was never seen before."""
            ask(f"query Q{next(numbers)}($a: Int) {{ users(limit: $a) {{ edges {{ node {{ id }} }} }} }}")

        def write() -> None:
            ask(PUBLISH)
            ask('mutation { sendMessage(input: {content: "hi", channelId: "c"}) { id user { name } } }')

        def refused() -> None:
            ask("{")
            ask("{ nothing }")
            ask(f'{{ user(id: "{NOBODY}") {{ id }} }}')
            ask('mutation { publish(topic: "users.x") { topic } }')
            visitor.ask(200, "POST", "/graphql", {"query": "{ me { id } }"})
            visitor.ask(400, "POST", "/graphql", {"nothing": 1})

        await self.assert_no_garbage_of(read, read_anew, write, refused)

    async def test_graphql_over_a_socket(self) -> None:
        visitor = await in_thread(lambda: open_graphql(self.place))
        self.addCleanup(visitor.close)
        run(visitor, "stays", LISTEN)

        def read() -> None:
            run(visitor, "read", QUERY)
            visitor.read_until(b'{"id":"read","type":"complete"}')

        def publish() -> None:
            """Each is delivered to it as well."""
            run(visitor, "write", PUBLISH)
            visitor.read_until(b'{"id":"write","type":"complete"}', b'{"id":"stays","type":"next"')

        def subscribe() -> None:
            run(visitor, "short", 'subscription { topic(pattern: "other.*") { topic } }')
            run(
                visitor,
                "resumed",
                'subscription { topic(pattern: "kept.2", after: "%s") { topic } }' % self.place.cursor,
            )
            run(visitor, "read", "{ me { id } }")
            visitor.read_until(b'{"id":"read","type":"complete"}')
            visitor.say(type="complete", id="short")
            visitor.say(type="complete", id="resumed")

        def refused() -> None:
            for query in ("{", "{ nothing }", 'subscription { topic(pattern: "a..b") { topic } }'):
                run(visitor, "refused", query)
                visitor.read_until(b'"id":"refused","type":"error"')
            run(visitor, "refused", f'{{ user(id: "{NOBODY}") {{ id }} }}')
            visitor.read_until(b'{"id":"refused","type":"complete"}')

        await self.assert_no_garbage_of(read, publish, subscribe, refused)

    async def test_event_streams(self) -> None:
        visitor, other = self.place.connect(self.place.http), self.place.connect(self.place.http)
        self.addCleanup(visitor.close)
        self.addCleanup(other.close)
        visitor.request("GET", "/api/v1/topics/room.*/events", token=self.place.token)
        graphql = self.place.connect(self.place.http)
        self.addCleanup(graphql.close)
        body = {"query": LISTEN}
        graphql.request("POST", "/graphql", body, token=self.place.token, Accept="text/event-stream")

        await in_thread(lambda: visitor.read_until(b"event: subscribed"))
        await in_thread(lambda: graphql.read_until(b"text/event-stream"))

        def deliver() -> None:
            other.ask(202, "POST", ROOM, {"data": 1}, token=self.place.token)
            visitor.read_until(b"event: message")
            graphql.read_until(b"event: next")

        await self.assert_no_garbage_of(deliver)
