"""Publishing over REST, and following topics as server-sent events."""

from __future__ import annotations

from typing import Any

from attrs import define

from multiproto.base import strict_json
from multiproto.base.flow_control import DRAIN_TIMEOUT
from multiproto.core.protocol import CloseReason
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE, Rule
from multiproto.core.pubsub.policy import Policy
from multiproto.core.transactions import Entry, Event
from multiproto.http.site import Site

from .client import Line, Response, responses
from .sites import SiteCase

ANN, BOB = "Bearer token-ann", "Bearer token-bob"


def events(data: bytes) -> list[dict[str, Any]]:
    """Each event's fields, `data` decoded; a comment is {"": text}."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        fields: dict[str, Any] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        if "data" in fields:
            fields["data"] = strict_json.loads(fields["data"].encode())
        found.append(fields)
    return found


@define
class Stream:
    """One client that follows a pattern."""

    line: Line
    began: Response

    @classmethod
    def open(cls, site: Site, target: str, token: str = ANN, **headers: str) -> Stream:
        line = Line(site)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        line.ask("GET", target, headers={"Authorization": token, **fields})
        return cls(line, line.answer())

    def heard(self) -> list[dict[str, Any]]:
        """What came since it was last asked."""
        data = b""
        chunks = self.line.heard()
        while chunks:
            size, _, chunks = chunks.partition(b"\r\n")
            data, chunks = data + chunks[: int(size, 16)], chunks[int(size, 16) + 2 :]
        return events(data)


class FieldsOfOthersTests(SiteCase):
    def faults(self, method: str, target: str, body: Any = None) -> list[Any]:
        answer = self.ask(method, target, body, Authorization=ANN)
        self.assertEqual(answer.status, 400)
        return [(error["path"], error["message"]) for error in answer.json["error"]["details"]["errors"]]

    def test_what_would_begin_with_now_or_be_sent_twice(self) -> None:
        for name in ("cursor", "lastEventId", "last-event-id"):
            told = [([name], "Unknown field: did you mean after?")]
            self.assertEqual(self.faults("GET", f"/api/v1/topics/users/events?{name}=x"), told)
        for name in ("key", "idempotencyKey"):
            told = [([name], "Unknown field: did you mean the header Idempotency-Key?")]
            self.assertEqual(self.faults("POST", "/api/v1/topics/a", {"data": 1, name: "k"}), told)


class PublishTests(SiteCase):
    def publish(self, topic: str, body: Any, token: str = ANN) -> Response:
        return self.ask("POST", f"/api/v1/topics/{topic}", body, Authorization=token)

    def test_accepted_and_heard(self) -> None:
        stream = Stream.open(self.site, "/api/v1/topics/room.*/events", BOB)
        stream.heard()
        answer = self.publish("room.1", {"data": {"a": 1}, "metadata": {"m": 2}})
        self.assertEqual(answer.status, 202)
        self.assertEqual(
            stream.heard(),
            [
                {
                    "event": "message",
                    "data": {
                        "topic": "room.1",
                        "data": {"a": 1},
                        "metadata": {"m": 2, "senderId": "ann"},
                        "timestamp": "1970-01-01T00:00:00.000Z",
                        "id": answer.data["id"],
                    },
                }
            ],
        )
        self.assertEqual(self.streams.stats.published_total, 1)

    def test_the_sender_is_the_servers_word(self) -> None:
        """A request has no connection, so nobody can claim one, such as that of another."""
        stream = Stream.open(self.site, "/api/v1/topics/a/events", BOB)
        stream.heard()
        forged = {"senderId": "bob", "senderConnectionId": "bobs", "m": 1}
        self.publish("a", {"data": 1, "metadata": forged})
        [event] = stream.heard()
        self.assertEqual(event["data"]["metadata"], {"m": 1, "senderId": "ann"})

    def test_null_is_data(self) -> None:
        self.assertEqual(self.publish("a", {"data": None}).status, 202)

    def test_a_form_is_taken_too(self) -> None:
        answer = self.ask(
            "POST",
            "/api/topics/a",
            b"data=caf%C3%A9",
            Authorization=ANN,
            Content_Type="application/x-www-form-urlencoded",
        )
        self.assertEqual(answer.status, 202)

    def test_a_form_that_is_nothing_but_percents(self) -> None:
        """It took a second of everybody's time."""
        for text in (b"data=" + b"%" * 1_000_000, b"data=" + b"%zz" * 300_000):
            answer = self.ask(
                "POST",
                "/api/topics/a",
                text,
                Authorization=ANN,
                Content_Type="application/x-www-form-urlencoded",
            )
            self.assertEqual(answer.status, 400)

    def test_topics_with_slashes_dots_and_letters_of_any_script(self) -> None:
        stream = Stream.open(self.site, "/api/v1/topics/**/events")
        for topic in ("a%2Fb", "caf%C3%A9", "chat:room1", "a.b.c"):
            self.assertEqual(self.publish(topic, {"data": 1}).status, 202, topic)
        self.assertEqual(
            [event["data"]["topic"] for event in stream.heard()], ["a/b", "café", "chat:room1", "a.b.c"]
        )

    def test_declined(self) -> None:
        heard = {
            "nothing": self.publish("a", {}).json["error"]["details"]["errors"],
            "both": [
                e["path"] for e in self.publish("a", {"metadata": 1}).json["error"]["details"]["errors"]
            ],
            "wild": self.publish("a.*", {"data": 1}).code,
            "empty": self.publish("a..b", {"data": 1}).code,
            "theirs": self.publish("users", {"data": 1}).code,
            "ours": self.publish("_sessions", {"data": 1}).code,
            "large": self.publish("a", {"data": "a" * 1_000_000}).code,
            "stranger": self.publish("a", {"data": 1}, "Bearer x").code,
        }
        self.assertEqual(
            heard,
            {
                "nothing": [{"path": ["data"], "message": "Required"}],
                "both": [["data"], ["metadata"]],
                "wild": 2,
                "empty": 2,
                "theirs": 5,
                "ours": 5,
                "large": 8,
                "stranger": 4,
            },
        )


class RulesTests(SiteCase):
    policy = Policy((Rule("devices.{user}.**", [PUBLISH, SUBSCRIBE]), Rule("devices.*.news", [SUBSCRIBE])))

    def follow(self, pattern: str, token: str = ANN, **headers: str) -> Response:
        return self.ask("GET", f"/api/v1/topics/{pattern}/events", None, Authorization=token, **headers)

    def explain(self, path: str, token: str = ANN) -> Response:
        return self.ask("GET", f"/api/v1/topics/{path}", None, Authorization=token)

    def test_a_rule_refuses_with_its_code(self) -> None:
        publish = self.ask("POST", "/api/v1/topics/devices.bob.1", {"data": 1}, Authorization=ANN)
        for answer in (
            publish,
            self.follow("devices.bob.1"),
            self.follow("devices.bob.1.*"),
            self.follow("devices.ann.**", Last_Event_ID="x"),
            self.ask("GET", "/api/v1/topics/devices.ann.**/events?after=x", None, Authorization=ANN),
        ):
            self.assertEqual((answer.status, answer.code), (403, 5))
        self.assertEqual(
            publish.json["error"]["message"],
            "Topics under devices are ruled, and no rule lets you publish here",
        )

    def test_a_wide_stream_leaks_nothing(self) -> None:
        streams = [Stream.open(self.site, "/api/v1/topics/**/events", token) for token in (ANN, BOB)]
        for topic, token in (
            *(("devices.ann.1", ANN), ("devices.bob.1", BOB)),
            *(("devices.ann.news", ANN), ("room", ANN)),
        ):
            answer = self.ask("POST", f"/api/v1/topics/{topic}", {"data": 1}, Authorization=token)
            self.assertEqual(answer.status, 202)
        heard = [[event["data"]["topic"] for event in stream.heard()] for stream in streams]
        self.assertEqual(
            heard,
            [["devices.ann.1", "devices.ann.news", "room"], ["devices.bob.1", "devices.ann.news", "room"]],
        )

    def test_explained(self) -> None:
        """One's own standing; by the decision that is also made when one tries."""
        answer = self.explain("devices.ann.news/explain?verb=publish")
        self.assertEqual(
            (answer.status, answer.data),
            (
                200,
                {
                    "topic": "devices.ann.news",
                    "verb": "publish",
                    "allowed": True,
                    "why": "A rule lets you publish here",
                    "rule": "devices.{user}.**",
                },
            ),
        )
        answer = self.explain("devices.ann.1/explain", BOB)
        self.assertEqual(
            answer.data,
            {
                "topic": "devices.ann.1",
                "verb": "subscribe",
                "allowed": False,
                "why": "Topics under devices are ruled, and no rule lets you hear this",
                "rule": None,
            },
        )

    def test_no_explanation(self) -> None:
        for path, token, code in (
            ("a/explain?verb=read", ANN, 2),
            ("a.*/explain", ANN, 2),
            ("a/explain?verbs=publish", ANN, 2),
            ("a/explain", "Bearer x", 4),
        ):
            self.assertEqual(self.explain(path, token).code, code, path)


class BodyFormTests(SiteCase):
    """What a body may be, shown on one route."""

    def code(self, body: bytes, kind: str | None = "application/json", **headers: str) -> tuple[int, int]:
        if kind is not None:
            headers["Content_Type"] = kind
        answer = self.ask("POST", "/api/v1/topics/a", body, Authorization=ANN, **headers)
        return answer.status, 0 if answer.status < 400 else answer.code

    def test_json(self) -> None:
        good = b'{"data":1}'
        for kind in ("application/json", "Application/JSON; charset=UTF-8", "application/vnd.x+json", None):
            self.assertEqual(self.code(good, kind), (202, 0), kind)

    def test_what_is_not_json(self) -> None:
        """The predecessor's fault: malformed JSON was a 500 (docs/predecessor-faults.md#fault-21)."""
        bad = (
            b"",
            b"{",
            b'{"data":NaN}',
            b'{"data":"\xff"}',
            b'{"data":1,"data":2}',
            b"[" * 100 + b"]" * 100,
        )
        for body in bad:
            self.assertEqual(self.code(body), (400, 1), body)
        for body in (b"[]", b"1", b"null", b'"a"'):
            self.assertEqual(self.code(body), (400, 1), body)

    def test_other_media(self) -> None:
        for kind in (
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin-1",
            "x",
        ):
            self.assertEqual(self.code(b'{"data":1}', kind), (415, 1), kind)
        for coding in ("br", "deflate", "gzip, gzip", "gzip, br"):
            self.assertEqual(self.code(b'{"data":1}', Content_Encoding=coding), (415, 1), coding)

    def test_forms(self) -> None:
        form = "application/x-www-form-urlencoded"
        heard = {
            body: self.code(body, form)
            for body in (b"data=1", b"data=", b"data=1&data=1", b"data=1&data=2", b"data=%ff", b"data=\xff")
        }
        self.assertEqual(
            heard,
            {
                b"data=1": (202, 0),
                b"data=": (202, 0),
                b"data=1&data=1": (202, 0),
                b"data=1&data=2": (400, 1),
                b"data=%ff": (400, 1),
                b"data=\xff": (400, 1),
            },
        )
        many = b"&".join(b"a%d=1" % n for n in range(101))
        self.assertEqual(self.code(many, form), (400, 1))


class TokenTests(SiteCase):
    def status(self, target: str = "/api/v1/topics/a", **headers: str) -> int:
        return self.ask("POST", target, {"data": 1}, **headers).status

    def test_the_scheme_in_any_case(self) -> None:
        for said in ("Bearer token-ann", "bearer token-ann", "BEARER  token-ann "):
            self.assertEqual(self.status(Authorization=said), 202, said)

    def test_nothing_else_is_one(self) -> None:
        for said in ("token-ann", "Basic token-ann", "Bearer", "Bearer ", "Bearer forged"):
            self.assertEqual(self.status(Authorization=said), 401, said)
        self.assertEqual(self.status("/api/v1/topics/a?token=token-ann&access_token=token-ann"), 401)

    def test_the_challenge(self) -> None:
        answer = self.ask("POST", "/api/v1/topics/a", {"data": 1})
        self.assertEqual((answer.code, answer.headers["www-authenticate"]), (4, "Bearer"))

    def test_one_that_was_revoked_a_moment_ago(self) -> None:
        """The gate may have looked just before; the hub remembers."""
        content = {"userId": "ann", "sessionIds": ["session-ann"]}
        event = Event(
            "e", "session.revoked", ("_sessions",), content, "", "1970-01-01T00:00:00.000Z", "_sessions"
        )
        self.house.dispatcher.dispatch_logged(Entry(1, "c1", event))
        self.assertEqual(self.status(Authorization=ANN), 401)
        self.assertEqual(self.status(Authorization=BOB), 202)


class StreamTests(SiteCase):
    def publish(self, topic: str, content: object) -> None:
        self.ask("POST", f"/api/v1/topics/{topic}", {"data": content}, Authorization=BOB)

    def tell(self, position: int) -> None:
        """The log tells of a user."""
        event = Event(
            f"e{position}",
            "user.created",
            ("users",),
            {"user": {}},
            "",
            "1970-01-01T00:00:01.000Z",
            "users.**",
        )
        self.house.dispatcher.dispatch_logged(Entry(position, f"c{position}", event))

    def test_what_comes_first(self) -> None:
        stream = Stream.open(self.site, "/api/v1/topics/a.**/events")
        self.assertEqual(stream.began.status, 200)
        self.assertEqual(stream.began.headers["content-type"], "text/event-stream")
        self.assertEqual(stream.began.headers["cache-control"], "no-store")
        self.assertNotIn("content-encoding", stream.began.headers)
        self.assertEqual(
            events(stream.began.body),
            [{"event": "subscribed", "data": {"topic": "a.**", "retention": "live"}}],
        )

    def test_logged_topics_have_cursors(self) -> None:
        self.house.log.append(2)
        self.house.dispatcher.set_head(2, "cursor2")
        stream = Stream.open(self.site, "/api/v1/topics/users/events")
        first = {"topic": "users", "retention": "log", "cursor": "cursor2"}
        self.assertEqual(events(stream.began.body), [{"event": "subscribed", "id": "cursor2", "data": first}])
        self.tell(1)
        self.assertEqual(
            stream.heard(),
            [
                {
                    "event": "message",
                    "id": "c1",
                    "data": {
                        "topic": "users",
                        "data": {"user": {}},
                        "metadata": {
                            "eventType": "user.created",
                            "eventId": "e1",
                            "timestamp": "1970-01-01T00:00:01.000Z",
                        },
                        "timestamp": "1970-01-01T00:00:01.000Z",
                        "id": "e1",
                        "cursor": "c1",
                    },
                }
            ],
        )

    def test_resuming_is_handed_on(self) -> None:
        """By the header that browsers send, or by the query; the header is the later one."""
        self.house.log.append(2)
        self.house.dispatcher.set_head(2, "cursor2")
        path = "/api/v1/topics/users/events"
        recovered = [
            events(Stream.open(self.site, path + query, **headers).began.body)[0]["data"].get("recovered")
            for query, headers in (
                ("", {}),
                ("?after=cursor1", {}),
                ("", {"Last_Event_ID": "cursor1"}),
                ("?after=old", {}),
                ("?after=old", {"Last_Event_ID": "cursor1"}),
            )
        ]
        self.assertEqual(recovered, [None, True, True, False, True])

    def test_declined_before_it_begins(self) -> None:
        for target, token, status in (
            ("/api/v1/topics/messages.user.bob/events", ANN, 403),
            ("/api/v1/topics/us*rs/events", ANN, 400),
            ("/api/v1/topics/a/events", "", 401),
            ("/api/v1/topics/a/events?after=1&after=2", ANN, 400),
            (
                "/api/v1/topics/a/events?aftr=cursor1",
                ANN,
                400,
            ),  # it would start now, and miss what it asked for
        ):
            answer = self.ask("GET", target, Authorization=token)
            self.assertEqual((answer.status, answer.json["success"]), (status, False), target)
        self.assertEqual(len(self.house.hub), 0)

    def test_keep_alive(self) -> None:
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        self.clock.pump([1.0] * 30)
        self.assertEqual(stream.heard(), [{"": ""}])
        self.clock.pump([1.0] * 400)  # a stream has no way to answer, so silence does not end it
        self.assertFalse(stream.line.closed)

    def test_a_client_that_leaves(self) -> None:
        """Nothing of it is left: no session, no pattern."""
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        self.assertEqual(len(self.house.hub), 1)
        stream.line.hang_up()
        self.assertEqual((len(self.house.hub), self.streams.stats.active_subscriptions), (0, 0))
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.observed[0][:3], ("GET", "/api/v1/topics/:pattern/events", 200))

    def farewell(self, stream: Stream) -> dict[str, Any]:
        """The last event; the answer is complete behind it."""
        data = stream.line.heard()
        self.assertTrue(data.endswith(b"0\r\n\r\n"))
        stream.line.transport.write(data.removesuffix(b"0\r\n\r\n"))
        return stream.heard()[-1]

    def test_expiry(self) -> None:
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        stream.line.heard()
        self.clock.pump([1.0] * 1001)
        self.assertEqual(
            self.farewell(stream),
            {
                "retry": "3000",
                "event": "farewell",
                "data": {"reason": "expired", "message": "Token has expired"},
            },
        )

    def test_the_farewell_says_where_to_resume(self) -> None:
        self.house.log.append(2)
        self.house.dispatcher.set_head(2, "cursor2")
        stream = Stream.open(self.site, "/api/v1/topics/users/events")
        for session in self.house.hub:
            session.close(CloseReason.REVOKED)
        said = {"reason": "revoked", "message": "Token revoked", "cursor": "cursor2"}
        self.assertEqual(self.farewell(stream)["data"], said)

    def test_shutdown(self) -> None:
        """An open stream is bidden farewell and does not hold us up (docs/predecessor-faults.md#fault-24)."""
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        self.successResultOf(self.site.drain(5.0))
        self.successResultOf(self.house.hub.stopService())
        self.assertEqual(self.farewell(stream)["data"]["reason"], "shutdown")
        self.assertTrue(stream.line.closed)

    def test_no_new_ones_then(self) -> None:
        self.house.hub.stopService()
        answer = self.ask("GET", "/api/v1/topics/a/events", Authorization=ANN)
        self.assertEqual((answer.status, answer.code), (503, 55))

    def test_a_slow_client_is_not_written_to(self) -> None:
        """What it does not take waits in a bounded outbox; then it is told why it ends.

        docs/predecessor-faults.md#fault-5
        """
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        stream.line.channel.pauseProducing()
        for n in range(3):
            self.publish("a", n)
        # One that was asked for before the clog is on its way.
        self.assertEqual([event["data"]["data"] for event in stream.heard()], [0])
        stream.line.channel.resumeProducing()
        self.assertEqual([event["data"]["data"] for event in stream.heard()], [1, 2])

    def test_a_slow_client_is_ended(self) -> None:
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        stream.line.channel.pauseProducing()
        for _ in range(10):
            self.publish("a", "x" * 30_000)
        self.assertEqual(self.streams.stats.slow_consumers_total, 1)
        stream.line.channel.resumeProducing()
        self.assertEqual(self.farewell(stream)["data"]["reason"], "slow")

    def test_a_client_that_takes_nothing_at_all_is_cut(self) -> None:
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        stream.line.channel.pauseProducing()
        self.publish("a", 1)
        self.clock.advance(DRAIN_TIMEOUT)
        self.assertTrue(stream.line.aborted)
        self.assertEqual(len(self.house.hub), 0)

    def test_head(self) -> None:
        """Says what GET would begin with, and follows nothing."""
        answer = self.ask("HEAD", "/api/v1/topics/a/events", Authorization=ANN)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(len(self.house.hub), 0)

    def test_the_connection_serves_on(self) -> None:
        """A request sent ahead of the stream's end is answered after it."""
        stream = Stream.open(self.site, "/api/v1/topics/a/events")
        stream.line.ask("GET", "/health/live")
        self.assertEqual(stream.line.heard(), b"")
        for session in self.house.hub:
            session.close(CloseReason.REVOKED)
        rest = stream.line.heard().partition(b"0\r\n\r\n")[2]
        self.assertEqual([answer.status for answer in responses(rest)], [200])

    def test_http_1_0(self) -> None:
        """Without chunks: the end of the connection is the end of the stream."""
        line = Line(self.site)
        line.send(b"GET /api/v1/topics/a/events HTTP/1.0\r\nAuthorization: Bearer token-ann\r\n\r\n")
        self.assertEqual(events(line.heard().partition(b"\r\n\r\n")[2])[0]["event"], "subscribed")
        for session in self.house.hub:
            session.close(CloseReason.SHUTDOWN)
        self.assertEqual(events(line.heard())[0]["event"], "farewell")
        self.assertTrue(line.closed)
