"""What a connection leaves behind when it ends: nothing that only the garbage collector would find.

What refers to itself in a circle stays until a collection finds it, and the server waits meanwhile: 150 ms and more,
after some thousand connections.
"""

from __future__ import annotations

import gc
import json
import ssl
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
from multiproto.core.ratelimit.token_bucket import Rate
from tests import canary

from .clients import Rest
from .running import LiveCase
from .test_tls import TlsCase
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
STRAY = 9  # objects of what happens now and then meanwhile, not with each connection or operation
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
            if garbage.total() > STRAY:
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


class HttpTests(GarbageCase):
    async def test_answers(self) -> None:
        def several_requests(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(200, "GET", "/health")
            visitor.ask(200, "GET", "/api/v1/auth/me", token=place.token)
            visitor.ask(202, "POST", ROOM, {"data": 1}, token=place.token)
            visitor.ask(200, "GET", "/api/v1/messages?limit=2", token=place.token)
            visitor.ask(204, "OPTIONS", ROOM, Origin="http://localhost", Access_Control_Request_Method="POST")
            visitor.ask(200, "GET", "/api/v1/auth/me", token=place.token)
            visitor.close()

        def connection_close(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(200, "GET", "/api/v1/auth/me", token=place.token, Connection="close")
            visitor.read_to_end()
            visitor.close()

        def half_closed(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.request("GET", "/health")
            visitor.half_close()
            visitor.read_to_end()
            visitor.close()

        def pipelined(place: Place) -> None:
            visitor = place.connect(place.http)
            for _ in range(3):
                visitor.request("GET", "/api/v1/auth/me", token=place.token)
            for _ in range(3):
                visitor.read_response(200)
            visitor.reset()

        def a_page(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(200, "GET", "/graphql", Accept="text/html")
            visitor.close()

        await self.assert_no_garbage(several_requests, connection_close, half_closed, pipelined, a_page)

    async def test_aborts(self) -> None:
        def silent(place: Place) -> None:
            place.connect(place.http).close()

        def within_a_head(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(200, "GET", "/health/live")
            visitor.send(b"GET / HTTP/1.1\r\nHo")
            visitor.close()

        def within_a_body(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.send(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{" % ROOM.encode())
            visitor.reset()

        def within_a_chunked_body(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.send(b"POST %s HTTP/1.1\r\nHost: a\r\n" % ROOM.encode())
            visitor.send(b"Transfer-Encoding: chunked\r\n\r\n5\r\n{")
            visitor.close()

        def within_a_response(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.request("POST", "/api/v1/topics/kept.1", {"data": 1}, token=place.token)
            visitor.request("GET", "/health")
            visitor.reset()

        await self.assert_no_garbage(
            silent, within_a_head, within_a_body, within_a_chunked_body, within_a_response
        )

    async def test_refusals(self) -> None:
        def no_http(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.send(b"nonsense\r\n\r\n")
            visitor.read_response(400)
            visitor.close()

        def tls_on_a_plain_port(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
            visitor.read_to_end()
            visitor.close()

        def bad_values(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(400, "POST", "/api/v1/auth/login", {"email": 1})
            visitor.ask(400, "POST", "/api/v1/messages", {"content": ""}, token=place.token)
            visitor.ask(400, "GET", "/api/v1/messages?limit=-1", token=place.token)
            visitor.close()

        def unauthorized(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(401, "GET", "/api/v1/auth/me")
            visitor.ask(401, "GET", "/api/v1/auth/me", token="nonsense")
            visitor.close()

        def not_found(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(404, "GET", f"/api/v1/messages/{NOBODY}", token=place.token)
            visitor.ask(400, "GET", "/api/v1/messages/nothing", token=place.token)
            visitor.close()

        def too_large(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.send(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" % ROOM.encode())
            visitor.read_response(413)
            visitor.close()

        def long_head(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.send(b"GET / HTTP/1.1\r\nHost: a\r\nLong: %s\r\n\r\n" % (b"x" * 40_000))
            visitor.read_response(431)
            visitor.close()

        await self.assert_no_garbage(
            no_http, tls_on_a_plain_port, bad_values, unauthorized, not_found, too_large, long_head
        )

    async def test_event_streams(self) -> None:
        await self.open_sessions()

        def open_stream(place: Place, token: str = "", query: str = "") -> Visitor:
            visitor = place.connect(place.http)
            visitor.request("GET", f"/api/v1/topics/kept.*/events{query}", token=token or place.token)
            visitor.read_until(b"event: subscribed")
            return visitor

        def ended_by_the_client(place: Place) -> None:
            visitor = open_stream(place)
            other = place.connect(place.http)
            other.ask(202, "POST", "/api/v1/topics/kept.1", {"data": 1}, token=place.token)
            visitor.read_until(b"event: message")
            other.close()
            visitor.close()

        def reset_by_the_client(place: Place) -> None:
            open_stream(place).reset()

        def resumed(place: Place) -> None:
            visitor = open_stream(place, query=f"?after={place.cursor}")
            visitor.read_until(b"event: caught_up")
            visitor.close()

        def ended_by_the_server(place: Place) -> None:
            token = place.session()
            visitor, other = open_stream(place, token), place.connect(place.http)
            other.ask(204, "POST", "/api/v1/auth/logout", token=token)
            visitor.read_until(b"event: farewell", b"0\r\n\r\n")
            visitor.close()
            other.close()

        def refused(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(401, "GET", "/api/v1/topics/room.1/events")
            visitor.ask(403, "GET", "/api/v1/topics/messages.user.other/events", token=place.token)
            visitor.ask(400, "GET", "/api/v1/topics/a..b/events", token=place.token)
            visitor.close()

        await self.assert_no_garbage(
            ended_by_the_client, reset_by_the_client, resumed, ended_by_the_server, refused
        )

    async def test_the_metrics_port(self) -> None:
        def metrics(place: Place) -> None:
            visitor = place.connect(place.metrics)
            visitor.ask(200, "GET", "/health")
            visitor.ask(404, "GET", "/nothing")
            visitor.close()

        def scraped(place: Place) -> None:
            visitor = place.connect(place.metrics)
            visitor.request("GET", "/metrics", Connection="close")
            visitor.read_to_end()
            visitor.close()

        def aborted(place: Place) -> None:
            visitor = place.connect(place.metrics)
            visitor.send(b"GET /metr")
            visitor.reset()

        def nonsense(place: Place) -> None:
            visitor = place.connect(place.metrics)
            visitor.send(b"nonsense\r\n\r\n")
            visitor.read_to_end()
            visitor.close()

        await self.assert_no_garbage(metrics, scraped, aborted, nonsense)


def open_websocket(place: Place, token: str = "", **headers: str) -> Visitor:
    """Authenticated, and subscribed to a live and to a logged pattern."""
    visitor = place.connect(place.http)
    visitor.upgrade("/ws", **headers)
    visitor.say(type="auth", token=token or place.token)
    visitor.say(type="subscribe", topic="room.*", id=1)
    visitor.say(type="subscribe", topic="kept.*", after=place.cursor, id=2)
    visitor.read_until(b"auth_success", b"caught_up")
    return visitor


class WebSocketTests(GarbageCase):
    async def test_handshakes(self) -> None:
        def refused(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.upgrade("/ws", 403, Origin="http://elsewhere.example")
            visitor.close()
            visitor = place.connect(place.http)
            visitor.upgrade("/ws", 426, Sec_WebSocket_Version="12")
            visitor.close()

        def silent(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.upgrade("/ws")
            visitor.close()

        def by_header(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.upgrade("/ws", Authorization=f"Bearer {place.token}")
            visitor.read_until(b"auth_success")
            visitor.say_goodbye()

        def unauthorized(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.upgrade("/ws")
            visitor.say(type="auth", token="nonsense")
            visitor.say(type="subscribe", topic="room.1")
            visitor.read_until(b"auth_error", b"UNAUTHORIZED")
            visitor.close()

        await self.assert_no_garbage(refused, silent, by_header, unauthorized)

    async def test_ends(self) -> None:
        await self.open_sessions()

        def closed_by_handshake(place: Place) -> None:
            visitor = open_websocket(place)
            visitor.say(type="message", topic="room.1", data=1, id=3)
            visitor.say(type="message", topic="kept.1", data=1, id=4)
            visitor.read_until(b'"id":3', b'"id":4', b'"topic":"room.1"')
            visitor.say_goodbye()

        def closed_without(place: Place) -> None:
            open_websocket(place).close()

        def reset(place: Place) -> None:
            open_websocket(place).reset()

        def reset_while_publishing(place: Place) -> None:
            visitor = open_websocket(place)
            for _ in range(3):
                visitor.say(type="message", topic="kept.1", data=1, id=3)
            visitor.reset()

        def half_closed(place: Place) -> None:
            visitor = open_websocket(place)
            visitor.half_close()
            visitor.read_to_end()
            visitor.close()

        def compressed(place: Place) -> None:
            visitor = open_websocket(place, **COMPRESSION)
            visitor.say_compressed(type="message", topic="room.1", data=LONG, id=3)
            visitor.say_compressed(type="message", topic="room.1", data=LONG, id=4)
            visitor.read_until(b'"id":4')
            visitor.say_goodbye()

        def other_frames(place: Place) -> None:
            visitor = open_websocket(place)
            visitor.send(websocket_frame(0x89, b"ping") + websocket_frame(0x8A, b"pong"))
            visitor.send(websocket_frame(0x01, b'{"type":') + websocket_frame(0x80, b'"ping"}'))
            visitor.say(type="message", topic="room.1", data=LONG, id=3)
            visitor.say(type="message", topic="room.1", data="\N{SNOWMAN}", id=4)
            visitor.read_until(b"pong", b'"id":4')
            visitor.send(websocket_frame(0x01, b'{"type":'))
            visitor.send(websocket_frame(0x81, LONG.encode())[:100])
            visitor.close()

        def logged_out(place: Place) -> None:
            token = place.session()
            visitor, other = open_websocket(place, token), place.connect(place.http)
            other.ask(204, "POST", "/api/v1/auth/logout", token=token)
            visitor.read_until(b"\x88")
            visitor.say_goodbye()
            other.close()

        await self.assert_no_garbage(
            closed_by_handshake, closed_without, reset, reset_while_publishing, half_closed, compressed
        )
        await self.assert_no_garbage(other_frames, logged_out)

    async def test_protocol_errors(self) -> None:
        def fail(place: Place, data: bytes) -> None:
            visitor = open_websocket(place)
            visitor.send(data)
            visitor.read_to_end()
            visitor.close()

        def no_utf8(place: Place) -> None:
            fail(place, websocket_frame(0x81, b"\xff\xfe"))

        def unmasked(place: Place) -> None:
            fail(place, b"\x81\x02{}")

        def bad_close(place: Place) -> None:
            fail(place, websocket_frame(0x88, b"\x00"))

        def too_long(place: Place) -> None:
            fail(place, b"\x81\xff" + (2**30).to_bytes(8, "big") + bytes(4))

        def nonsense(place: Place) -> None:
            visitor = open_websocket(place)
            visitor.say(type="nonsense", id=5)
            visitor.send(websocket_frame(0x81, b"nonsense"))
            visitor.say(type="subscribe", topic="a..b", id=6)
            visitor.read_until(b'"id":6')
            visitor.close()

        await self.assert_no_garbage(no_utf8, unmasked, bad_close, too_long, nonsense)


def open_device(place: Place, token: str = "") -> Visitor:
    visitor = place.connect(place.tcp)
    visitor.tell(AUTH, token=token or place.token)
    visitor.tell(SUBSCRIBE, topic="room.*", id=1)
    visitor.tell(SUBSCRIBE, topic="kept.*", after=place.cursor, id=2)
    visitor.read_until(b"\x02{", b"\x14{")
    return visitor


class TcpTests(GarbageCase):
    async def test_ends(self) -> None:
        await self.open_sessions()

        def closed(place: Place) -> None:
            visitor = open_device(place)
            visitor.tell(MESSAGE, topic="room.1", content=1, id=3)
            visitor.tell(MESSAGE, topic="kept.1", content=1, id=4)
            visitor.read_until(b'"id":3', b'"id":4', b'"topic":"room.1"')
            visitor.tell(UNSUBSCRIBE, topic="room.*", id=5)
            visitor.read_until(b'"id":5')
            visitor.close()

        def silent(place: Place) -> None:
            place.connect(place.tcp).close()

        def half_closed(place: Place) -> None:
            visitor = open_device(place)
            visitor.tell(MESSAGE, topic="kept.1", content=1, id=3)
            visitor.half_close()
            visitor.read_to_end()
            visitor.close()

        def reset(place: Place) -> None:
            open_device(place).reset()

        def reset_while_publishing(place: Place) -> None:
            visitor = open_device(place)
            for _ in range(3):
                visitor.tell(MESSAGE, topic="kept.1", content=1, id=3)
            visitor.reset()

        def within_a_frame(place: Place) -> None:
            visitor = open_device(place)
            visitor.send(b"\0\0\0\x10\x20{")
            visitor.close()

        def logged_out(place: Place) -> None:
            token = place.session()
            visitor, other = open_device(place, token), place.connect(place.http)
            other.ask(204, "POST", "/api/v1/auth/logout", token=token)
            visitor.read_until(b"\xff{")
            visitor.read_to_end()
            visitor.close()
            other.close()

        await self.assert_no_garbage(
            closed, silent, half_closed, reset, reset_while_publishing, within_a_frame, logged_out
        )

    async def test_refusals(self) -> None:
        def unauthorized(place: Place) -> None:
            visitor = place.connect(place.tcp)
            visitor.tell(AUTH, token="nonsense")
            visitor.tell(SUBSCRIBE, topic="room.*")
            visitor.read_until(b"\x03{", b"\xff{")
            visitor.close()

        def nonsense(place: Place) -> None:
            visitor = open_device(place)
            visitor.send(b"\0\0\0\x05nonse")
            visitor.tell(SUBSCRIBE, topic="a..b", id=3)
            visitor.tell(PING, payload=1)
            visitor.read_until(b'"id":3', b"\x31{")
            visitor.close()

        def too_long(place: Place) -> None:
            visitor = open_device(place)
            visitor.send(b"GET / HTTP/1.1\r\n\r\n")
            visitor.read_to_end()
            visitor.close()

        await self.assert_no_garbage(unauthorized, nonsense, too_long)


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


class GraphQLTests(GarbageCase):
    async def test_sockets(self) -> None:
        await self.open_sessions()

        def queries(place: Place) -> None:
            visitor = open_graphql(place)
            for id, query in (
                ("1", QUERY),
                ("2", "{ nothing }"),
                ("3", "{"),
                ("4", '{ user(id: "x") { id } }'),
            ):
                run(visitor, id, query)
                visitor.read_until(b'"id":"%s"' % id.encode())
            run(visitor, "5", PUBLISH)
            visitor.read_until(b'"complete"')
            visitor.say_goodbye()

        def completed(place: Place) -> None:
            visitor = open_graphql(place)
            run(visitor, "1", FOLLOW % place.cursor)
            run(visitor, "2", LISTEN)
            visitor.read_until(b"kept.1")
            run(visitor, "3", PUBLISH)
            visitor.read_until(b"room.1", b'"id":"2"')
            visitor.say(type="complete", id="1")
            visitor.say(type="complete", id="2")
            visitor.say(type="ping")
            visitor.read_until(b"pong")
            visitor.say_goodbye()

        def not_completed(place: Place) -> None:
            visitor = open_graphql(place)
            run(visitor, "1", FOLLOW % place.cursor)
            visitor.read_until(b"kept.1")
            run(visitor, "2", LISTEN)
            visitor.say_goodbye()

        def closed_without(place: Place) -> None:
            visitor = open_graphql(place)
            run(visitor, "1", LISTEN)
            visitor.say(type="ping")
            visitor.read_until(b"pong")
            visitor.close()

        def reset(place: Place) -> None:
            visitor = open_graphql(place)
            run(visitor, "1", LISTEN)
            run(visitor, "2", QUERY)
            visitor.reset()

        def logged_out(place: Place) -> None:
            token = place.session()
            visitor, other = open_graphql(place, token), place.connect(place.http)
            run(visitor, "1", LISTEN)
            visitor.say(type="ping")
            visitor.read_until(b"pong")
            other.ask(204, "POST", "/api/v1/auth/logout", token=token)
            visitor.read_until(b"\x88")
            visitor.say_goodbye()
            other.close()

        def logs_itself_out(place: Place) -> None:
            visitor = open_graphql(place, place.session())
            run(visitor, "1", LISTEN)
            run(visitor, "2", "mutation { logout }")
            visitor.read_until(b"\x88")
            visitor.say_goodbye()

        def unauthorized(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.upgrade("/graphql", Sec_WebSocket_Protocol=SUBPROTOCOL)
            visitor.say(type="connection_init", payload={"authorization": "Bearer nonsense"})
            visitor.read_until(b"\x88")
            visitor.say_goodbye()

        def anonymous(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.upgrade("/graphql", Sec_WebSocket_Protocol=SUBPROTOCOL)
            visitor.say(type="connection_init")
            run(visitor, "1", LISTEN)
            run(visitor, "2", "{ me { id } }")
            visitor.read_until(b'"id":"1"', b'"id":"2"')
            visitor.close()

        def nonsense(place: Place) -> None:
            visitor = open_graphql(place)
            visitor.say(type="nonsense")
            visitor.read_until(b"\x88")
            visitor.say_goodbye()

        def no_subprotocol(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.upgrade("/graphql")
            visitor.read_until(b"\x88")
            visitor.say_goodbye()

        await self.assert_no_garbage(queries, completed, not_completed, closed_without, reset, logged_out)
        await self.open_sessions()
        await self.assert_no_garbage(logs_itself_out, unauthorized, anonymous, nonsense, no_subprotocol)

    async def test_http(self) -> None:
        await self.open_sessions()

        def ask(visitor: Visitor, status: int, query: str, **options: str) -> None:
            visitor.ask(status, "POST", "/graphql", {"query": query}, **options)

        def queries(place: Place) -> None:
            visitor = place.connect(place.http)
            for query in (
                QUERY,
                PUBLISH,
                "{",
                "{ nothing }",
                "{ health { status } }",
                '{ user(id: "x") { id } }',
            ):
                ask(visitor, 200, query, token=place.token)
            ask(visitor, 200, "{ me { id } }")
            visitor.ask(400, "POST", "/graphql", {"nothing": 1})
            visitor.close()

        def reset(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.request("POST", "/graphql", {"query": QUERY}, token=place.token)
            visitor.reset()

        def follow(place: Place, token: str = "") -> Visitor:
            visitor = place.connect(place.http)
            body = {"query": FOLLOW % place.cursor}
            visitor.request("POST", "/graphql", body, token=token or place.token, Accept="text/event-stream")
            visitor.read_until(b"kept.1")
            return visitor

        def stream_closed(place: Place) -> None:
            follow(place).close()

        def stream_reset(place: Place) -> None:
            follow(place).reset()

        def stream_ended(place: Place) -> None:
            token = place.session()
            visitor, other = follow(place, token), place.connect(place.http)
            other.ask(204, "POST", "/api/v1/auth/logout", token=token)
            visitor.read_until(b"complete")
            visitor.close()
            other.close()

        def stream_refused(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.request("POST", "/graphql", {"query": LISTEN}, Accept="text/event-stream")
            visitor.read_until(b"complete")
            visitor.close()

        await self.assert_no_garbage(
            queries, reset, stream_closed, stream_reset, stream_ended, stream_refused
        )


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


class LimitTests(GarbageCase):
    """Of whoever is one too many, or too slow."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(
            config,
            auth=evolve(config.auth, auth_timeout=0.05),
            rate_limits=evolve(config.rate_limits, max_requests=0, connect_rate=self.connect_rate),
            tcp=evolve(config.tcp, max_connections=self.most_devices),
        )

    connect_rate: Rate | None = None
    most_devices: int | None = None

    async def test_time(self) -> None:
        def late_websocket(place: Place) -> None:
            visitors = [place.connect(place.http) for _ in range(CONNECTIONS)]
            for visitor in visitors:
                visitor.upgrade("/ws")
            for visitor in visitors:
                visitor.read_until(b"\x88")
                visitor.say_goodbye()

        def late_graphql(place: Place) -> None:
            visitors = [place.connect(place.http) for _ in range(CONNECTIONS)]
            for visitor in visitors:
                visitor.upgrade("/graphql", Sec_WebSocket_Protocol=SUBPROTOCOL)
            for visitor in visitors:
                visitor.read_until(b"\x88")
                visitor.say_goodbye()

        def late_device(place: Place) -> None:
            visitors = [place.connect(place.tcp) for _ in range(CONNECTIONS)]
            for visitor in visitors:
                visitor.read_to_end()
                visitor.close()

        await self.assert_no_garbage(late_websocket, late_graphql, late_device, times=1)

    async def test_requests(self) -> None:
        def one_too_many(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(429, "GET", "/api/v1/auth/me")
            visitor.ask(429, "POST", "/graphql", {"query": "{ health { status } }"})
            visitor.close()

        await self.assert_no_garbage(one_too_many)


class CapacityTests(LimitTests):
    connect_rate = Rate(0.001, 8)
    most_devices = 0

    async def test_time(self) -> None:
        """There is no connection to be late on."""

    async def test_requests(self) -> None:
        def http(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(429, "GET", "/")
            visitor.read_to_end()  # which one that sends too many requests on a connection would wait for in vain
            visitor.close()

        def device(place: Place) -> None:
            visitor = place.connect(place.tcp)
            visitor.read_to_end()
            visitor.close()

        def admitted(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(429, "GET", "/")
            visitor.close()

        for _ in range(8):
            await self.happen(admitted, 1)
        await self.assert_no_garbage(http, device)


class TlsTests(TlsCase, GarbageCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.place.trust = ssl.create_default_context(cafile=str(self.files.authority))

    async def test_tls(self) -> None:
        def http(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.ask(200, "GET", "/health")
            visitor.ask(200, "GET", "/api/v1/auth/me", token=place.token)
            visitor.close()

        def http_close(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.request("GET", "/health", Connection="close")
            visitor.read_to_end()
            visitor.close()

        def http_reset(place: Place) -> None:
            visitor = place.connect(place.http)
            visitor.request("GET", "/health")
            visitor.reset()

        def websocket(place: Place) -> None:
            open_websocket(place).say_goodbye()

        def websocket_reset(place: Place) -> None:
            open_websocket(place).reset()

        def device(place: Place) -> None:
            open_device(place).close()

        def device_ended(place: Place) -> None:
            visitor = open_device(place)
            visitor.send(b"GET / HTTP/1.1\r\n\r\n")
            visitor.read_to_end()
            visitor.close()

        def device_reset(place: Place) -> None:
            open_device(place).reset()

        def metrics(place: Place) -> None:
            visitor = place.connect(place.metrics)
            visitor.ask(200, "GET", "/health")
            visitor.close()

        def no_tls(place: Place) -> None:
            plain = Place(place.http, place.tcp, place.metrics)
            for port in (place.http, place.tcp, place.metrics):
                visitor = plain.connect(port)
                visitor.send(b"GET / HTTP/1.1\r\n\r\n")
                visitor.read_to_end()
                visitor.close()
                plain.connect(port).reset()

        await self.assert_no_garbage(http, http_close, http_reset, websocket, websocket_reset, device)
        await self.assert_no_garbage(device_ended, device_reset, metrics, no_tls)
