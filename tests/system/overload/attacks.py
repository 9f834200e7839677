"""The kinds of attack: for each what a connection sends, how many of them one address may have, and what answers it.

An attack is a row of `ATTACKS`.  Its `script` says what the connection of a given number does; the attackers
play it on one connection, and on as many as the limits allow, and connect again when they are cut off.
"""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64encode
from functools import lru_cache, partial
from itertools import count, cycle, islice, repeat
from random import Random
from typing import Any, Callable, Iterable, Iterator, Literal
from uuid import UUID

from attrs import define, evolve, frozen
from graphql import get_introspection_query

from multiproto.auth.credential_format import RandomCredentialIssuer
from multiproto.base.strict_json import MAX_CONTAINERS, MAX_EXTREME_NUMBERS

from ...ledger.server import LOGGED
from ...rfc6455.wire import CONTINUATION, PING, TEXT, handshake
from ...rfc6455.wire import frame as ws_frame
from ...rfc6455.wire import text as ws
from ...tcp.wire import frame as tcp
from ...tcp.wire import raw
from .requests import request

HTTP_MOST, SOCKETS_MOST = (
    200,
    100,
)  # connections that one address may have (docs/operations.md#limits-to-know)
PAST = f"{LOGGED}.past"  # the topic with a long log
PRUNED = "pruned"  # first word of topics that are kept for a second
FLOOD = "flood"  # the topic that readers do not read
MIB = 2**20

random = Random(1)


@frozen
class Script:
    """What one connection does: it says hello, then sends all bodies, and then ends as `ending` says."""

    bodies: Iterable[bytes]
    hello: bytes = b""
    ready: bytes = b""  # what is waited for behind the hello
    piece: int = 0  # bytes that are written at a time; 0: a body at a time
    pause: float = 0.0  # seconds behind each write
    reads: bool = True
    ending: Literal["stay", "close", "reset", "half"] = "stay"  # half: says no more, and listens

    def pieces(self, body: bytes) -> Iterable[bytes]:
        if not self.piece:
            return (body,)
        return (body[start : start + self.piece] for start in range(0, len(body), self.piece))


@define
class Target:
    """What attackers know of the server, and their accounts, all good ones."""

    tokens: list[str]
    spare_tokens: list[str]  # sessions of one account, to be ended
    cursor: str  # in front of a long log
    ended: int = 0  # of the spare tokens

    def token(self, number: int) -> str:
        return self.tokens[number % (len(self.tokens) // 2)]

    def changing_token(self, number: int) -> str:
        """Of accounts that change their passwords: half of them."""
        half = len(self.tokens) // 2
        return self.tokens[half + number % half]


@frozen
class Attack:
    name: str
    sends: str
    script: Callable[[Target, int], Script]
    port: Literal["http", "tcp", "metrics"] = "http"
    most: int = HTTP_MOST  # connections
    least: int = 1
    login: bool = False
    answers: bytes = b""  # what some answer holds; without one, the attack has not come about
    memory: float = 0.25  # MiB that a connection may cost; a slow reader does cost that
    telling: bool = False  # whether the short form has it


# WebSocket frames, TCP frames and handshakes.


def compressed(data: bytes, final: bool = False) -> bytes:
    """A text frame with `data` in permessage-deflate, in a final block (RFC 7692, 7.2.3.4) or as usual."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(data)
    if final:
        return ws_frame(TEXT, packed + deflate.flush() + b"\0", rsv=4)
    return ws_frame(TEXT, (packed + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4)


def repeated_keys(size: int) -> bytes:
    """A ping of `size` bytes with one key again and again."""
    return b'{"type":"ping"' + b',"a":1' * ((size - 15) // 6) + b"}"


def websocket(target: Target, number: int, bodies: Iterable[bytes], login: bool, **changes: Any) -> Script:
    """On /ws, with compression on offer."""
    hello = handshake(Sec_WebSocket_Extensions="permessage-deflate")
    if login:
        hello += ws(type="auth", token=target.token(number))
    return Script(bodies, hello, b"auth_success" if login else b"\r\n\r\n", **changes)


def framed(target: Target, number: int, bodies: Iterable[bytes], login: bool, **changes: Any) -> Script:
    """Over framed TCP."""
    if not login:
        return Script(bodies, **changes)
    return Script(bodies, tcp(0x01, token=target.token(number)), b"userId", **changes)


def over(
    wire: Callable[..., Script], make: Callable[[], Iterable[bytes]], login: bool = False, **changes: Any
) -> Callable[[Target, int], Script]:
    """A script that sends what `make` gives."""
    return lambda target, number: wire(target, number, make(), login, **changes)


def plain(make: Callable[[], Iterable[bytes]]) -> Callable[[Target, int], Script]:
    """A script that sends what `make` gives, and nothing before."""
    return lambda target, number: Script(make())


def in_turn(make: Callable[[], list[bytes]]) -> Callable[[], Iterable[bytes]]:
    """The same bodies one after the other, again and again, made once."""
    made = lru_cache(maxsize=None)(make)
    return lambda: cycle(made())


def again(make: Callable[[], bytes]) -> Callable[[], Iterable[bytes]]:
    """The same body again and again, made once."""
    made = lru_cache(maxsize=None)(make)
    return lambda: repeat(made())


def frames_1_mib() -> bytes:
    return compressed(repeated_keys(MIB)) * 20


def frames_16_kib() -> bytes:
    return compressed(repeated_keys(16_000)) * 200


def big_pings() -> bytes:
    """Pings with distinct keys, so that none is refused before it is read."""
    return compressed(json.dumps({"type": "ping", **{f"k{n}": n for n in range(55_000)}}).encode()) * 5


def fragments(payload: bytes) -> bytes:
    """A ping in 500 fragments with this payload each."""
    middle = ws_frame(CONTINUATION, payload, fin=False) * 500
    return ws_frame(TEXT, b'{"type":', fin=False) + middle + ws_frame(CONTINUATION, b'"ping"}')


def subscribe_and_unsubscribe_websocket() -> bytes:
    words = [f"a{n}.*.**.x{n}" for n in range(100)]
    return b"".join(ws(type=kind, topic=word) for kind in ("subscribe", "unsubscribe") for word in words)


def subscribe_and_unsubscribe_tcp() -> bytes:
    words = [f"a{n}.*.**.x{n}" for n in range(100)]
    return b"".join(tcp(kind, topic=word) for kind in (0x10, 0x11) for word in words)


# Tokens and credentials that are not good.


def forged_token(number: int) -> str:
    def part(value: bytes) -> str:
        return urlsafe_b64encode(value).rstrip(b"=").decode()

    claims = {
        "userId": str(UUID(int=number)),
        "email": "a@example.org",
        "typ": "access",
        "iat": 1,
        "exp": 2**33,
    }
    claims |= {"sid": str(UUID(int=number)), "jti": str(number)}
    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    return f"{head}.{part(json.dumps(claims).encode())}.{part(random.randbytes(32))}"


def unknown_credential(number: int) -> str:
    """Of the right form: that there is none such only the database can tell."""
    return RandomCredentialIssuer(random.randbytes).issue(str(UUID(int=random.getrandbits(128))))[0]


def authentications(make: Callable[[int], str], write: Callable[[str], bytes]) -> Iterator[bytes]:
    for number in count():
        yield b"".join(write(make(number * 50 + n)) for n in range(50))


# GraphQL.

FIELDS = "id email name createdAt updatedAt"
DEEP = "{ users(limit: 10) { edges { node { messages(limit: 10) { edges { node { user { name } } } } } } } }"
WIDE = (
    "{ " + " ".join(f"a{n}: users(limit: 30) {{ edges {{ node {{ {FIELDS} }} }} }}" for n in range(30)) + " }"
)
NAMES = "{ me { " + "name " * 900 + "} }"
CHANGE = 'mutation { updateUser(input: {password: "Passw0rd!"}) { id } }'
ALIASES = "{ " + " ".join(f"a{n}: me {{ id }}" for n in range(5000)) + " }"
FRAGMENTS = "{ me { ...F0 } } " + " ".join(
    f"fragment F{n} on User {{ name ...F{n + 1} }}" for n in range(150)
)
DIRECTIVES = "{ me { id " + "@include(if: true) " * 900 + "} }"
NESTED = "{ " + "x { " * 450 + "}" * 450 + " }"


def introspections() -> Iterator[str]:
    """All different, so that no answer is remembered."""
    return (f"{get_introspection_query()} #{random.getrandbits(60)}" for _ in count())


def varied(*queries: str) -> Iterator[str]:
    return (f"{query} #{random.getrandbits(60)}" for query in cycle(queries))


def posted(
    queries: Callable[[], Iterator[str]], login: bool, batch: int = 1
) -> Callable[[Target, int], Script]:
    """Queries by POST, in arrays of `batch`."""

    def script(target: Target, number: int) -> Script:
        token, made = target.token(number) if login else None, queries()
        bodies = (list(islice(made, batch)) for _ in count())
        values = ([{"query": query} for query in body] for body in bodies)
        texts = (json.dumps(value if batch > 1 else value[0]).encode() for value in values)
        return Script(request("POST", "/graphql", text, token) for text in texts)

    return script


def graphql_socket(
    queries: Callable[[], Iterator[str]],
    each: int = 1,
    token: Callable[[Target, int], str] | None = None,
    pause: float = 0.0,
) -> Callable[[Target, int], Script]:
    """Operations over graphql-transport-ws, `each` in a packet."""

    def script(target: Target, number: int) -> Script:
        hello = handshake(Sec_WebSocket_Protocol="graphql-transport-ws").replace(b" /ws ", b" /graphql ")
        payload = {"authorization": f"Bearer {token(target, number)}"} if token else {}
        hello += ws(type="connection_init", payload=payload)
        operations = (ws(type="subscribe", id=str(n), payload={"query": q}) for n, q in enumerate(queries()))
        bodies = (b"".join(islice(operations, each)) for _ in count())
        return Script(bodies, hello, b"connection_ack", pause=pause)

    return script


def subscriptions(target: Target, number: int) -> Script:
    """A hundred operations begun and ended again."""
    operations = [
        ws(
            type="subscribe",
            id=str(n),
            payload={"query": f'subscription {{ topic(pattern: "a{n}.**") {{ data }} }}'},
        )
        for n in range(100)
    ]
    whole = b"".join([*operations, *(ws(type="complete", id=str(n)) for n in range(100)), ws(type="ping")])
    begin = graphql_socket(lambda: repeat(""), token=Target.token)(target, number)
    return evolve(begin, bodies=repeat(whole))


# HTTP.

GET = partial(request, "GET")


def json_values() -> dict[str, bytes]:
    """Values of some 950 kB that are much work to read or to write."""
    return {
        "too many": b"[" + b"[]," * 310_000 + b"[]]",
        "containers": b"[" + b"[]," * (MAX_CONTAINERS - 3) + b"[]]",
        "nested": b"[" * 60 + b'[{"a":1}],' * (MAX_CONTAINERS // 2 - 60) + b"[]" + b"]" * 60,
        "extreme": b"[" + b"1e308,0.1e-307,12345678901234567890," * 25_000 + b"1]",
        "numbers": b"["
        + b"1e308," * (MAX_EXTREME_NUMBERS - 1)
        + b"0.12345678901234567e-99," * 35_000
        + b"1]",
        "digits": b"9" * 900_000,
        "distinct keys": b"{" + b",".join(b'"k%d":0' % n for n in range(80_000)) + b"}",
        "repeated keys": b"{" + b'"a":1,' * 150_000 + b'"a":1}',
        "escapes": b'"' + b"\\u00e4" * 150_000 + b'"',
        "quotes": b'"' + b'1e308\\"' * 110_000 + b'"',
    }


@lru_cache(maxsize=None)
def json_value(*names: str) -> list[bytes]:
    return [value for name, value in json_values().items() if name in names]


@lru_cache(maxsize=None)
def json_requests(token: str, *names: str) -> list[bytes]:
    return [
        request("POST", "/api/v1/topics/a", b'{"data":' + value + b"}", token) for value in json_value(*names)
    ]


def json_posts(*names: str) -> Callable[[Target, int], Script]:
    return lambda target, number: Script(cycle(json_requests(target.token(number), *names)))


def json_frames() -> list[bytes]:
    return [raw(b'\x20{"topic":"a","id":1,"content":' + value + b"}") for value in json_values().values()]


def json_messages() -> list[bytes]:
    texts = (
        b'{"type":"message","topic":"a","id":1,"data":' + value + b"}" for value in json_values().values()
    )
    return [ws_frame(TEXT, text) for text in texts]


def form_of_percents(target: Target, number: int) -> Script:
    form = "application/x-www-form-urlencoded"
    return Script(repeat(request("POST", "/api/v1/auth/login", b"email=" + b"%" * 1_000_000, type=form)))


def chunked(target: Target, number: int) -> Script:
    """A body of 5,000 chunks of one byte: with more, no answer would come while 200 connections take turns."""
    head = request("POST", "/api/v1/topics/a", token=target.token(number), Transfer_Encoding="chunked")
    head = head.replace(b"\r\n\r\n", b"\r\nContent-Type: application/json\r\n\r\n")
    body = b'{"data":"' + b"x" * 5_000 + b'"}'
    return Script(repeat(head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"))


def heads(*makers: Callable[[int], dict[str, str]]) -> Callable[[], Iterable[bytes]]:
    """Requests with header blocks that differ each time."""
    return lambda: (
        b"".join(GET("/health/live", **makers[n % len(makers)](n)) for n in range(start, start + 4))
        for start in count(step=4)
    )


def many_fields(number: int) -> dict[str, str]:
    return {f"X{n}": f"{number} {'y' * 140}" for n in range(95)}


def long_field(number: int) -> dict[str, str]:
    return {"X": f"{number} {'y' * 16_000}"}


def field_of_spaces(number: int) -> dict[str, str]:
    return {"X": f"{number}{' ' * 16_000}y"}


def odd_fields(number: int) -> dict[str, str]:
    return {"Accept": f"{number},{'a/b;q=0.1,' * 1500}", "User_Agent": "\xff\xfe" * 400}


def cookies(number: int) -> dict[str, str]:
    return {"Cookie": "; ".join(f"c{n}={number}{'x' * 140}" for n in range(95))}


def listed(**headers: str) -> Callable[[Target, int], Script]:
    """Pages of 100 messages of 1,000 characters."""

    def script(target: Target, number: int) -> Script:
        token = target.token(number)
        pages = (f"/api/v1/messages?limit=100&page={1 + n % 10}" for n in count(number))
        return Script(GET(page, token=token, **headers) for page in pages)

    return script


def query_strings(target: Target, number: int) -> Script:
    token = target.token(number)
    queries = ("&".join(f"limit={n}{m}" for m in range(700)) for n in count())
    return Script(
        GET(f"/api/v1/messages?{query}"[:8000], token=token, **cookies(number)) for query in queries
    )


def unknown_paths(target: Target, number: int) -> Script:
    return Script(
        b"".join(GET(f"/api/v1/{random.getrandbits(60):x}/{'a/' * 20}{n}") for n in range(20))
        for _ in count()
    )


def logins(target: Target, number: int) -> Script:
    bodies = ({"email": f"victim{n % 997}@example.org", "password": "Guessed1!"} for n in count(number))
    return Script(request("POST", "/api/v1/auth/login", json.dumps(body).encode()) for body in bodies)


def registrations(target: Target, number: int) -> Script:
    emails = (f"{random.getrandbits(60):x}@example.org" for _ in count())
    bodies = ({"email": email, "name": "Mallory", "password": "Passw0rd!"} for email in emails)
    return Script(request("POST", "/api/v1/auth/register", json.dumps(body).encode()) for body in bodies)


def refreshes(target: Target, number: int) -> Script:
    tokens = (random.randbytes(32) for _ in count())
    bodies = ({"refreshToken": urlsafe_b64encode(token).rstrip(b"=").decode()} for token in tokens)
    return Script(request("POST", "/api/v1/auth/refresh", json.dumps(body).encode()) for body in bodies)


def slow_head(target: Target, number: int) -> Script:
    return Script([GET("/health", X="y" * 10_000)], piece=1, pause=0.1)


def slow_body(target: Target, number: int) -> Script:
    whole = request("POST", "/api/v1/auth/login", b'{"email":"' + b"x" * 900_000)
    return Script([whole[:-1]], piece=100, pause=0.02)


# Deliveries and the log.


def unread(reader: Callable[[Target, int], Script]) -> Callable[[Target, int], Script]:
    """The first connection publishes 4 kB a hundred times a second over HTTP, all others do not read it."""

    def script(target: Target, number: int) -> Script:
        if number:
            return evolve(reader(target, number), reads=False)
        body = json.dumps({"data": "x" * 4000}).encode()
        return Script(repeat(request("POST", f"/api/v1/topics/{FLOOD}", body, target.token(1))), pause=0.01)

    return script


def event_stream(target: Target, number: int) -> Script:
    hello = GET(f"/api/v1/topics/{FLOOD}/events", token=target.token(number), Accept="text/event-stream")
    return Script((), hello, b"subscribed")


def websocket_reader(target: Target, number: int) -> Script:
    return websocket(target, number, [ws(type="subscribe", topic=FLOOD)], True)


def graphql_reader(target: Target, number: int) -> Script:
    query = f'subscription {{ topic(pattern: "{FLOOD}") {{ data }} }}'
    begin = graphql_socket(lambda: iter([query]), token=Target.token)(target, number)
    return evolve(begin, bodies=list(islice(begin.bodies, 1)))


def framed_unread(target: Target, number: int) -> Script:
    """The first connection publishes, all others do not read."""
    if number:
        return framed(target, number, [tcp(0x10, topic=FLOOD)], True, reads=False)
    return framed(target, 1, repeat(tcp(0x20, topic=FLOOD, content="x" * 4000, id=1)), True, pause=0.01)


def resumes(reads: bool) -> Callable[[Target, int], Script]:
    """Half a second with the past each, again and again."""
    return lambda target, number: framed(
        target,
        number,
        [tcp(0x10, topic=PAST, after=target.cursor), b""],
        True,
        pause=0.5,
        reads=reads,
        ending="reset",
    )


def publications(topic: str, key: bool = False) -> Callable[[Target, int], Script]:
    """As fast as they are taken."""

    def frames(number: int) -> Iterator[bytes]:
        keyed: dict[str, Any] = {"key": f"{number}-{random.getrandbits(60)}"} if key else {}
        one = tcp(0x20, topic=f"{topic}.a{number}", content={"text": "x" * 100}, id=1, **keyed)
        while True:
            if key:
                keys = (f"{number}-{random.getrandbits(60)}" for _ in range(100))
                yield b"".join(tcp(0x20, topic=f"{topic}.a", content=0, id=1, key=k) for k in keys)
            else:
                yield one * 200

    return lambda target, number: framed(target, number, frames(number), True)


def published_websocket(target: Target, number: int) -> Script:
    one = ws(type="message", topic=f"flood.a{number}", data={"text": "x" * 100}, id=1)
    return websocket(target, number, repeat(one * 200), True)


def ended_sessions(target: Target, number: int) -> Script:
    """The first connection ends one session after the other; all others follow topics in the one that is next."""
    token = target.spare_tokens[target.ended % len(target.spare_tokens)]
    if number:
        hello = ws(type="auth", token=token)
        return Script([ws(type="subscribe", topic="**")], handshake() + hello, b"auth_success")

    def bodies() -> Iterator[bytes]:
        for token in target.spare_tokens[target.ended :]:
            yield b""  # a pause in which the others come
            target.ended += 1
            yield request("POST", "/api/v1/auth/logout", token=token, Content_Length="0")

    return Script(bodies(), pause=0.4)


# Connections.

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + bytes(245)


def comes_and_goes(
    first: bytes = b"", ending: Literal["close", "reset", "half"] = "reset", times: int = 1
) -> Any:
    return lambda target, number: Script(repeat(first, times if first else 0), ending=ending)


def websocket_half(target: Target, number: int) -> Script:
    return websocket(target, number, [ws(type="ping")], False, ending="half")


PONG_WS, PONG_FRAME, PONG_TCP = b'"pong"', b"\x8a", b"\x31{"
CLOSE_1009 = b"\x03\xf1"
OK, CREATED, STATUS = b" 200 OK", b" 202 ", b"HTTP/1.1 "
SOCKETS = {"most": SOCKETS_MOST}
FRAMED: dict[str, Any] = {"port": "tcp", "most": SOCKETS_MOST}

_ROWS = (
    # WebSocket
    Attack("ws-inflate-stranger", "compressed messages that inflate to 1 MiB of one key repeated, 20 in a packet",
           over(websocket, again(frames_1_mib)), answers=CLOSE_1009, telling=True, **SOCKETS),
    Attack("ws-inflate-user", "the same",
           over(websocket, again(frames_1_mib), True), login=True, memory=4, answers=b'"error"', telling=True, **SOCKETS),
    Attack("ws-inflate-keys", "compressed messages that inflate to 1 MiB of 55,000 distinct keys, 5 in a packet",
           over(websocket, again(big_pings), True), login=True, memory=4, answers=PONG_WS, **SOCKETS),
    Attack("ws-inflate-16k", "compressed messages that inflate to 16 KiB, 200 in a packet",
           over(websocket, again(frames_16_kib)), answers=b"\"error\"", **SOCKETS),
    Attack("ws-final-block", "messages whose deflate block is final, 500 in a packet",
           over(websocket, again(lambda: compressed(b'{"type":"ping"}', final=True) * 500)), answers=PONG_WS, **SOCKETS),
    Attack("ws-ping-frames", "5,000 ping frames in a packet",
           over(websocket, again(lambda: ws_frame(PING, b"x") * 5000)), answers=PONG_FRAME, telling=True, **SOCKETS),
    Attack("ws-pings", "2,000 messages {\"type\":\"ping\"} in a packet",
           over(websocket, again(lambda: ws(type="ping") * 2000)), answers=PONG_WS, **SOCKETS),
    Attack("ws-fragments", "messages of 500 fragments of one byte",
           over(websocket, again(lambda: fragments(b" "))), answers=PONG_WS, **SOCKETS),
    Attack("ws-empty-fragments", "messages of 500 empty fragments",
           over(websocket, again(lambda: fragments(b""))), answers=PONG_WS, **SOCKETS),
    Attack("ws-bytes", "messages in segments of one byte",
           over(websocket, again(lambda: ws(type="ping")), piece=1), answers=PONG_WS, **SOCKETS),
    Attack("ws-json", "messages of 1 MiB: containers, numbers, keys, escapes", over(websocket, in_turn(json_messages), True),
           login=True, memory=4, answers=b'"code":2', **SOCKETS),
    Attack("ws-subscribe-churn", "100 patterns subscribed and unsubscribed in a packet",
           over(websocket, again(subscribe_and_unsubscribe_websocket), True), login=True, answers=b'"subscribed"', **SOCKETS),
    Attack("ws-publish-flood", "publications as fast as they are taken", published_websocket,
           login=True, answers=b'"ack"', **SOCKETS),
    Attack("ws-forged-tokens", "auth with tokens whose signature is wrong, 50 in a packet",
           over(websocket, lambda: authentications(forged_token, lambda token: ws(type="auth", token=token))),
           answers=b"auth_error", **SOCKETS),
    Attack("ws-unread", "readers that do not read what one publishes", unread(websocket_reader),
           least=2, login=True, answers=CREATED, **SOCKETS),
    Attack("ws-ended-sessions", "logouts, each of a session with all other connections", ended_sessions,
           least=2, login=True, answers=b" 204 ", **SOCKETS),
    # Framed TCP
    Attack("tcp-pings", "3,000 PING frames in a packet",
           over(framed, again(lambda: tcp(0x30, timestamp=1) * 3000)), answers=PONG_TCP, telling=True, **FRAMED),
    Attack("tcp-bytes", "frames in segments of one byte",
           over(framed, again(lambda: tcp(0x30, timestamp=1)), piece=1), answers=PONG_TCP, **FRAMED),
    Attack("tcp-unknown-types", "3,000 frames of an unknown type in a packet",
           over(framed, again(lambda: raw(b"\x7f{}") * 3000)), answers=b"\xff{", **FRAMED),
    Attack("tcp-garbage", "random bytes, and again on a new connection",
           over(framed, lambda: (random.randbytes(65536) for _ in count())), answers=b"\xff{", **FRAMED),
    Attack("tcp-json", "frames of 1 MiB: containers, numbers, keys, escapes", over(framed, in_turn(json_frames), True),
           login=True, memory=4, answers=b"\xff{", **FRAMED),
    Attack("tcp-subscribe-churn", "100 patterns subscribed and unsubscribed in a packet",
           over(framed, again(subscribe_and_unsubscribe_tcp), True), login=True, answers=b"subscriptionId", **FRAMED),
    Attack("tcp-publish-flood", "publications as fast as they are taken", publications("flood"),
           login=True, answers=b"\x22{", **FRAMED),
    Attack("tcp-logged-flood", "publications that are kept for a second, and pruned", publications(PRUNED),
           login=True, answers=b"\x22{", **FRAMED),
    Attack("tcp-idempotency-keys", "logged publications, each with a key of its own", publications(LOGGED, key=True),
           login=True, answers=b"\x22{", **FRAMED),
    Attack("tcp-unknown-credentials", "AUTH with credentials of the right form, 50 in a packet",
           over(framed, lambda: authentications(unknown_credential, lambda secret: tcp(0x01, token=secret))),
           answers=b"\x03{", **FRAMED),
    Attack("tcp-forged-tokens", "AUTH with tokens whose signature is wrong, 50 in a packet",
           over(framed, lambda: authentications(forged_token, lambda token: tcp(0x01, token=token))),
           answers=b"\x03{", **FRAMED),
    Attack("tcp-resume", "resuming from the beginning of a long log, again and again", resumes(True),
           login=True, answers=b"\x21{", **FRAMED),
    Attack("tcp-resume-unread", "the same, without reading", resumes(False), login=True, **FRAMED),
    Attack("tcp-unread", "readers that do not read what one publishes", framed_unread,
           least=2, login=True, answers=b"\x22{", **FRAMED),
    # GraphQL
    Attack("graphql-introspection", "introspection, each a little different, on GraphQL sockets",
           graphql_socket(introspections), answers=b"__schema", memory=1, telling=True, **SOCKETS),
    Attack("graphql-socket-deep", "the deepest and the widest document that are allowed, on GraphQL sockets",
           graphql_socket(lambda: varied(DEEP, WIDE), token=Target.token), login=True, memory=1, answers=b'"next"', **SOCKETS),
    Attack("graphql-passwords", "12 changes of the password on each GraphQL socket, of 10 accounts",
           graphql_socket(lambda: varied(CHANGE), 12, Target.changing_token, pause=1.0),
           login=True, answers=b'"updateUser"', **SOCKETS),
    Attack("graphql-subscriptions", "100 subscriptions begun and ended in a packet", subscriptions,
           login=True, answers=b'"pong"', **SOCKETS),
    Attack("graphql-unread", "subscriptions that do not read what one publishes", unread(graphql_reader),
           least=2, login=True, answers=CREATED, memory=1, **SOCKETS),
    Attack("graphql-batch", "introspection in batches of 10", posted(introspections, False, 10), answers=OK, memory=4),
    Attack("graphql-batch-user", "the deepest and the widest document that are allowed, in batches of 10",
           posted(lambda: varied(DEEP, WIDE), True, 10), login=True, answers=OK, memory=4),
    Attack("graphql-deep", "the deepest document that is allowed", posted(lambda: varied(DEEP), True), login=True, answers=OK),
    Attack("graphql-wide", "the widest document that is allowed", posted(lambda: varied(WIDE, NAMES), True),
           login=True, answers=OK, memory=1),
    Attack("graphql-bombs", "5,000 aliases, 150 fragments, 900 directives, 450 levels",
           posted(lambda: varied(ALIASES, FRAGMENTS, DIRECTIVES, NESTED), True), login=True, answers=STATUS),
    # REST
    Attack("rest-containers", "JSON of 100,000 containers, which are allowed", json_posts("containers", "nested"),
           login=True, memory=8, answers=CREATED),
    Attack("rest-numbers", "JSON of extreme numbers", json_posts("numbers", "extreme", "digits"), login=True, memory=4, answers=STATUS),
    Attack("rest-distinct-keys", "JSON of 80,000 keys", json_posts("distinct keys"), login=True, memory=8, answers=CREATED),
    Attack("rest-repeated-keys", "JSON of one key 150,000 times, and of 310,000 containers", json_posts("repeated keys", "too many"), login=True, memory=4, answers=b" 400 "),
    Attack("rest-escapes", "JSON of long strings of escapes", json_posts("escapes", "quotes"), login=True, memory=4, answers=STATUS),
    Attack("rest-form", "a form of a million %", form_of_percents, memory=4, answers=STATUS),
    Attack("rest-chunks", "bodies of 5,000 chunks of one byte", chunked, login=True, memory=1, answers=CREATED),
    Attack("rest-pages", "lists with limit=100 of 1,000 messages", listed(), login=True, memory=1, answers=OK),
    Attack("rest-gzip", "the same with Accept-Encoding: gzip", listed(Accept_Encoding="gzip"), login=True, memory=1, answers=b"gzip"),
    Attack("rest-queries", "query strings and cookies at their limits", query_strings, login=True, answers=STATUS),
    Attack("rest-unread", "event streams that do not read what one publishes", unread(event_stream),
           least=2, login=True, answers=CREATED),
    Attack("rest-logins", "logins with wrong passwords", logins, answers=b" 401 "),
    Attack("rest-registrations", "new accounts", registrations, answers=b" 201 "),
    Attack("rest-refreshes", "refreshes with unknown tokens", refreshes, answers=b" 401 "),
    Attack("rest-unknown-paths", "paths that do not exist, each another one", unknown_paths, answers=b" 404 "),
    # HTTP
    Attack("http-pipelined", "2,000 small GET in a packet",
           lambda target, number: Script(repeat(GET("/health/live") * 2000)), answers=OK, telling=True),
    Attack("http-many-headers", "95 header fields, each time different", plain(heads(many_fields)), answers=OK),
    Attack("http-long-headers", "a header field of 16 kB, of letters or of spaces",
           plain(heads(long_field, field_of_spaces)), answers=OK),
    Attack("http-odd-headers", "Accept with 1,500 types, bytes that are not UTF-8, cookies",
           plain(heads(odd_fields, cookies)), answers=STATUS),
    # Connections
    Attack("http-slow-heads", "a head at ten bytes a second", slow_head),
    Attack("http-slow-bodies", "a body at 5 kB a second", slow_body, memory=1),
    Attack("tcp-slow-frames", "a frame at ten bytes a second",
           lambda target, number: Script([raw(b"\x01" + b" " * 16_000)], piece=1, pause=0.1), **FRAMED),
    Attack("metrics-slow-heads", "a head at ten bytes a second", slow_head, port="metrics"),
    Attack("http-half-closed", "a request, and then only listening",
           comes_and_goes(GET("/health/live"), "half"), answers=OK),
    Attack("ws-half-closed", "a message, and then only listening", websocket_half, answers=PONG_WS, **SOCKETS),
    Attack("tcp-half-closed", "a frame, and then only listening",
           comes_and_goes(tcp(0x30, timestamp=1), "half"), answers=PONG_TCP, **FRAMED),
    Attack("http-churn", "connections that are reset at once", comes_and_goes()),
    Attack("http-unheard", "requests whose answer is not waited for", comes_and_goes(GET("/health") * 20)),
    Attack("ws-churn", "handshakes, and then a reset", comes_and_goes(handshake()), **SOCKETS),
    Attack("tcp-churn", "connections that are reset at once", comes_and_goes(), **FRAMED),
    Attack("metrics-churn", "pages that are not waited for", comes_and_goes(GET("/metrics")), port="metrics"),
    Attack("http-tls", "a TLS hello", comes_and_goes(TLS_HELLO, "half")),
    Attack("tcp-tls", "a TLS hello", comes_and_goes(TLS_HELLO, "half"), **FRAMED),
    Attack("metrics-tls", "a TLS hello", comes_and_goes(TLS_HELLO, "half"), port="metrics"),
)  # fmt: skip
ATTACKS = {attack.name: attack for attack in _ROWS}
