"""A user gets everything wrong with their secrets, on every road; nobody is told one of them.

docs/predecessor-faults.md#fault-14
"""

from __future__ import annotations

import json
from typing import Any, Iterator

import treq
from twisted.logger import globalLogPublisher

from multiproto.observe.logs import make_observer
from tests.canary import PASSWORD

from .clients import Device, Rest, WebSocket
from .operators import look_over
from .running import LiveCase, Shared

LOGIN = 'mutation($p: String!) { login(email: "ann@example.org", password: $p) { token } }'
REGISTER = "mutation($input: RegisterInput!) { register(input: $input) { id } }"


def operations(secret: str) -> Iterator[dict[str, Any]]:
    """GraphQL requests that are all wrong."""
    quoted = json.dumps(secret)
    for query in (
        f'mutation {{ login(email: "ann@example.org", password: {quoted}) {{ nope }} }}',
        f'mutation {{ login(email: "ann@example.org", password: {{ a: {quoted} }}) {{ token }} }}',
        f"mutation {{ login(email: 1, password: [{quoted}]) {{ token }} }}",
        f'mutation {{ login(email: "ann@example.org", passwort: {quoted}) {{ token }} }}',
        f'mutation {{ login(email "ann@example.org", password: {quoted}) {{ token }} }}',
        f'mutation {{ login(email: "a@example.org" {quoted}) {{ token }} }}',
        f'mutation {{ login(email: "a@example.org", password: {quoted} }}',
        f'mutation {{ register(input: {{ email: "x", password: {quoted} }}) {{ id }} }}',
        f"mutation {{ refresh(refreshToken: {quoted}, again: 1) {{ token }} }}",
        f"mutation {{ refresh(refreshToken: {json.dumps(secret + 'x')}) {{ token }} }}",
    ):
        yield {"query": query}
    for value in ({"a": secret}, [secret], None):
        yield {"query": LOGIN, "variables": {"p": value, secret: secret}}
    for fields in (
        {"password": secret},
        {"email": 1, "name": [], "password": {secret: secret}},
        [secret],
        secret,
    ):
        yield {"query": REGISTER, "variables": {"input": fields}}


def malformed_operations(secret: str) -> Iterator[dict[str, Any]]:
    """Likewise, which end a socket: docs/graphql.md#over-websocket."""
    yield {"query": LOGIN, "variables": secret}
    yield {"query": LOGIN, "variables": {"p": secret}, "operationName": [secret]}


class SecretTests(LiveCase):
    async def asyncSetUp(self) -> None:
        self.said: list[str] = []  # by the server, to whomever
        for pretty in (False, True):
            lines = make_observer("debug", pretty, self.said.append)
            globalLogPublisher.addObserver(lines)
            self.addCleanup(globalLogPublisher.removeObserver, lines)
        self.ann = await self.person("ann")
        fields = {"email": "ann@example.org", "password": PASSWORD}
        _, login = await Rest(self.address).ask("POST", "/api/v1/auth/login", fields)
        asked = {"name": "pump", "grants": [{"pattern": "room.*", "verbs": ["publish"]}]}
        _, made = await self.ann.rest.ask("POST", "/api/v1/auth/credentials", asked)
        self.refresh = login["data"]["refreshToken"]
        self.secrets = [PASSWORD, login["data"]["token"], self.refresh, made["data"]["credential"]]
        self.said.clear()

    async def test_what_goes_wrong_tells_no_secret(self) -> None:
        for secret in self.secrets:
            await self.requests(secret)
            await self.graphql(secret)
            await self.connections(secret)
        self.said.append(await look_over(self.addresses[0]))
        self.assertGreater(len(self.said), 400)
        for secret in self.secrets:
            for text in self.said:
                self.assertNotIn(secret, text)
                self.assertNotIn(json.dumps(secret)[1:-1], text)

    async def request(self, method: str, path: str, body: bytes, **headers: str) -> None:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Content-Type", "application/json")
        url = self.address.url(path)
        response = await treq.request(
            method, url, data=body or None, headers=sent, agent=self.ann.rest.agent(self.address)
        )
        text = await treq.text_content(response)
        self.assertGreaterEqual(response.code, 400, (path, text))
        self.said += [text, str(list(response.headers.getAllRawHeaders()))]

    async def requests(self, secret: str) -> None:
        for fields in (
            {"email": [secret], "password": {"a": secret}},
            {"email": "ann@example.org", "password": secret + "x", secret: secret},
            {"email": secret, "name": 1, "password": secret * 9},
            {"refreshToken": secret + "x"},
            {"refreshToken": [secret]},
            [secret],
        ):
            for path in ("login", "register", "refresh"):
                await self.request("POST", f"/api/v1/auth/{path}", json.dumps(fields).encode())
            mine = {"Authorization": f"Bearer {self.ann.token}"}
            path = f"/api/v1/users/{self.ann.id}"
            await self.request("PUT", path, json.dumps(fields).encode() + b"}", **mine)
        for body in (b'{"password":"%s' % secret.encode(), b'{"password":"%s" "' % secret.encode()):
            await self.request("POST", "/api/v1/auth/login", body)
            await self.request("POST", "/api/v1/auth/login", body, Content_Type="text/plain")
            await self.request(
                "POST", "/api/v1/auth/login", body, Content_Type="multipart/form-data; boundary=x"
            )
            await self.request(
                "POST", "/api/v1/auth/login", body, Content_Type="application/x-www-form-urlencoded"
            )
        for header in (f"Bearer {secret}x", f"Basic {secret}", secret, f"Bearer {secret} {secret}"):
            await self.request("GET", "/api/v1/auth/me", b"", Authorization=header)
            await self.request("GET", "/api/v1/topics/room.1/events", b"", Authorization=header)
        await self.request("GET", f"/api/v1/auth/me?token={secret}&access_token={secret}", b"")

    async def graphql(self, secret: str) -> None:
        for operation in (*operations(secret), *malformed_operations(secret)):
            answer = await Rest(self.address).ask("POST", "/graphql", operation)
            self.assertIn("errors", answer[1], operation)
            self.said.append(json.dumps(answer))
        socket = await self.graphql_socket()
        for number, operation in enumerate(operations(secret)):
            said = await socket.ask(type="subscribe", id=str(number), payload=operation)
            self.said.append(json.dumps(said))
            if said["type"] == "next":
                self.said.append(json.dumps(await socket.inbox.next()))
        await socket.close()
        for operation in malformed_operations(secret):
            socket = await self.graphql_socket()
            socket.say(type="subscribe", id="1", payload=operation)
            code, reason = await socket.inbox.closed
            self.assertEqual(code, 4400)
            self.said.append(reason)
        for token in (f"Bearer {secret}x", f"Basic {secret}"):
            socket = await WebSocket.open(self.address, "/graphql", ("graphql-transport-ws",))
            socket.say(type="connection_init", payload={"authorization": token})
            self.said.append(str(await socket.inbox.closed))

    async def graphql_socket(self) -> WebSocket:
        socket = await WebSocket.open(self.address, "/graphql", ("graphql-transport-ws",))
        await socket.ask(type="connection_init")
        return socket

    async def connections(self, secret: str) -> None:
        socket, device = await WebSocket.open(self.address), await Device.open(self.address)
        for token in (secret + "x", [secret], {"a": secret}):
            self.said.append(json.dumps(await socket.ask(type="auth", token=token)))
            self.said.append(json.dumps(await device.ask(0x01, token=token)))
        self.said.append(json.dumps(await socket.ask(type=secret, password=secret)))
        for body in (
            b"\x01" + json.dumps(secret).encode(),
            b'\x01{"token":"' + secret.encode(),
            b"\x7f" + secret.encode(),
        ):
            device.transport.write(len(body).to_bytes(4, "big") + body)
            self.said.append(json.dumps(await device.inbox.next()))
        await socket.close()
        await device.close()


class SharedSecretTests(Shared, SecretTests):
    """With PostgreSQL and Redis, whose addresses have passwords too."""
