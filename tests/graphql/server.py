"""/graphql on a whole small core, in memory: real SQL, real HTTP bytes, and a clock that the test advances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence
from urllib.parse import urlencode

from attrs import Factory, define, evolve, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from multiproto.base import strict_json
from multiproto.base.uuid7 import Uuid7Generator
from multiproto.broker.memory import MemoryBroker
from multiproto.core.connections.admission import Admission, ConnectionLimits
from multiproto.core.connections.hub import Hub
from multiproto.core.domain.messages import Messages
from multiproto.core.errors import RateLimited
from multiproto.core.events import EventBuilder
from multiproto.core.idempotency import IdempotentSends
from multiproto.core.identity import Identity
from multiproto.core.model import Message, User
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import Namespaces
from multiproto.core.pubsub.policy import Policy
from multiproto.core.pubsub.publisher import Publisher
from multiproto.core.pubsub.replay import ReplayReader
from multiproto.core.transactions import Entry, Page, Query, Snapshot, Unit
from multiproto.graphql.wiring import GraphQLDependencies, make_graphql_resource
from multiproto.log.follower import Follower
from multiproto.observe.protocol_stats import ProtocolStats
from multiproto.storage.cursors import Term, Terms
from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.connection import connect
from multiproto.storage.sqlite.migrate import migrate
from multiproto.storage.sqlite.reader import SqliteReader
from multiproto.storage.sqlite.writer import SqliteWriter
from multiproto.storage.statements import load_statements, sql_directory
from tests.canary import PASSWORD

from ..fakes import FakeAuthenticator, PlainPasswords, begin_session, make_account_services, make_turns
from ..rfc6455.wire import Wire

DELETE_USER = f'deleteUser(currentPassword: "{PASSWORD}")'  # nobody here has a session that has just begun
START = 1_800_000_000.0  # seconds since the epoch


@define(eq=False)
class InlineStore:
    """The SQLite store without its threads: each answer comes in the clock's next turn."""

    _clock: Clock
    on_commit: Callable[[], object] = lambda: None
    reads: list[str] = Factory(list)  # names of the statements that read
    failures: dict[str, Exception] = Factory(dict)  # what statements that read fail with
    _reader: SqliteReader = field(init=False)
    _writer: SqliteWriter = field(init=False)

    def __attrs_post_init__(self) -> None:
        sql = sql_directory("sqlite")
        statements = load_statements(sql / "queries")
        connection = connect(Path(":memory:"), 0)
        migrate(connection, load_migrations(sql), statements, START)
        terms = Terms((Term("t", 1),))
        self._reader = SqliteReader(
            connection, statements, terms, lambda job, outcome: None, self._clock, 5.0
        )
        self._writer = SqliteWriter(connection, statements, terms, lambda jobs, batch: None)

    def read(self, *queries: Query) -> Deferred[Snapshot]:
        self.reads += [query.name for query in queries]
        failed = [self.failures[query.name] for query in queries if query.name in self.failures]
        return self._soon(failed[0] if failed else self._reader.snapshot(queries))

    def commit(self, unit: Unit) -> Deferred[str]:
        batch = self._writer.commit([unit])
        answer = self._soon(batch.outcomes[0])
        if batch.appended:
            self._clock.callLater(0, self.on_commit)
        return answer

    def head(self) -> Deferred[tuple[int, str]]:
        return self._soon((self._reader.head_position(), "t.0"))

    def read_after(self, position: int, limit: int) -> Deferred[tuple[Entry, ...]]:
        return self._soon(self._reader.read_after(position, limit))

    def read_page(self, lead: str, low: int, high: int) -> Deferred[Page]:
        return self._soon(self._reader.read_page(lead, low, high))

    def locate(self, cursor: str) -> Deferred[int | None]:
        return self._soon(self._reader.locate(cursor))

    def retention_floors(self) -> Deferred[dict[str, int]]:
        return self._soon(self._reader.retention_floors())

    def cursor_of(self, position: int) -> str:
        return f"t.{position}"

    def cursors_of(self, positions: Sequence[int]) -> list[str]:
        return list(map(self.cursor_of, positions))

    def _soon(self, outcome: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        give = answer.errback if isinstance(outcome, Exception) else answer.callback
        self._clock.callLater(0, lambda: answer.called or give(outcome))
        return answer


class PlainTokens:
    lifetime = "15m"

    def issue(self, user_id: str, email: str, session_id: str) -> str:
        return f"token-{user_id}"


class PlainRequest(Request):
    """A request of `twisted.web`, with what `/graphql` needs besides (`GraphQLHttpRequest`)."""

    request_id = "request-1"

    @property
    def body(self) -> bytes:
        self.content.seek(0)  # it is a file where it is large
        return bytes(self.content.read())

    @property
    def client_address(self) -> str:
        return str(self.getClientAddress().host)

    @property
    def turn_key(self) -> str:
        return self.client_address

    @property
    def is_disconnected(self) -> bool:
        return bool(self._disconnected)

    _is_counted = False

    async def count(self, user_id: str | None = None) -> None:
        if not self._is_counted:
            self._is_counted = True
            await self.site.count(user_id)

    def limit_unsent(self, limited: bool) -> None:
        """Nothing is sent."""

    async def wait_for_turn(self, kind: str, first: bool) -> bool:
        await self.site.turns.wait(self.turn_key, kind, first)
        return not self._disconnected

    @property
    def wants_websocket_upgrade(self) -> bool:
        return self.first_header(b"upgrade") == b"websocket"

    def decoded_body(self) -> bytes:
        return self.body

    def joined_header(self, name: bytes) -> bytes | None:
        found = self.requestHeaders.getRawHeaders(name)
        return None if found is None else b", ".join(found)

    def first_header(self, name: bytes) -> bytes | None:
        found: bytes | None = self.requestHeaders.getRawHeaders(name, [None])[0]
        return found

    def abort(self) -> None:
        self.transport.abortConnection()

    def send_whole(
        self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]], content_type: bytes
    ) -> None:
        if not self._disconnected:
            self.setResponseCode(status)
            length = (b"Content-Length", b"%d" % len(body))
            for name, value in ((b"Content-Type", content_type), length, *headers):
                self.setHeader(name, value)
            self.write(body)
            self.finish()

    def send_and_close(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        channel = self.channel
        self.send_whole(status, body, headers, b"application/json")
        channel.loseConnection()


@frozen
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        """Of an event stream: (event, data) pairs, comments as text."""
        return read_events(self.text)


def read_events(text: str) -> list[Any]:
    found: list[Any] = []
    for block in text.split("\n\n")[:-1]:
        if block.startswith(":"):
            found.append(block)
        else:
            event, data = block.split("\n")
            assert event.startswith("event: ") and data.startswith("data: "), block
            found.append((event[7:], json.loads(data[6:]) if data[6:] else None))
    return found


@define(eq=False)
class Exchanged:
    """One HTTP connection and what came over it."""

    wire: Wire
    protocol: Any
    gone: bool = False

    @property
    def answer(self) -> Answer:
        head, _, body = self.wire.value().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return Answer(int(first.split()[1]), headers, body.decode())

    @property
    def events(self) -> list[Any]:
        return self.answer.events

    def hang_up(self) -> None:
        if not self.gone:
            self.gone = True
            self.wire.protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined]


class ServerCase(SynchronousTestCase):
    """A running server with two users; `self.ann` and `self.bob` are their ids."""

    session_limits = ConnectionLimits()
    policy = Policy()

    def setUp(self) -> None:
        self.clock = clock = Clock()
        clock.rightNow = START
        self.store = InlineStore(clock)
        new_id = Uuid7Generator(clock.seconds)
        self.audience = audience = Dispatcher()
        self.gate = FakeAuthenticator(expires_at=START + 900, revocations=audience.revocations)
        follower = Follower(self.store, audience, clock)
        self.store.on_commit = follower.wake
        sends, namespaces = IdempotentSends(self.store, clock.seconds), Namespaces.with_builtin(())
        publisher = Publisher(
            self.policy,
            MemoryBroker(audience),
            sends,
            namespaces,
            clock.seconds,
            new_id,
            strict_json.dumps,
            strict_json.dumps_canonically,
        )
        history = ReplayReader(self.store, audience, namespaces, clock)
        self.hub = Hub(self.gate, audience, history, publisher, clock, new_id, make_turns(clock))
        self.members = make_account_services(
            self.store, PlainPasswords(), PlainTokens(), clock, clock.seconds, new_id
        )
        self.accounts, self.sessions = self.members.accounts, self.members.login_sessions
        self.messages = Messages(self.store, sends, EventBuilder(new_id), self.policy, clock.seconds, new_id)
        self.observed: list[Any] = []
        self.http_requests: list[str | None] = []  # for whom they were counted: a user, or nobody
        self.most_http_requests = 1_000_000
        self.requests: list[tuple[str, str | None]] = []  # counted in operations: address and user
        self.sockets = Admission(self.session_limits, ProtocolStats("graphql"))
        self.streams = Admission(self.session_limits, ProtocolStats("graphql"))
        self.needs = GraphQLDependencies(
            account_services=self.members,
            request_authenticator=self.gate,
            messages=self.messages,
            publisher=publisher,
            hub=self.hub,
            clock=clock,
            websocket_admission=self.sockets,
            subscription_admission=self.streams,
            health=self.health,
            allowed_origin=lambda origin: origin == "https://friend.example",
            on_operation=lambda *what: self.observed.append(what),
            count_request=self.count_request,
        )
        self.hub.startService()
        follower.startService()
        self.serve()
        self.ann, self.bob = self.user("Ann").id, self.user("Bob").id

    async def count_http_request(self, user_id: str | None) -> None:
        self.http_requests.append(user_id)
        if len(self.http_requests) > self.most_http_requests:
            raise RateLimited("Too many requests", "RATE_LIMIT_MAX", 41.5)

    async def count_request(self, host: str, user_id: str | None) -> None:
        self.requests.append((host, user_id))

    def serve(self, **changes: Any) -> None:
        """Put the endpoint up, with some of what it needs changed."""
        self.needs = evolve(self.needs, **changes)
        root = Resource()
        root.putChild(b"graphql", make_graphql_resource(self.needs))
        self.site = Site(root, requestFactory=PlainRequest, reactor=self.clock)
        self.site.turns = self.hub.turns  # type: ignore[attr-defined]
        self.site.count = self.count_http_request  # type: ignore[attr-defined]

    async def health(self) -> dict[str, Any]:
        database = {"status": "up", "responseTime": 2}
        dependencies = {"database": database, "cache": {"status": "down"}}
        return {
            "status": "degraded",
            "timestamp": "2026-11-22T19:21:04.531Z",
            "uptime": 2.5,
            "dependencies": dependencies,
        }

    # Doing.

    def turn(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)

    def done(self, coroutine: Any) -> Any:
        deferred = Deferred.fromCoroutine(coroutine)
        self.turn()
        return self.successResultOf(deferred)

    def user(self, name: str) -> User:
        fields = {"email": f"{name}@example.org", "name": name, "password": PASSWORD}
        user: User = self.done(self.accounts.register(fields)).value
        self.done(begin_session(self.store, Identity(user.id, f"session-{user.id}", START + 900)))
        return user

    def message(self, author: str, content: str = "hello", **target: str) -> Message:
        who = Identity(author, "s", START + 900)
        return self.done(self.messages.send(who, {"content": content, **target})).value  # type: ignore[no-any-return]

    # HTTP.

    def connect(self) -> Exchanged:
        wire = Wire(peerAddress=IPv4Address("TCP", "192.0.2.1", 1234))
        protocol = self.site.buildProtocol(wire.getPeer())
        wire.protocol = protocol
        protocol.makeConnection(wire)
        exchanged = Exchanged(wire, protocol)
        self.addCleanup(exchanged.hang_up)
        return exchanged

    def post_unanswered(self, body: object) -> Exchanged:
        """POST `body` as Ann, who waits for the answer."""
        exchanged, text = self.connect(), json.dumps(body).encode()
        head = f"POST /graphql HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        token = f"Authorization: Bearer token-{self.ann}\r\n\r\n"
        exchanged.protocol.dataReceived((head + token).encode() + text)
        return exchanged

    def request(
        self, method: str, path: str = "/graphql", body: bytes | None = None, **headers: str | None
    ) -> Exchanged:
        """HTTP/1.0, so that bodies come as they are."""
        exchanged = self.connect()
        lines = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None:
            lines["Content-Length"] = str(len(body))
        head = [f"{method} {path} HTTP/1.0", *(f"{k}: {v}" for k, v in lines.items() if v is not None)]
        exchanged.protocol.dataReceived("\r\n".join([*head, "", ""]).encode() + (body or b""))
        self.turn()
        return exchanged

    def post(self, value: object, who: str | None = None, **headers: str | None) -> Exchanged:
        if who is not None:
            headers["Authorization"] = f"Bearer token-{who}"
        headers = {"Content_Type": "application/json", **headers}
        return self.request("POST", body=json.dumps(value).encode(), **headers)

    def get(
        self,
        path: str = "/graphql",
        who: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Exchanged:
        headers = dict(headers or {})
        if who is not None:
            headers["Authorization"] = f"Bearer token-{who}"
        return self.request("GET", path + ("?" + urlencode(query) if query else ""), **headers)

    def ask(self, query: str, who: str | None = None, **variables: Any) -> Any:
        """The result of an operation."""
        return self.post({"query": query, "variables": variables}, who).answer.json

    def data(self, query: str, who: str | None = None, **variables: Any) -> Any:
        result = self.ask(query, who, **variables)
        self.assertNotIn("errors", result)
        return result["data"]

    def codes(self, query: str, who: str | None = None, **variables: Any) -> list[str]:
        """The codes of the errors of an operation."""
        return [error["extensions"]["code"] for error in self.ask(query, who, **variables)["errors"]]

    def follow(self, query: str, who: str | None, **variables: Any) -> Exchanged:
        """A subscription as an event stream."""
        return self.post({"query": query, "variables": variables}, who, Accept="text/event-stream")
