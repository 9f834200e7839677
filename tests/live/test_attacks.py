"""Every door of a real server, tried with every attack on tokens: all say the same, and none stays shut after it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any, Awaitable, Callable

import jwt
import treq
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.client import Agent

from multiproto.config import Config
from tests.canary import PASSWORD, SECRET

from ..auth.attacks import Target
from ..auth.pems import ed25519, p256, private, public
from .clients import Address, Device, Person, Rest, WebSocket
from .running import LiveCase

JWKS = "/.well-known/jwks.json"
GRAPHQL = "graphql-transport-ws"

Door = Callable[[Address, str], Awaitable[str]]  # what it says to a token: "" if it opens


# Doors that a token comes to in a header.


async def by_rest(address: Address, token: str) -> str:
    return await refused_by_http(address, "GET", "/api/v1/auth/me", token)


async def by_rest_stream(address: Address, token: str) -> str:
    return await refused_by_http(address, "GET", "/api/v1/topics/room.1/events", token)


async def refused_by_http(address: Address, method: str, path: str, token: str) -> str:
    response = await treq.request(
        method, address.url(path), agent=Agent(reactor), headers={"Authorization": f"Bearer {token}"}
    )
    if response.code == 200:
        return ""
    error = json.loads(await response.content())["error"]
    assert (response.code, error["code"]) == (401, 4), error
    assert response.headers.getRawHeaders("WWW-Authenticate") == ["Bearer"]
    return str(error["message"])


async def by_graphql(address: Address, token: str) -> str:
    return refused_by_graphql(await Rest(address, token).graphql("{ me { id } }"))


async def by_graphql_stream(address: Address, token: str) -> str:
    """Refused with the first event, and ended."""
    events = await Rest(address, token).events("POST", "/graphql", {"query": "{ me { id } }"})
    kind, said = await events.inbox.next()
    assert (kind, await events.inbox.next()) == ("next", ("complete", None))
    return refused_by_graphql(said)


def refused_by_graphql(answer: Any) -> str:
    if "errors" not in answer:
        return ""
    [error] = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["status"]) == ("UNAUTHORIZED", 401), error
    assert answer["data"] == {"me": None}
    return str(error["message"])


async def by_handshake(address: Address, token: str) -> str:
    """The handshake is done before anybody looks; the connection stays, for another try."""
    socket = await WebSocket.open(address, Authorization=f"Bearer {token}")
    said = await socket.inbox.next()
    assert (await socket.ask(type="ping"))["type"] == "pong"
    await socket.close()
    return refused_by_websocket(said)


async def by_graphql_handshake(address: Address, token: str) -> str:
    socket = await WebSocket.open(address, "/graphql", (GRAPHQL,), Authorization=f"Bearer {token}")
    return await begun(socket, {})


async def begun(socket: WebSocket, payload: dict[str, str]) -> str:
    """What becomes of `connection_init`: the protocol knows no other way to decline it than to close."""
    socket.say(type="connection_init", payload=payload)
    code, reason = await socket.inbox.closed
    assert (code, socket.inbox.rest()) == (4403, []), (code, reason)
    return str(reason)


HEADERS: tuple[Door, ...] = (
    *(by_rest, by_rest_stream, by_graphql, by_graphql_stream, by_handshake, by_graphql_handshake),
)


# Those that it comes to in a message.


async def by_params(address: Address, token: str) -> str:
    socket = await WebSocket.open(address, "/graphql", (GRAPHQL,))
    return await begun(socket, {"authorization": f"Bearer {token}"})


def refused_by_websocket(said: Any) -> str:
    assert (said["type"], said["code"], said["name"]) == ("auth_error", 401, "UNAUTHORIZED"), said
    return str(said["message"])


def refused_by_tcp(said: Any) -> str:
    kind, fields = said
    assert (kind, fields["code"]) == (0x03, "4"), said
    return str(fields["error"])


class AttacksTests(LiveCase):
    """A server with a key that signs, one of another kind that verifies, and a secret."""

    def configure(self, config: Config) -> Config:
        self.edwards, self.p256 = ed25519(), p256()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.signing, self.others = folder / "signing.pem", folder / "others.pem"
        self.signing.write_bytes(private(self.edwards))
        self.signing.chmod(0o600)
        self.others.write_bytes(public(self.p256))
        config = super().configure(config)
        files = {"private_key_file": str(self.signing), "public_key_files": (str(self.others),)}
        return evolve(config, auth=evolve(config.auth, jwt_secret=SECRET, **files))

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")
        claims = jwt.decode(self.ann.token, options={"verify_signature": False})
        self.target = Target(claims, SECRET, self.edwards, self.p256)

    async def enters_everywhere(self, token: str) -> None:
        person = Person(self.address, Rest(self.address, token), self.ann.id)
        self.assertEqual((await person.rest.ask("GET", "/api/v1/auth/me"))[0], 200)
        self.assertEqual((await person.rest.graphql("{ me { id } }"))["data"], {"me": {"id": self.ann.id}})
        for open in (person.websocket, person.device, person.graphql_socket):
            await open()
        await person.leave()

    async def test_what_they_are_made_of_is_good(self) -> None:
        for token in (self.ann.token, *self.target.good()):
            await self.enters_everywhere(token)

    async def test_doors_of_headers(self) -> None:
        """Whatever can stand in a header comes to each of them."""
        attacks = [each for each in self.target.attacks() if re.fullmatch("[!-~]+", each[1])]
        self.assertGreater(len(attacks), 200)
        for door in HEADERS:
            said = [(name, await door(self.address, token)) for name, token in attacks]
            self.assertEqual([each for each in said if each[1] != "Invalid token"], [], door.__name__)
        await self.enters_everywhere(self.ann.token)

    async def test_doors_of_messages(self) -> None:
        """One WebSocket and one TCP connection stand all of them, and then let the right one in."""
        attacks = [*self.target.attacks(), ("by far too long", "A" * 15_000)]
        socket, device = await WebSocket.open(self.address), await Device.open(self.address)
        said = []
        for name, token in attacks:
            said.append((name, refused_by_websocket(await socket.ask(type="auth", token=token))))
            said.append((name, refused_by_tcp(await device.ask(0x01, token=token))))
        self.assertEqual([each for each in said if each[1] != "Invalid token"], [])
        self.assertEqual((await socket.ask(type="auth", token=self.ann.token))["type"], "auth_success")
        self.assertEqual((await device.ask(0x01, token=self.ann.token))[0], 0x02)
        await socket.close()
        await device.close()

    async def test_connection_params(self) -> None:
        attacks = [each for each in self.target.attacks() if each[1].strip() == each[1]]
        said = [(name, await by_params(self.address, token)) for name, token in attacks]
        self.assertEqual([each for each in said if each[1] != "Invalid token"], [])

    async def test_each_token_for_its_own_end(self) -> None:
        """A refresh token opens no door, and an access token refreshes nothing."""
        fields = {"email": "ann@example.org", "password": PASSWORD}
        _, login = await Rest(self.address).ask("POST", "/api/v1/auth/login", fields)
        access, refresh = login["data"]["token"], login["data"]["refreshToken"]
        for door in (*HEADERS, by_params):
            self.assertEqual(await door(self.address, refresh), "Invalid token", door.__name__)
        status, answer = await Rest(self.address).ask(
            "POST", "/api/v1/auth/refresh", {"refreshToken": access}
        )
        self.assertEqual((status, answer["error"]["code"]), (401, 4))
        query = "mutation($token: String!) { refresh(refreshToken: $token) { token } }"
        answer = await Rest(self.address).graphql(query, token=access)
        self.assertEqual(answer["errors"][0]["extensions"]["code"], "UNAUTHORIZED")
        status, _ = await Rest(self.address).ask("POST", "/api/v1/auth/refresh", {"refreshToken": refresh})
        self.assertEqual(status, 200)

    async def test_a_key_is_turned_while_all_stay(self) -> None:
        """What others verify with follows; connections do not notice."""
        device = await self.ann.device()
        await self.others_verify(self.ann.token)
        new = ed25519()
        self.others.write_bytes(public(self.edwards) + public(new))
        self.signing.write_bytes(private(new))
        await self.hang_up()
        bob = await self.person("bob")
        await self.others_verify(self.ann.token)
        await self.others_verify(bob.token)
        await self.enters_everywhere(self.ann.token)
        self.others.write_bytes(public(new))
        await self.hang_up()
        self.assertEqual(await by_rest(self.address, self.ann.token), "Invalid token")
        self.assertEqual((await bob.rest.ask("GET", "/api/v1/auth/me"))[0], 200)
        self.assertEqual((await device.ask(0x30))[0], 0x31)

    async def hang_up(self) -> None:
        """Files, which hold other keys than before, are read anew."""
        before = await self.published_keys()
        os.kill(os.getpid(), signal.SIGHUP)
        while await self.published_keys() == before:
            await deferLater(reactor, 0.01)

    async def published_keys(self) -> Any:
        response = await treq.get(self.address.url(JWKS), agent=Agent(reactor))
        return await response.json()

    async def others_verify(self, token: str) -> None:
        """A service that knows only where the keys are."""
        keys = jwt.PyJWKSet.from_dict(await self.published_keys())
        key = keys[jwt.get_unverified_header(token)["kid"]]
        self.assertEqual(jwt.decode(token, key)["typ"], "access")
