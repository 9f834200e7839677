"""The faults of docs/predecessor-faults.md that only a whole server can show; a failure logged fails the test."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.client import Agent

from ..timing import Stopwatch
from .clients import Rest, WebSocket, frame
from .running import LiveCase

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


async def moment(seconds: float = 0.05) -> None:
    await deferLater(reactor, seconds)  # type: ignore[arg-type]


class FaultTests(LiveCase):
    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")

    async def still_fine(self) -> None:
        """The server serves, and somebody who subscribed before still hears."""
        status, _ = await self.ann.rest.ask("GET", "/api/v1/auth/me")
        self.assertEqual(status, 200)

    async def test_1_an_unauthenticated_reset(self) -> None:
        for port in (self.address.tcp, self.address.http):
            for said in (b"", b"\x00\x00", b"GET / HT"):
                rude = socket.create_connection((self.address.host, port))
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                rude.sendall(said)
                await moment(0.01)
                rude.close()
        await moment()
        await self.still_fine()

    async def test_2_a_subscription_without_a_topic(self) -> None:
        listener = await self.ann.websocket()
        await listener.ask(type="subscribe", topic="room.1")
        rude = await self.ann.websocket()
        for fields in ({}, {"topic": None}, {"topic": 1}, {"topic": ""}, {"topic": {}}):
            answer = await rude.ask(type="subscribe", **fields)
            self.assertEqual(
                (answer["type"], answer["code"], answer["name"]), ("error", 400, "VALIDATION_ERROR")
            )
        rude.say(type="message", topic="room.1", data="still here")
        self.assertEqual((await listener.inbox.next())["data"], "still here")

    async def test_4_subscriptions_of_those_who_left(self) -> None:
        for _ in range(20):
            listener = await self.ann.websocket()
            await listener.ask(type="subscribe", topic="room.*")
            await listener.close()
        while await self.connections() != (0, 0):
            await moment()

    async def connections(self) -> tuple[int, int]:
        """How many subscriptions and connections the server counts on WebSocket."""
        _, stats = await Rest(self.metrics()).ask("GET", "/stats")
        found = stats["protocols"]["websocket"]["connections"]
        return found["totalSubscriptions"], found["activeConnections"]

    def metrics(self) -> Any:
        from attrs import evolve

        return evolve(self.address, http=self.address.metrics)

    async def test_8_raw_paths_are_no_labels(self) -> None:
        for n in range(5):
            await Rest(self.address).ask("GET", f"/made-up/{n}")
            await self.ann.rest.ask("GET", f"/api/v1/users/{n}")
        text = await self.scrape()
        self.assertNotIn("made-up", text)
        self.assertIn('path="/api/v1/users/:id"', text)

    async def scrape(self) -> str:
        response = await treq.get(self.metrics().url("/metrics"), agent=Agent(reactor))
        return str(await response.text())

    async def test_15_a_deleted_user_is_gone_everywhere(self) -> None:
        socket, device, graphql = (
            await self.ann.websocket(),
            await self.ann.device(),
            await self.ann.graphql_socket(),
        )
        stream = await self.ann.stream("GET", "/api/v1/topics/room.1/events")
        revoking = Stopwatch()
        status, _ = await self.ann.rest.ask("DELETE", f"/api/v1/users/{self.ann.id}")
        self.assertEqual(status, 204)
        self.assertEqual((await socket.inbox.closed)[0], 4401)
        self.assertEqual((await graphql.inbox.closed)[0], 4403)
        await device.inbox.closed
        await stream.inbox.closed
        revoking.stop("a deleted account's connections end", 1.0)
        self.assertEqual(device.inbox.rest()[-1], (0xFF, {"error": "Token revoked", "code": "4"}))
        self.assertEqual((await self.ann.rest.ask("GET", "/api/v1/auth/me"))[0], 401)
        again = await WebSocket.open(self.address)
        self.assertEqual((await again.ask(type="auth", token=self.ann.token))["code"], 401)
        await again.close()

    async def test_18_required_graphql_variables(self) -> None:
        query = "query($id: ID!) { user(id: $id) { id name } }"
        answer = await self.ann.rest.graphql(query, id=self.ann.id)
        self.assertEqual(answer["data"], {"user": {"id": self.ann.id, "name": "ann"}})
        answer = await self.ann.rest.graphql(query)
        self.assertIn("$id", answer["errors"][0]["message"])

    async def test_19_each_change_is_told_once_and_by_its_name(self) -> None:
        listener = await self.ann.websocket()
        await listener.ask(type="subscribe", topic="users.**")
        await self.ann.rest.ask("PUT", f"/api/v1/users/{self.ann.id}", {"name": "Anna"})
        bob = await self.person("bob")
        await bob.rest.ask("DELETE", f"/api/v1/users/{bob.id}")
        kinds = [(await listener.inbox.next())["metadata"]["eventType"] for _ in range(3)]
        self.assertEqual(kinds, ["user.updated", "user.created", "user.deleted"])
        self.assertEqual(listener.inbox.rest(), [])

    async def test_21_errors_have_their_own_names_and_an_id(self) -> None:
        agent = Agent(reactor)
        for method, path, body, headers, status, code in [
            ("POST", "/api/v1/auth/login", b"{", {}, 400, 1),
            ("POST", "/api/v1/auth/login", b"[]", {}, 400, 1),
            ("POST", "/api/v1/auth/login", b"{}", {"Content-Type": "text/plain"}, 415, None),
            ("GET", "/nowhere", None, {}, 404, 3),
            ("PUT", "/api/v1/auth/login", b"{}", {}, 405, None),
            ("GET", "/api/v1/auth/me", None, {}, 401, 4),
        ]:
            response = await treq.request(
                method,
                self.address.url(path),
                data=body,
                headers={"Content-Type": "application/json", "X-Correlation-ID": "mine", **headers},
                agent=agent,
            )
            answer = json.loads(await response.content())
            self.assertEqual((response.code, answer["success"]), (status, False), (method, path, answer))
            self.assertEqual(response.headers.getRawHeaders("x-correlation-id"), ["mine"])
            if code is not None:
                self.assertEqual(answer["error"]["code"], code)

    async def test_27_metrics_move(self) -> None:
        """One round of everything, and what was declared has counted it."""
        socket, device = await self.ann.websocket(), await self.ann.device()
        await socket.ask(type="subscribe", topic="room.1")
        await device.ask(0x10, topic="messages")
        await device.ask(0x20, topic="room.1", content=1, id=1)
        await self.ann.rest.ask("POST", "/api/v1/messages", {"content": "x", "channelId": "c"})
        await self.ann.rest.graphql("{ me { id } }")
        device.transport.write(frame(0x77))
        await device.inbox.next()
        while "\nreactor_lag_seconds_count 0.0\n" in (text := await self.scrape()):
            await moment()  # the lag is noted every half second
        moved = {
            line.split("{")[0].split(" ")[0]
            for line in text.splitlines()
            if line[:1] != "#" and line.split()[-1] not in ("0", "0.0")
        }
        for name in (
            "http_requests_total",
            "http_request_duration_seconds_count",
            "http_response_size_bytes_count",
            "events_emitted_total",
            "events_handled_total",
            "database_queries_total",
            "database_query_duration_seconds_count",
            "database_connections_active",
            "log_position",
            "reactor_lag_seconds_count",
            "tcp_message_duration_seconds_count",
            "auth_attempts_total",
            "auth_success_total",
            "tcp_connections_total",
            "tcp_connections_active",
            "tcp_messages_received_total",
            "tcp_messages_sent_total",
            "tcp_bytes_received_total",
            "tcp_bytes_sent_total",
            "tcp_frames_parsed_total",
            "tcp_frame_errors_total",
            "websocket_messages_sent_total",
            "graphql_operations_total",
            "graphql_operation_duration_seconds_count",
        ):
            self.assertIn(name, moved)
