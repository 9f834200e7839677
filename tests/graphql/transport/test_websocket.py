"""graphql-transport-ws, byte by byte, on the path that also serves HTTP."""

from __future__ import annotations

import json
import zlib
from typing import Any
from unittest.mock import ANY, patch

from twisted.internet.defer import Deferred

from multiproto.core.connections.admission import Admission, ConnectionLimits
from multiproto.core.errors import Unavailable
from multiproto.core.identity import Identity
from multiproto.core.pubsub.log_freshness import COMMAND_GRACE, STALE_AFTER
from multiproto.core.revocations import REMEMBERED_FOR
from multiproto.graphql.execution.execute import OperationExecutor
from multiproto.graphql.transport import websocket
from multiproto.graphql.transport.running_operations import MAX_RUNNING_OPERATIONS, PAUSE_READING_AT
from multiproto.observe.protocol_stats import ProtocolStats

from ...rfc6455.wire import CLOSE, PING, PONG, TEXT, close, frame, frames, handshake
from ..server import DELETE_USER, Exchanged, InlineStore, ServerCase

ACK = {"type": "connection_ack"}
ROOM = 'subscription { topic(pattern: "room") { data } }'


def next_(id: str, payload: Any) -> dict[str, Any]:
    return {"id": id, "type": "next", "payload": payload}


def complete(id: str) -> dict[str, Any]:
    return {"id": id, "type": "complete"}


class Client:
    """A client's end of one socket."""

    def __init__(self, case: ServerCase, *lines: str, **changes: str | None) -> None:
        self.case = case
        self.exchanged: Exchanged = case.connect()
        self.wire = self.exchanged.wire
        changes = {"Sec_WebSocket_Protocol": "graphql-transport-ws", **changes}
        request = handshake(*lines, **changes).replace(b"GET /ws ", b"GET /graphql ")
        self.receive(request)
        head, _, rest = self.wire.value().partition(b"\r\n\r\n")
        self.head = head.decode()
        self.read = len(head) + 4

    def receive(self, data: bytes) -> None:
        self.wire.protocol.dataReceived(data)
        self.case.turn()

    def say(self, *messages: dict[str, Any]) -> list[Any]:
        """Send `messages` in one packet; returns what the server sent since."""
        self.receive(b"".join(frame(TEXT, json.dumps(message).encode()) for message in messages))
        return self.heard()

    def run(self, id: str, query: str, /, **variables: Any) -> list[Any]:
        return self.say(self.subscribe(id, query, **variables))

    @staticmethod
    def subscribe(id: str, query: str, /, **variables: Any) -> dict[str, Any]:
        return {"type": "subscribe", "id": id, "payload": {"query": query, "variables": variables}}

    def heard(self) -> list[Any]:
        """What the server sent since the last call; a Close as (code, reason)."""
        self.case.turn()
        data, self.read = self.wire.value()[self.read :], len(self.wire.value())
        said: list[Any] = []
        for found in frames(data):
            if found.opcode == TEXT:
                inflated = zlib.decompressobj(-15).decompress(found.payload) if found.rsv else found.payload
                said.append(json.loads(inflated))
            elif found.opcode != PONG:
                assert found.opcode == CLOSE
                said.append((int.from_bytes(found.payload[:2], "big"), found.payload[2:].decode()))
        return said

    def hang_up(self) -> None:
        self.exchanged.hang_up()


class SocketCase(ServerCase):
    def client(self, who: str | None = None) -> Client:
        """A client whose connection is acknowledged."""
        client = Client(self)
        payload = {} if who is None else {"authorization": f"Bearer token-{who}"}
        self.assertEqual(client.say({"type": "connection_init", "payload": payload}), [ACK])
        return client

    def publish(self, data: object) -> None:
        query = 'mutation($data: JSON) { publish(topic: "room", data: $data) { topic } }'
        self.data(query, self.bob, data=data)


class HandshakeTests(SocketCase):
    def test_the_subprotocol_is_agreed(self) -> None:
        self.assertIn("Sec-WebSocket-Protocol: graphql-transport-ws", Client(self).head)
        client = Client(self, Sec_WebSocket_Protocol="graphql-ws, graphql-transport-ws")
        self.assertIn("Sec-WebSocket-Protocol: graphql-transport-ws", client.head)

    def test_another_subprotocol_is_refused(self) -> None:
        for offered in ("graphql-ws", None):
            client = Client(self, Sec_WebSocket_Protocol=offered)
            self.assertEqual(client.heard(), [(4406, "Subprotocol not acceptable: use graphql-transport-ws")])
            self.assertTrue(client.wire.disconnecting)
            client.say({"type": "connection_init"})
        self.assertEqual(len(self.hub), 0)

    def test_origins(self) -> None:
        for origin, status in (
            ("https://friend.example", "101"),
            ("https://example.com", "101"),  # the server's own
            ("https://evil.example", "403"),
        ):
            self.assertEqual(Client(self, Origin=origin).head.split()[1], status, origin)

    def test_a_refusal_reads_like_the_other_answers_here(self) -> None:
        refused = Client(self, Origin="https://evil.example").exchanged.answer
        self.assertEqual(
            refused.json["errors"],
            [
                {
                    "message": "Origin not allowed: https://evil.example",
                    "extensions": {"code": "FORBIDDEN", "status": 403},
                }
            ],
        )
        refused = Client(self, Sec_WebSocket_Version="8").exchanged.answer
        self.assertEqual((refused.status, refused.headers["sec-websocket-version"]), (426, "13"))
        self.assertEqual(refused.json["errors"][0]["extensions"], {"code": "BAD_REQUEST", "status": 426})

    def test_another_scheme_than_bearer_is_not_for_us(self) -> None:
        client = Client(self, Authorization="Basic YQ==")
        self.assertEqual(client.say({"type": "connection_init"}), [ACK])

    def test_the_token_of_the_message_goes_before_that_of_the_handshake(self) -> None:
        client = Client(self, Authorization="Bearer forged")
        payload = {"authorization": f"Bearer token-{self.ann}"}
        self.assertEqual(client.say({"type": "connection_init", "payload": payload}), [ACK])
        client = Client(self, Authorization="Bearer forged")
        self.assertEqual(client.say({"type": "connection_init"}), [(4403, "Invalid token")])

    def test_a_token_in_the_handshake(self) -> None:
        client = Client(self, Authorization=f"Bearer token-{self.ann}")
        self.assertEqual(client.say({"type": "connection_init"}), [ACK])
        self.assertEqual(
            client.run("1", "{ me { name } }"), [next_("1", {"data": {"me": {"name": "Ann"}}}), complete("1")]
        )

    def test_too_many_connections_and_shutdown(self) -> None:
        self.serve(
            websocket_admission=Admission(
                ConnectionLimits(), ProtocolStats("graphql"), max_connections_per_network=1
            )
        )
        self.client(self.ann)
        self.assertEqual(Client(self).heard()[0][0], 1008)
        self.hub.stopService()
        self.assertEqual(Client(self).heard(), [(1001, "server is shutting down")])


class InitTests(SocketCase):
    def init(self, authorization: object) -> list[Any]:
        return Client(self).say({"type": "connection_init", "payload": {"authorization": authorization}})

    def test_a_bad_token_is_forbidden(self) -> None:
        self.assertEqual(self.init("Bearer forged"), [(4403, "Invalid token")])
        self.assertEqual(self.init("Basic YQ=="), [(4403, "Authorization must be: Bearer <token>")])

    def test_a_gate_that_is_away_asks_to_come_back(self) -> None:
        class Away:
            async def authenticate(self, token: str, host: str = "") -> None:
                raise Unavailable("The database is away")

        object.__setattr__(self.hub, "_authenticator", Away())
        self.assertEqual(self.init("Bearer token"), [(1013, "The database is away")])

    def test_once_only(self) -> None:
        self.assertEqual(
            self.client().say({"type": "connection_init"}), [(4429, "Too many initialisation requests")]
        )

    def test_nothing_before_the_acknowledgement(self) -> None:
        self.assertEqual(Client(self).run("1", "{ health { status } }"), [(4401, "Unauthorized")])
        self.gate.slow = True
        client = Client(self)
        init = {"type": "connection_init", "payload": {"authorization": f"Bearer token-{self.ann}"}}
        self.assertEqual(client.say(init, client.subscribe("1", "{ me { id } }")), [(4401, "Unauthorized")])

    def test_not_in_time(self) -> None:
        """The predecessor's fault: nothing had to authenticate in any time.

        docs/predecessor-faults.md#fault-7
        """
        for client in (Client(self), self.client()):
            self.clock.pump([1] * 11)
            self.assertEqual(client.heard(), [(4408, "Not authenticated in time")])

    def test_without_a_token_only_the_open_fields(self) -> None:
        client = self.client()
        self.assertEqual(
            client.run("1", "{ health { status } }"),
            [next_("1", {"data": {"health": {"status": "degraded"}}}), complete("1")],
        )
        (answer, end) = client.run("2", "{ me { id } }")
        self.assertEqual(answer["payload"]["errors"][0]["extensions"]["code"], "UNAUTHORIZED")
        (answer,) = client.run("3", ROOM)
        self.assertEqual(
            (answer["type"], answer["payload"][0]["extensions"]["code"]), ("error", "UNAUTHORIZED")
        )


class OperationTests(SocketCase):
    def test_queries_and_mutations(self) -> None:
        client = self.client(self.ann)
        self.assertEqual(
            client.run("1", "query($id: ID!) { user(id: $id) { name } }", id=self.bob),
            [next_("1", {"data": {"user": {"name": "Bob"}}}), complete("1")],
        )
        publish = 'mutation($m: JSON) { publish(topic: "room", metadata: $m) { metadata } }'
        seen = []
        for forged in ({}, {"senderId": "forged", "senderConnectionId": "forged"}):
            answer, end = client.run("1", publish, m=forged)
            seen.append(answer["payload"]["data"]["publish"]["metadata"])
        self.assertEqual(set(seen[0]), {"senderId", "senderConnectionId"})
        self.assertEqual(seen[0], seen[1])
        answer, end = client.run("1", 'mutation { updateUser(input: {name: "Anna"}) { name } }')
        self.assertEqual(answer["payload"]["extensions"], {"cursor": "t.3"})

    def test_a_subscription(self) -> None:
        client = self.client(self.ann)
        self.assertEqual(client.run("a", ROOM), [])
        self.publish(1)
        self.publish(2)
        self.assertEqual(client.heard(), [next_("a", {"data": {"topic": {"data": n}}}) for n in (1, 2)])
        self.assertEqual(client.say(complete("a")), [])
        self.publish(3)
        self.assertEqual(client.heard(), [])

    def test_complete_leaves_nothing(self) -> None:
        """The predecessor's fault: a closed subscription was cleaned up only by the next event.

        docs/predecessor-faults.md#fault-9
        """
        client = self.client(self.ann)
        client.run("a", ROOM)
        self.assertEqual(self.streams.stats.active_subscriptions, 1)
        client.say(complete("a"), complete("a"), complete("never begun"))
        self.assertEqual((self.streams.stats.active_subscriptions, len(self.hub)), (0, 1))
        self.assertEqual(client.run("a", ROOM), [])

    def test_complete_before_it_began(self) -> None:
        client = self.client(self.ann)
        client.say(client.subscribe("a", ROOM), complete("a"), client.subscribe("a", ROOM))
        self.publish(1)
        self.assertEqual(client.heard(), [next_("a", {"data": {"topic": {"data": 1}}})])
        self.assertEqual(self.streams.stats.active_subscriptions, 1)

    def test_complete_while_it_is_executed(self) -> None:
        client = self.client(self.ann)
        client.wire.protocol.dataReceived(
            frame(TEXT, json.dumps(client.subscribe("a", "{ me { id } }")).encode())
        )
        # The operation has begun, and its store has not answered.
        self.assertEqual(client.say(complete("a")), [])

    def test_an_id_in_use(self) -> None:
        client = self.client(self.ann)
        client.run("a", ROOM)
        self.assertEqual(client.run("a", ROOM), [(4409, "Subscriber for a already exists")])
        self.assertEqual(self.streams.stats.active_subscriptions, 0)

    def test_faults_before_execution(self) -> None:
        client = self.client(self.ann)
        for payload, code in (
            ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
            ({"query": "{ nope }"}, "GRAPHQL_VALIDATION_FAILED"),
            ({"query": "{ a { a { a { a { a { a { b } } } } } } }"}, "QUERY_DEPTH_LIMIT_EXCEEDED"),
            ({"query": 'subscription { topic(pattern: "us*rs") { topic } }'}, "VALIDATION_ERROR"),
        ):
            (answer,) = client.say({"type": "subscribe", "id": "1", "payload": payload})
            self.assertEqual((answer["type"], answer["id"]), ("error", "1"))
            self.assertEqual(answer["payload"][0]["extensions"]["code"], code)

    def test_a_malformed_payload_closes_the_socket(self) -> None:
        """As the protocol says; also where the text that says why is long."""
        for payload, why in (
            ({"query": 1}, "Invalid message: query must be a non-empty string"),
            ({"query": "{ me { id } }", "variables": "{}"}, "Invalid message: variables must be an object"),
        ):
            client = self.client(self.ann)
            self.assertEqual(client.say({"type": "subscribe", "id": "1", "payload": payload}), [(4400, why)])
        client = self.client(self.ann)
        ((code, _),) = client.say({"type": "subscribe", "id": "1", "payload": {"é" * 64: 1}})
        self.assertEqual(code, 4400)

    def test_a_subscription_is_there_for_what_is_asked_behind_it(self) -> None:
        client = self.client(self.ann)
        publish = client.subscribe("b", 'mutation { publish(topic: "room", data: 1) { data } }')
        said = client.say(client.subscribe("a", ROOM), publish)
        self.assertIn(next_("a", {"data": {"topic": {"data": 1}}}), said)

    def test_many_at_once_are_bounded(self) -> None:
        client = self.client(self.ann)
        said = client.say(*(client.subscribe(f"{n}", ROOM) for n in range(MAX_RUNNING_OPERATIONS + 1)))
        self.assertEqual([answer["payload"][0]["extensions"]["code"] for answer in said], ["RATE_LIMITED"])

    def test_a_bug_is_told_without_detail(self) -> None:
        class Broken:
            def prepare(self, request: object) -> None:
                raise KeyError("secret")

        Client(self).wire.protocol.factory.operation_executor = Broken()
        client = self.client(self.ann)
        (answer,) = client.run("1", "{ me { id } }")
        self.assertEqual(answer["payload"][0]["message"], "Internal server error")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class LineTests(SocketCase):
    session_limits = ConnectionLimits(max_queued_replies=2, ping_interval=30.0, idle_timeout=100.0)

    def test_pings(self) -> None:
        client = self.client(self.ann)
        self.assertEqual(client.say({"type": "ping"}), [{"type": "pong"}])
        self.clock.pump([1] * 31)
        self.assertEqual(client.heard(), [{"type": "ping"}])
        self.assertEqual(client.say({"type": "pong"}), [])

    def test_any_byte_is_a_sign_of_life(self) -> None:
        client = self.client(self.ann)
        for _ in range(3):
            self.clock.pump([1] * 90)
            client.receive(frame(PING))
        self.assertEqual({message["type"] for message in client.heard()}, {"ping"})
        self.assertGreater(self.sockets.stats.bytes_received, 0)

    def test_an_answer_larger_than_what_we_read(self) -> None:
        """Autobahn raised."""
        for offered in (None, "permessage-deflate"):
            client = Client(self, Sec_WebSocket_Extensions=offered)
            client.say({"type": "connection_init", "payload": {"authorization": f"Bearer token-{self.ann}"}})
            mutation = """mutation($data: JSON) {
                a: publish(topic: "room", data: $data) { data }
                b: publish(topic: "room", data: $data) { data }
            }"""
            data = "x" * 600_000
            answer, end = client.run("1", mutation, data=data)
            self.assertEqual(answer["payload"]["data"], {"a": {"data": data}, "b": {"data": data}})

    def test_silence(self) -> None:
        """The predecessor's fault: dead peers were never dropped (docs/predecessor-faults.md#fault-7)."""
        client = self.client(self.ann)
        self.clock.pump([1] * 102)
        self.assertEqual(client.heard()[-1], (4408, "Nothing heard for too long"))
        self.clock.pump([1] * 6)
        self.assertTrue(client.wire.aborted)

    def test_invalid_messages(self) -> None:
        for payload in (b"x", b'{"type":"start"}', b"[]"):
            client = self.client(self.ann)
            client.receive(frame(TEXT, payload) + frame(TEXT, b'{"type":"ping"}'))
            ((code, reason),) = client.heard()
            self.assertEqual(code, 4400)
            self.assertTrue(reason.startswith("Invalid message"))

    def test_the_end_of_an_authority(self) -> None:
        """A minute before the token expires, a `ping` carries that time."""
        expiring = {"type": "ping", "payload": {"expiresAt": "2027-01-15T08:15:00.000Z"}}
        for end, last in (
            (lambda: self.clock.pump([1] * 901), [expiring, (4403, "Token has expired")]),
            (lambda: self.ask(f"mutation {{ {DELETE_USER} }}", self.bob), [(4403, "Token revoked")]),
        ):
            self.gate.expires_at = self.clock.seconds() + 900
            client = self.client(self.bob)
            client.run("a", ROOM)
            for session in self.hub:
                session.last_received_at = float("inf")
            end()
            said = [message for message in client.heard() if message != {"type": "ping"}]
            self.assertEqual(said, last)
            client.hang_up()
            self.assertEqual(len(self.hub), 0)

    def test_who_ends_it_oneself_is_answered_before(self) -> None:
        for field in ("logout", DELETE_USER):
            client = self.client(self.bob)
            client.run("a", ROOM)
            self.assertEqual(
                client.run("1", f"mutation {{ {field} }}"),
                [next_("1", ANY), complete("1"), (4403, "Token revoked")],
            )
            client.hang_up()
            self.assertEqual((len(self.hub), self.streams.stats.active_subscriptions), (0, 0))
            self.clock.pump([1, REMEMBERED_FOR])

    def test_a_mutation_that_hangs_holds_no_farewell_for_ever(self) -> None:
        answer: Deferred[bytes] = Deferred()
        client = self.client(self.ann)
        with patch.object(OperationExecutor, "execute", lambda *_: answer):
            client.run("1", "mutation { logout }")
        client.run("2", ROOM)
        self.ask(f"mutation {{ {DELETE_USER} }}", self.ann)
        self.assertEqual(client.heard(), [])
        self.assertEqual(self.streams.stats.active_subscriptions, 0)
        self.turn(self.session_limits.close_timeout + 1)
        self.assertTrue(client.wire.aborted)
        client.hang_up()
        answer.callback(b"{}")
        self.assertEqual(client.heard(), [])

    def test_nothing_is_done_on_a_token_that_ran_out(self) -> None:
        """Not even between two ticks of the hub."""
        self.gate.expires_at = self.clock.seconds() + 0.5
        client = self.client(self.ann)
        self.clock.rightNow += 0.6
        self.assertEqual(
            client.run("1", 'mutation { updateUser(input: {name: "Eve"}) { id } }'),
            [(4403, "Token has expired")],
        )
        self.assertEqual(
            self.data("query($id: ID!) { user(id: $id) { name } }", self.bob, id=self.ann)["user"]["name"],
            "Ann",
        )

    def test_shutdown(self) -> None:
        client = self.client(self.ann)
        client.run("a", ROOM)
        stopped = self.hub.stopService()
        self.assertEqual(client.heard(), [(1001, "server is shutting down")])
        client.receive(close(1001))
        client.hang_up()
        self.successResultOf(stopped)

    def test_a_client_that_hangs_up(self) -> None:
        client = self.client(self.ann)
        client.run("a", ROOM)
        client.receive(close(1000))
        self.assertEqual(self.streams.stats.active_subscriptions, 0)
        self.assertEqual(client.heard(), [(1000, "")])
        self.assertTrue(client.wire.disconnecting)
        client.hang_up()
        self.assertEqual(len(self.hub), 0)

    def test_a_clogged_line_is_not_read_and_its_answers_wait(self) -> None:
        client = self.client(self.ann)
        client.run("a", ROOM)
        client.wire.producer.pauseProducing()
        self.assertFalse(client.wire.reading)
        self.assertEqual(client.run("1", "{ me { name } }"), [])
        self.publish(1)
        self.assertEqual(client.heard(), [])
        client.wire.producer.resumeProducing()
        self.assertTrue(client.wire.reading)
        kinds = sorted((message["id"], message["type"]) for message in client.heard())
        self.assertEqual(kinds, [("1", "complete"), ("1", "next"), ("a", "next")])

    def test_what_waited_may_clog_the_line_again(self) -> None:
        client = self.client(self.ann)
        client.run("a", ROOM)
        client.run("b", ROOM)
        producer, write = client.wire.producer, client.wire.write

        def write_and_clog(data: bytes) -> None:
            write(data)
            producer.pauseProducing()

        producer.pauseProducing()
        self.publish(1)
        self.patch(client.wire, "write", write_and_clog)
        for _ in range(2):
            producer.resumeProducing()
            self.assertFalse(client.wire.reading)
            self.assertEqual(len(client.heard()), 1)
        producer.resumeProducing()
        self.assertTrue(client.wire.reading)

    def test_a_mutation_of_a_clogged_line_is_answered_before_the_close(self) -> None:
        answer: Deferred[Any] = Deferred()
        client = self.client(self.ann)
        with patch.object(OperationExecutor, "execute", lambda *_: answer):
            client.run("1", "mutation { logout }")
        client.wire.producer.pauseProducing()
        self.ask(f"mutation {{ {DELETE_USER} }}", self.ann)
        self.assertEqual(client.heard(), [])
        answer.callback({"data": {"logout": True}})
        self.assertEqual(
            client.heard(), [next_("1", {"data": {"logout": True}}), complete("1"), (4403, "Token revoked")]
        )

    def test_what_waits_behind_the_farewell_ends_with_the_connection(self) -> None:
        answer: Deferred[Any] = Deferred()
        client = self.client(self.ann)
        with patch.object(OperationExecutor, "execute", lambda *_: answer):
            client.run("1", "mutation { logout }")
        self.ask(f"mutation {{ {DELETE_USER} }}", self.ann)
        client.wire.producer.pauseProducing()
        answer.callback({"data": {"logout": True}})
        self.assertEqual(client.heard(), [])
        operations = client.wire.protocol._running_operations
        self.assertEqual(operations._unanswered, 1)
        client.hang_up()
        self.assertEqual((client.heard(), operations._unanswered, len(self.hub)), ([], 0, 0))

    def test_a_slow_subscription_ends_alone(self) -> None:
        client = self.client(self.ann)
        client.run("a", ROOM)
        client.wire.producer.pauseProducing()
        for _ in range(8):
            self.publish("x" * 60_000)
        client.wire.producer.resumeProducing()
        *results, last = client.heard()
        self.assertEqual({result["type"] for result in results}, {"next"})
        self.assertEqual((last["type"], last["id"]), ("error", "a"))
        self.assertEqual(
            last["payload"][0]["extensions"],
            {"code": "SERVICE_UNAVAILABLE", "status": 503},
        )
        self.assertEqual(client.run("a", "{ health { status } }")[-1], complete("a"))

    def test_the_subscriptions_of_a_stalled_socket_are_bounded_together(self) -> None:
        """A hundred of them, each within its own bounds, once held 800 MB."""
        self.patch(websocket, "MAX_QUEUED_SIZE", 200_000)
        client = self.client(self.ann)
        for n in range(6):
            client.run(f"{n}", ROOM.replace("room", f"room{n}"))
        client.wire.producer.pauseProducing()
        publish = "mutation($topic: String!, $data: JSON) { publish(topic: $topic, data: $data) { topic } }"
        for n in range(6):
            self.data(publish, self.bob, topic=f"room{n}", data="x" * 60_000)
        self.assertEqual(self.streams.stats.slow_consumers_total, 3)
        client.wire.producer.resumeProducing()
        said = client.heard()
        self.assertEqual(sorted(m["id"] for m in said if m["type"] == "next"), ["0", "1", "2"])
        self.assertEqual(sorted(m["id"] for m in said if m["type"] == "error"), ["3", "4", "5"])
        self.data(publish, self.bob, topic="room0", data="y" * 60_000)
        self.assertEqual([message["type"] for message in client.heard()], ["next"])
        self.assertEqual(client.wire.protocol._budget.used_bytes, 0)

    def test_who_has_many_unanswered_is_not_read(self) -> None:
        client = self.client(self.ann)
        messages = [client.subscribe(f"{n}", "{ me { id } }") for n in range(PAUSE_READING_AT)]
        client.wire.protocol.dataReceived(b"".join(frame(TEXT, json.dumps(m).encode()) for m in messages))
        self.assertFalse(client.wire.reading)
        self.assertEqual(len(client.heard()), 2 * PAUSE_READING_AT)
        self.assertTrue(client.wire.reading)

    def test_a_session_with_enough_to_do_pauses_the_line(self) -> None:
        self.gate.slow = True
        client = Client(self)
        client.say({"type": "connection_init", "payload": {"authorization": f"Bearer token-{self.ann}"}})
        client.say(*[{"type": "ping"}] * 64)
        self.assertFalse(client.wire.reading)
        self.gate.release_one()
        self.assertEqual(client.heard(), [ACK] + [{"type": "pong"}] * 64)
        self.assertTrue(client.wire.reading)

    def test_too_large_a_message(self) -> None:
        client = self.client(self.ann)
        client.run("a", ROOM)
        client.receive(frame(TEXT, b"x" * (2**20 + 1)))
        self.assertEqual(client.heard()[0][0], 1009)
        self.assertEqual(self.streams.stats.active_subscriptions, 0)
        self.clock.pump([1] * 6)
        self.assertTrue(client.wire.aborted)


class SightTests(SocketCase):
    """An instance that is behind the log may have missed a revocation.

    docs/guarantees.md#g7-authority-is-current
    """

    SAY = 'mutation { publish(topic: "room", data: 1) { topic } }'

    def setUp(self) -> None:
        super().setUp()
        self.ear = self.client(self.bob)
        self.assertEqual(self.ear.run("ear", ROOM), [])
        self.mouth = self.client(self.ann)
        read, self.sight = InlineStore.read_after, Deferred[None]()

        def after(store: InlineStore, position: int, limit: int) -> Any:
            seen: Deferred[None] = Deferred()
            self.sight.addCallback(lambda _: seen.callback(None))
            return seen.addCallback(lambda _: read(store, position, limit))

        self.patch(InlineStore, "read_after", after)
        self.turn(STALE_AFTER + 0.1)

    def see(self) -> None:
        self.sight.callback(None)
        for _ in range(5):
            self.turn()

    def test_operations_wait_for_it(self) -> None:
        self.assertEqual(self.mouth.run("1", self.SAY), [])
        self.see()
        done = {"publish": {"topic": "room"}}
        self.assertEqual(self.mouth.heard(), [next_("1", {"data": done}), complete("1")])
        self.assertEqual(self.ear.heard(), [next_("ear", {"data": {"topic": {"data": 1}}})])

    def test_they_wait_so_long_and_are_refused(self) -> None:
        self.assertEqual(self.mouth.run("1", self.SAY), [])
        self.turn(COMMAND_GRACE)
        [refused] = self.mouth.heard()
        self.assertEqual((refused["id"], refused["type"]), ("1", "error"))
        self.assertEqual(refused["payload"][0]["extensions"]["code"], "SERVICE_UNAVAILABLE")
        self.see()
        self.assertEqual((self.mouth.heard(), self.ear.heard()), ([], []))

    def test_what_waited_is_not_obeyed_on_rights_that_ended_meanwhile(self) -> None:
        self.assertEqual(self.mouth.run("1", self.SAY), [])
        self.done(self.sessions.logout(Identity(self.ann, f"session-{self.ann}", self.gate.expires_at)))
        self.see()
        self.assertEqual(self.mouth.heard(), [(4403, "Token revoked")])
        self.assertEqual(self.ear.heard(), [])

    def test_who_is_nobody_has_no_rights_that_could_end(self) -> None:
        nobody = self.client()
        self.assertEqual(nobody.run("1", "{ health { status } }")[-1], complete("1"))
