"""Limits on a GraphQL client that sends too many operations, or does not read."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.ratelimit.fixed_window import RateLimit
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.graphql.transport.running_operations import MAX_RUNNING_OPERATIONS

from .transport.test_event_stream import StreamCase
from .transport.test_websocket import ROOM, SocketCase, complete, next_

HELLO = "{ __typename }"
ANSWERED = {"data": {"__typename": "Query"}}
MESSAGES = "subscription { messageSent { content } }"
LONG = "x" * 10_000  # characters of a message


def rate_limited(message: str, milliseconds: int) -> dict[str, Any]:
    extensions = {"code": "RATE_LIMITED", "status": 429, "retryAfter": milliseconds}
    return {"message": message, "extensions": extensions}


class CommandTests(SocketCase):
    session_limits = ConnectionLimits(command_rate=Rate(10, 3))

    def test_the_limit_and_one_past_it(self) -> None:
        """`connection_init` was the first; the socket stays, and so does what runs on it."""
        client = self.client(self.ann)
        client.run("a", ROOM)
        self.assertEqual(client.run("b", HELLO), [next_("b", ANSWERED), complete("b")])
        refused = {"id": "c", "type": "error", "payload": [rate_limited("Too many commands", 100)]}
        self.assertEqual(client.run("c", HELLO), [refused])
        self.turn(0.1)
        self.assertEqual(client.run("c", HELLO), [next_("c", ANSWERED), complete("c")])
        self.assertEqual(len(self.hub), 2)

    def test_one_who_goes_on(self) -> None:
        client = self.client(self.ann)
        said = client.say(*(client.subscribe(f"{n}", HELLO) for n in range(50)))
        self.assertEqual(said[-1], (1008, "Too many commands, in spite of being told"))


class OperationTests(SocketCase):
    def test_at_the_limit_and_one_past_it(self) -> None:
        client = self.client(self.ann)
        said = client.say(*(client.subscribe(f"{n}", ROOM) for n in range(MAX_RUNNING_OPERATIONS)))
        self.assertEqual(said, [])
        [refused] = client.run("more", ROOM)
        self.assertEqual(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED")
        client.say({"type": "complete", "id": "0"})
        self.assertEqual(client.run("more", ROOM), [])


RENAME = 'mutation { updateUser(input: {name: "Anna"}) { name } }'
RENAME_TWICE = """mutation {
    a: updateUser(input: {name: "Anna"}) { name }
    b: updateUser(input: {name: "Anna"}) { name }
}"""


class AccountTests(SocketCase):
    """Changes of accounts count as requests of their address, on sockets as over HTTP."""

    def test_at_the_limit_and_one_past_it(self) -> None:
        self.serve(count_request=RateLimit(2, 60, clock=self.clock).check)
        client = self.client(self.ann)
        for _ in range(2):
            self.assertEqual(client.run("a", RENAME)[0]["type"], "next")
        [refused, _] = client.run("a", RENAME)
        said = rate_limited("Too many requests; try again in 60 s", 60_000)
        [error] = refused["payload"]["errors"]
        self.assertEqual({name: error[name] for name in said}, said)
        self.assertEqual(client.run("a", HELLO)[0], next_("a", ANSWERED))

    def test_what_counts(self) -> None:
        for n, document in enumerate(
            (
                'mutation { refresh(refreshToken: "x") { token } }',
                'mutation { createCredential(input: {name: "a", grants: []}) { credential } }',
                'mutation { revokeCredential(id: "x") }',
                'mutation { revokeSession(id: "x") }',
                "mutation { logout }",
                "mutation { logoutAll }",
                "mutation { deleteUser }",
                RENAME,
            )
        ):
            self.client(self.user("abcdefgh"[n] * 3).id).run("a", document)
            self.assertEqual(len(self.requests), n + 1, document)
        self.client(self.ann).run("a", HELLO)
        self.publish(1)
        self.assertEqual(len(self.requests), 8)

    def test_over_http_the_request_has_counted(self) -> None:
        """For one change; a document may have thirty."""
        self.data(RENAME, self.ann)
        self.assertEqual(len(self.requests), 0)
        self.data(RENAME_TWICE, self.ann)
        self.assertEqual(len(self.requests), 1)


class PublishTests(StreamCase):
    def test_publications_and_messages_count_together(self) -> None:
        quotas = PublishLimits(SharedBuckets("user", Rate(10, 2), self.clock))
        self.needs.publisher._limits = self.messages._limits = quotas
        send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { content } }"
        self.data(send, self.ann, input={"content": "hello", "channelId": "c"})
        self.publish("room", 1, self.ann)
        answer = self.ask('mutation { publish(topic: "room", data: 1) { topic } }', self.ann)
        [error] = answer["errors"]
        said = rate_limited("Too many publications by this user", 100)
        self.assertEqual({name: error[name] for name in said}, said)


class SlowTests(StreamCase):
    """A slow client of a logged topic gets the cursor to resume from."""

    session_limits = evolve(ConnectionLimits(), max_queued_replies=2)

    def told(self, error: dict[str, Any], seen: list[Any]) -> None:
        """The cursor in `error` is that of the last of the results in `seen`."""
        cursor = seen[-1]["extensions"]["cursor"]
        details = {"cursor": cursor}
        self.assertEqual(
            error["extensions"], {"code": "SERVICE_UNAVAILABLE", "status": 503, "details": details}
        )

    def test_over_an_event_stream(self) -> None:
        stream = self.follow(MESSAGES, self.ann)
        stream.wire.producer.pauseProducing()
        for _ in range(20):
            self.message(self.bob, LONG, channelId="c")
        self.assertEqual(self.streams.stats.slow_consumers_total, 1)
        stream.wire.producer.resumeProducing()
        *seen, (_, slow), comment = self.heard(stream)
        self.assertEqual(comment, ": Reads more slowly than it subscribed")
        self.told(slow["errors"][0], [payload for _, payload in seen])


class SlowSocketTests(SocketCase):
    session_limits = evolve(ConnectionLimits(), max_queued_replies=2)

    def test_over_a_socket(self) -> None:
        client = self.client(self.ann)
        client.run("a", MESSAGES)
        client.wire.producer.pauseProducing()
        for _ in range(20):
            self.message(self.bob, LONG, channelId="c")
        self.assertEqual(self.streams.stats.slow_consumers_total, 1)
        client.wire.producer.resumeProducing()
        *seen, last = client.heard()
        extensions = last["payload"][0]["extensions"]
        self.assertEqual((last["type"], extensions["code"]), ("error", "SERVICE_UNAVAILABLE"))
        self.assertEqual(extensions["details"]["cursor"], seen[-1]["payload"]["extensions"]["cursor"])
