"""Limits on a GraphQL client that sends too many operations, or does not read."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.errors import Unavailable
from multiproto.core.protocol import CloseReason
from multiproto.core.ratelimit.fixed_window import RateLimit, RequestLimits
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.graphql.transport.http import MAX_LOGIN_SIZE
from multiproto.graphql.transport.running_operations import MAX_RUNNING_OPERATIONS

from .transport.test_event_stream import StreamCase
from .transport.test_websocket import ROOM, Client, SocketCase, complete, next_

HELLO = "{ __typename }"
ANSWERED = {"data": {"__typename": "Query"}}
MESSAGES = "subscription { messageSent { content } }"
LONG = "x" * 10_000  # characters of a message


def rate_limited(message: str, milliseconds: int) -> dict[str, Any]:
    extensions = {"code": "RATE_LIMITED", "status": 429, "retryAfter": milliseconds}
    return {"message": message, "extensions": extensions}


@define
class LeavingRedis:
    """Gives `leases`, then is away."""

    leases: list[tuple[int, float]]

    async def lease(self, key: str, rate: Rate, tokens: int) -> tuple[int, float]:
        if not self.leases:
            raise Unavailable("Redis is away")
        return self.leases.pop(0)


class CommandTests(SocketCase):
    session_limits = ConnectionLimits(command_rate=Rate(10, 3))

    def test_the_limit_and_one_past_it(self) -> None:
        """`connection_init` was the first; the socket is read more slowly, and nothing is refused."""
        client = self.client(self.ann)
        client.run("a", ROOM)
        client.run("b", HELLO)
        self.assertTrue(client.wire.reading)
        self.assertEqual(client.run("c", HELLO), [next_("c", ANSWERED), complete("c")])
        self.assertFalse(client.wire.reading)
        self.turn(0.11)
        self.assertTrue(client.wire.reading)

    def test_many_in_one_packet_are_obeyed_in_order(self) -> None:
        client = self.client(self.ann)
        said = client.say(*(client.subscribe(f"{n}", HELLO) for n in range(20)))
        self.assertEqual(len(said), 2 * 3)
        for _ in range(18):
            self.turn(0.1)
        said += client.heard()
        self.assertEqual([each["id"] for each in said if each["type"] == "next"], [f"{n}" for n in range(20)])


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
    """Changes of accounts count as requests of their user, on sockets as over HTTP."""

    def test_at_the_limit_and_one_past_it(self) -> None:
        limit = RateLimit(2, 60, clock=self.clock)
        self.serve(count_request=RequestLimits(limit, limit).count)
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
                'mutation { createCredential(input: {name: "a", grants: []}) { credential } }',
                'mutation { revokeCredential(id: "x") }',
                'mutation { revokeSession(id: "x") }',
                "mutation { logout }",
                "mutation { logoutAll }",
                "mutation { deleteUser }",
                RENAME,
            )
        ):
            user = self.user("abcdefgh"[n] * 3).id
            self.client(user).run("a", document)
            self.assertEqual(self.requests[n:], [("192.0.2.1", user)], document)
        self.client(self.ann).run("a", HELLO)
        self.publish(1)
        self.assertEqual(len(self.requests), 7)

    def test_over_http_the_request_has_counted(self) -> None:
        """For one change; a document may have thirty."""
        self.data(RENAME, self.ann)
        self.assertEqual(len(self.requests), 0)
        self.data(RENAME_TWICE, self.ann)
        self.assertEqual(len(self.requests), 1)


class HttpTests(StreamCase):
    """For whom a request over HTTP counts stands in its token, or else in its document."""

    LOGIN = 'mutation { login(email: "a", password: "b") { token } }'
    ONCE = 'mutation { a: login(email: "a", password: "b") { token } refresh(refreshToken: "x") { token } }'
    BOTH = 'mutation { login(email: "a", password: "b") { token } logout }'
    SKIPPED = 'mutation { login(email: "a", password: "b") @skip(if: true) { token } }'
    INCLUDED = (
        'mutation($tries: Boolean!) { login(email: "a", password: "b") @include(if: $tries) { token } }'
    )
    IN_A_FRAGMENT = "mutation { ...f } fragment f on Mutation { logout }"

    def test_for_its_user_or_its_address(self) -> None:
        self.post({"query": HELLO})
        self.post({"query": HELLO}, Authorization="Bearer forged")
        self.post({"query": HELLO}, self.ann)
        self.assertEqual(self.http_requests, [None, None, self.ann])

    def test_what_only_authenticates_has_limits_of_its_own(self) -> None:
        """Also beside an expired token."""
        for document in (self.LOGIN, self.ONCE):
            self.post({"query": document})
            self.post({"query": document}, Authorization="Bearer forged")
        self.assertEqual(self.http_requests, [])
        self.post({"query": self.LOGIN}, self.ann)
        self.assertEqual(self.http_requests, [self.ann])

    def test_everything_else_counts_once(self) -> None:
        posts: list[Any] = [
            {"query": self.BOTH},
            {"query": self.IN_A_FRAGMENT},
            {"query": self.SKIPPED},
            {"query": self.INCLUDED, "variables": {"tries": False}},
            {"query": self.INCLUDED},
            {"query": "{ nothing }"},
            {"query": "{"},
            {"query": self.LOGIN + " " * MAX_LOGIN_SIZE},
            [{"query": self.LOGIN}, {"query": self.LOGIN}],
            "no request",
        ]
        for n, value in enumerate(posts):
            self.post(value)
            self.assertEqual(len(self.http_requests), n + 1, value)
        self.request("PUT")
        self.get(query=HELLO)
        self.assertEqual(len(self.http_requests), len(posts) + 2)

    def test_one_past_the_limit(self) -> None:
        """It is answered as a request that is not executed; logging in goes on."""
        self.most_http_requests = 0
        for value in ({"query": HELLO}, [{"query": HELLO}], "no request"):
            answer = self.post(value).answer
            self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "42"))
            said = rate_limited("Too many requests; try again in 42 s (RATE_LIMIT_MAX)", 41_500)
            self.assertEqual(answer.json, {"errors": [said]})
        self.assertEqual(self.codes(self.LOGIN), ["UNAUTHORIZED"])


class PublishTests(StreamCase):
    def test_publications_and_messages_count_together(self) -> None:
        quotas = PublishLimits(SharedBuckets("user", Rate(10, 2), self.clock))
        self.needs.publisher.limits = self.messages.limits = quotas
        send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { content } }"
        self.data(send, self.ann, input={"content": "hello", "channelId": "c"})
        self.publish("room", 1, self.ann)
        answer = self.ask('mutation { publish(topic: "room", data: 1) { topic } }', self.ann)
        [error] = answer["errors"]
        said = rate_limited("Too many publications by this user; try again in 1 s (PUBLISH_RATE)", 100)
        self.assertEqual({name: error[name] for name in said}, said)


class SocketPublishTests(SocketCase):
    """On a socket what is over the rate waits, and so does what comes behind it."""

    COUNT = 50
    PUBLISH = 'mutation($n: JSON) { publish(topic: "room", data: $n) { topic } }'
    session_limits = ConnectionLimits(idle_timeout=60)

    def setUp(self) -> None:
        super().setUp()
        self.limit(Rate(10, 2))

    def limit(self, rate: Rate) -> None:
        limits = PublishLimits(SharedBuckets("user", rate, self.clock))
        self.needs.publisher.limits = self.messages.limits = limits

    def send_all(self) -> Client:
        client = self.client(self.ann)
        client.say(*(client.subscribe(f"{n}", self.PUBLISH, n=n) for n in range(self.COUNT)))
        return client

    def test_all_are_published_in_order(self) -> None:
        follower = self.client(self.bob)
        follower.run("a", ROOM)
        client = self.send_all()
        self.assertFalse(client.wire.reading)
        self.assertEqual(len(follower.heard()), 2)
        for _ in range(self.COUNT):
            self.turn(0.1)
        told = [each["payload"]["data"]["topic"]["data"] for each in follower.heard()]
        self.assertEqual((told, client.wire.reading), (list(range(2, self.COUNT)), True))

    def test_those_that_wait_are_not_overtaken_where_redis_goes_away_meanwhile(self) -> None:
        """What the instances share is used up for 5 s; then only this instance's own limit counts, by which none has to wait."""
        shared = LeavingRedis([(2, 0.0), (0, 5.0)])
        limits = PublishLimits(SharedBuckets("user", Rate(0.1, 100), self.clock, shared))
        self.needs.publisher.limits = self.messages.limits = limits
        follower = self.client(self.bob)
        follower.run("a", ROOM)
        client = self.client(self.ann)
        for n in range(4):
            client.run(f"{n}", self.PUBLISH, n=n)
        for _ in range(60):
            self.turn(0.1)
        for n in range(4, 6):
            client.run(f"{n}", self.PUBLISH, n=n)
        self.assertEqual(shared.leases, [])
        for _ in range(200):
            self.turn(0.1)
        told = [each["payload"]["data"]["topic"]["data"] for each in follower.heard() if "payload" in each]
        self.assertEqual(told, list(range(6)))

    def test_one_that_waits_counts_as_alive(self) -> None:
        self.limit(Rate(0.01, 2))
        client = self.send_all()
        client.heard()
        for _ in range(99):
            self.turn(1)
        self.assertEqual({each["type"] for each in client.heard()}, {"ping"})

    def test_a_farewell_does_not_wait_and_nothing_is_published_behind_it(self) -> None:
        follower = self.client(self.bob)
        follower.run("a", ROOM)
        for end in (CloseReason.REVOKED, CloseReason.SHUTDOWN, CloseReason.CLIENT_CLOSED):
            self.limit(Rate(10, 2))
            client = self.send_all()
            follower.heard()
            for connection in self.hub:
                if connection.identity and connection.identity.user_id == self.ann:
                    connection.close(end)
            self.assertIsInstance(client.heard()[-1], tuple, end)
            for _ in range(self.COUNT):
                self.turn(0.1)
            self.assertEqual((follower.heard(), client.heard()), ([], []))


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
