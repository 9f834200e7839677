"""Subscriptions, as event streams (graphql-sse, distinct connections)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from multiproto.base import strict_json
from multiproto.base.flow_control import DRAIN_TIMEOUT
from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.identity import Identity
from multiproto.core.turn_scheduler import TurnScheduler
from tests.canary import PASSWORD

from ..server import START, Exchanged, ServerCase

COMPLETE = ("complete", None)


def told(name: str, value: Any, **extensions: Any) -> tuple[str, Any]:
    payload: dict[str, Any] = {"data": {name: value}}
    return "next", payload | ({"extensions": extensions} if extensions else {})


class StreamCase(ServerCase):
    def heard(self, stream: Exchanged) -> list[Any]:
        """What came since the head of the stream."""
        self.turn()
        first, *rest = stream.events
        self.assertEqual(first, ":")
        return rest

    def who(self, user: str) -> Identity:
        return Identity(user, f"session-{user}", START + 900, deadline=START + 900)

    def publish(self, topic: str, data: object, who: str | None = None) -> None:
        query = "mutation($topic: String!, $data: JSON) { publish(topic: $topic, data: $data) { topic } }"
        self.data(query, who or self.bob, topic=topic, data=data)


class FieldTests(StreamCase):
    """Each event is delivered once, and only to its own subscription.

    docs/predecessor-faults.md#fault-19
    """

    def test_users(self) -> None:
        created = self.follow("subscription { userCreated { name } }", self.bob)
        updated = self.follow(
            "subscription($id: ID!) { userUpdated(userId: $id) { name email } }",
            self.bob,
            id=self.ann.upper(),
        )
        self.user("Eve")
        self.done(self.accounts.update(self.who(self.ann), self.ann, {"name": "Anna"}))
        self.done(self.accounts.update(self.who(self.bob), self.bob, {"name": "Bobby"}))
        self.done(self.accounts.close(self.who(self.ann), self.ann, {"currentPassword": PASSWORD}))
        self.assertEqual(self.heard(created), [told("userCreated", {"name": "Eve"}, cursor="t.3")])
        self.assertEqual(
            self.heard(updated),
            [told("userUpdated", {"name": "Anna", "email": "Ann@example.org"}, cursor="t.4")],
        )

    def test_messages(self) -> None:
        fields = "{ content channelId user { name } }"
        everywhere = self.follow(f"subscription {{ messageSent {fields} }}", self.bob)
        channel = self.follow(f'subscription {{ messageSent(channelId: "c.9 %") {fields} }}', self.bob)
        sent = self.message(self.ann, "one", channelId="c.9 %")
        self.message(self.ann, "two", channelId="c")
        self.message(self.ann, "psst", recipientId=self.bob, channelId="c")
        self.done(self.messages.delete(self.who(self.ann), sent.id))

        def shown(content: str, channel: str) -> Any:
            return {"content": content, "channelId": channel, "user": {"name": "Ann"}}

        one = told("messageSent", shown("one", "c.9 %"), cursor="t.3")
        self.assertEqual(self.heard(channel), [one])
        self.assertEqual(self.heard(everywhere), [one, told("messageSent", shown("two", "c"), cursor="t.4")])

    def test_messages_to_oneself(self) -> None:
        """And those that one has sent, as the predecessor had it."""
        query = "subscription($id: ID!) { messageToUser(userId: $id) { content } }"
        stream = self.follow(query, self.bob, id=self.bob)
        self.message(self.bob, "mine", recipientId=self.ann)
        self.message(self.bob, "mine in a channel", channelId="c")
        self.message(self.ann, "for Bob", recipientId=self.bob, channelId="c")
        self.assertEqual(
            self.heard(stream),
            [
                told("messageToUser", {"content": content}, cursor=f"t.{position}")
                for position, content in enumerate(("mine", "mine in a channel", "for Bob"), 3)
            ],
        )

    def test_topics(self) -> None:
        stream = self.follow(
            'subscription { topic(pattern: "room.*") { topic data metadata timestamp cursor } }', self.ann
        )
        for topic, data in (("room.1", {"x": 1}), ("room.1.2", 2), ("room.2", None)):
            self.publish(topic, data)
        at, metadata = "2027-01-15T08:00:00.000Z", {"senderId": self.bob}
        self.assertEqual(
            self.heard(stream),
            [
                told(
                    "topic",
                    {"topic": topic, "data": data, "metadata": metadata, "timestamp": at, "cursor": None},
                )
                for topic, data in (("room.1", {"x": 1}), ("room.2", None))
            ],
        )

    def test_a_wide_pattern_leaks_nothing(self) -> None:
        eve = self.user("Eve").id
        stream = self.follow('subscription { topic(pattern: "**") { topic data } }', eve)
        self.message(self.ann, "psst", recipientId=self.bob)
        self.message(self.ann, "public", channelId="c")
        ((_, payload),) = self.heard(stream)
        self.assertEqual(payload["data"]["topic"]["topic"], "messages")
        self.assertEqual(payload["data"]["topic"]["data"]["message"]["content"], "public")

    def test_nested_fields_show_what_the_subscriber_may_see(self) -> None:
        eve = self.user("Eve").id
        self.message(self.ann, "psst", recipientId=self.bob)
        query = "subscription { messageSent { user { messages { pageInfo { total } } } } }"
        streams = {who: self.follow(query, who) for who in (eve, self.bob)}
        self.message(self.ann, "public", channelId="c")
        totals = {
            who: self.heard(stream)[0][1]["data"]["messageSent"]["user"]["messages"]["pageInfo"]["total"]
            for who, stream in streams.items()
        }
        self.assertEqual(totals, {eve: 1, self.bob: 2})

    def test_fragments_and_aliases(self) -> None:
        query = "subscription { ...F } fragment F on Subscription { new: messageSent { words: content } }"
        stream = self.follow(query, self.ann)
        self.message(self.bob, channelId="c")
        self.assertEqual(self.heard(stream), [told("new", {"words": "hello"}, cursor="t.3")])


class ResumeTests(StreamCase):
    QUERY = "subscription($after: String) { messageSent(after: $after) { content } }"

    def test_recovered_comes_with_the_first_result(self) -> None:
        """What was missed comes first; where it can't be known, what happens from now on."""
        self.message(self.ann, "a", channelId="c")
        for after, recovered, missed in (("t.2", True, ["a"]), ("t.3", True, []), ("old.1", False, [])):
            stream = self.follow(self.QUERY, self.bob, after=after)
            self.message(self.ann, "b", channelId="c")
            self.clock.pump([0.01] * 10)
            results = [result for _, result in self.heard(stream)]
            contents = [result["data"]["messageSent"]["content"] for result in results]
            self.assertEqual(contents[: len(missed)], missed)
            self.assertEqual(contents[-1], "b")
            marks = [result["extensions"].get("recovered") for result in results]
            self.assertEqual(marks, [recovered] + [None] * (len(results) - 1))
            stream.hang_up()


class RefusalTests(StreamCase):
    def refused(self, query: str, **variables: Any) -> Any:
        stream = self.follow(query, self.ann, **variables)
        self.assertEqual(stream.answer.status, 200)
        (event, payload), end = self.heard(stream)
        self.assertEqual((event, end, set(payload)), ("next", COMPLETE, {"errors"}))
        return payload["errors"][0]["extensions"]["code"]

    def test_come_over_the_stream(self) -> None:
        """An event source can't read the body of a 400."""
        other = f'"{self.bob}"'
        for query, code in (
            ("subscription {", "GRAPHQL_PARSE_FAILED"),
            ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
            ("subscription { userCreated { id } messageSent { id } }", "GRAPHQL_VALIDATION_FAILED"),
            (f"subscription {{ messageToUser(userId: {other}) {{ id }} }}", "FORBIDDEN"),
            (f'subscription {{ topic(pattern: "messages.user.{self.bob}") {{ topic }} }}', "FORBIDDEN"),
            ('subscription { topic(pattern: "us*rs") { topic } }', "VALIDATION_ERROR"),
            ('subscription { userUpdated(userId: "") { id } }', "VALIDATION_ERROR"),
        ):
            self.assertEqual(self.refused(query), code, query)
        self.assertEqual(len(self.hub), 0)

    def test_a_subscription_needs_a_stream(self) -> None:
        query = "subscription { userCreated { id } }"
        answer = self.post({"query": query}, self.ann, Accept="application/json").answer
        self.assertEqual(
            (answer.status, answer.json["errors"][0]["extensions"]["code"]), (406, "BAD_REQUEST")
        )
        answer = self.get(
            who=self.ann, query=query, headers={"Accept": "application/json, text/event-stream;q=0.1"}
        )
        self.assertEqual(self.heard(answer), [])
        answer.hang_up()

    def test_queries_and_mutations_are_answered_as_a_stream_too(self) -> None:
        stream = self.follow("{ me { name } }", self.ann)
        self.assertEqual(self.heard(stream), [told("me", {"name": "Ann"}), COMPLETE])
        self.assertEqual(stream.answer.headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertTrue(stream.wire.disconnecting)


class LifeTests(StreamCase):
    session_limits = ConnectionLimits(max_queued_replies=2, ping_interval=30.0)
    QUERY = 'subscription { topic(pattern: "room") { data } }'

    def test_nothing_is_left_of_a_client_that_hung_up(self) -> None:
        """The predecessor's fault: a closed subscription was cleaned up only by the next event.

        docs/predecessor-faults.md#fault-9
        """
        stream = self.follow(self.QUERY, self.ann)
        self.assertEqual((len(self.hub), self.streams.stats.active_subscriptions), (1, 1))
        stream.hang_up()
        self.assertEqual((len(self.hub), self.streams.stats.active_subscriptions), (0, 0))

    def test_nothing_is_left_of_a_client_that_hung_up_while_it_subscribed(self) -> None:
        stream = self.connect()
        body = strict_json.dumps({"query": ResumeTests.QUERY, "variables": {"after": "t.1"}})
        head = (
            "POST /graphql HTTP/1.0\r\nHost: a\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer token-{self.ann}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        stream.protocol.dataReceived(head.encode() + body)
        # The store is looking for the cursor.
        self.assertEqual((len(self.hub), stream.wire.value()), (1, b""))
        stream.hang_up()
        self.turn()
        self.assertEqual((len(self.hub), self.streams.stats.active_subscriptions), (0, 0))

    def test_its_time_is_counted_as_its_client_s(self) -> None:
        """From the first step, which waits for the store to find the cursor."""
        counted: list[str] = []
        count = TurnScheduler.count

        def record(turns: TurnScheduler, key: str, kind: str, began: float) -> None:
            counted.append(key)
            count(turns, key, kind, began)

        self.patch(TurnScheduler, "count", record)
        self.follow(ResumeTests.QUERY, self.ann, after="t.1")
        self.turn()
        self.assertEqual(set(counted), {"192.0.2.1"})

    def test_head_follows_nothing(self) -> None:
        """The response to HEAD is its head alone; the connection must be free for the next request."""
        path = "/graphql?" + urlencode({"query": self.QUERY})
        headers = {"Authorization": f"Bearer token-{self.ann}", "Accept": "text/event-stream"}
        stream = self.request("HEAD", path, **headers)
        self.assertEqual(
            (stream.answer.status, stream.answer.headers["content-type"], stream.answer.text),
            (200, "text/event-stream; charset=utf-8", ""),
        )
        self.assertTrue(stream.wire.disconnecting)
        self.assertEqual((len(self.hub), self.streams.stats.active_subscriptions), (0, 0))

    def test_silence_is_filled_with_comments(self) -> None:
        stream = self.follow(self.QUERY, self.ann)
        self.clock.pump([1] * 31)
        self.assertEqual(self.heard(stream), [":"])

    def test_shutdown(self) -> None:
        """The predecessor's fault: shutdown hung on an open stream.  Without `complete` its client comes back.

        docs/predecessor-faults.md#fault-24
        """
        stream = self.follow(self.QUERY, self.ann)
        stopped = self.hub.stopService()
        self.assertEqual(self.heard(stream), [": server is shutting down"])
        self.assertTrue(stream.wire.disconnecting)
        self.successResultOf(stopped)

    def test_an_expired_or_revoked_token_ends_it(self) -> None:
        for end, message in (
            (lambda: self.clock.pump([1] * 901), "Token has expired"),
            (
                lambda: self.done(
                    self.accounts.close(self.who(self.bob), self.bob, {"currentPassword": PASSWORD})
                ),
                "Token revoked",
            ),
        ):
            self.gate.expires_at = self.clock.seconds() + 900
            stream = self.follow(self.QUERY, self.bob)
            end()
            error = {"message": message, "extensions": {"code": "UNAUTHORIZED", "status": 401}}
            self.assertEqual(
                [e for e in self.heard(stream) if e != ":"], [("next", {"errors": [error]}), COMPLETE]
            )
            self.assertTrue(stream.wire.disconnecting)

    def test_a_reader_that_stalls_is_bounded(self) -> None:
        """What it was sent in time it gets; then its stream stops, and it may resume."""
        stream = self.follow(self.QUERY, self.ann)
        stream.wire.producer.pauseProducing()
        big = "x" * 60_000
        for n in range(8):
            self.publish("room", [n, big])
        self.assertEqual(self.heard(stream), [])
        self.assertEqual(self.streams.stats.slow_consumers_total, 1)
        stream.wire.producer.resumeProducing()
        *heard, last = self.heard(stream)
        numbers = [payload["data"]["topic"]["data"][0] for _, payload in heard]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertLess(len(numbers), 8)
        self.assertEqual(last, ": Reads more slowly than it subscribed")

    def test_a_client_that_reads_nothing_at_all_is_disconnected(self) -> None:
        """Else its connection stayed, and counted nowhere: the subscription has ended, the response has not."""
        stream = self.follow(self.QUERY, self.ann)
        stream.wire.producer.pauseProducing()
        self.publish("room", 1)
        self.clock.advance(DRAIN_TIMEOUT)
        self.assertTrue(stream.wire.aborted)

    def test_a_bug_in_an_event_ends_the_stream_only(self) -> None:
        stream = self.follow("subscription { messageSent { content user { name } } }", self.ann)
        self.store.failures["users_by_ids"] = KeyError("secret")
        self.message(self.bob, channelId="c")
        ((_, payload),) = self.heard(stream)
        self.assertIsNone(payload["data"])
        self.assertEqual(payload["errors"][0]["message"], "Internal server error")
        self.flushLoggedErrors(KeyError)
