"""Sessions on real connections: what ends them ends on every road, and a fresh token carries them on."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from attrs import evolve
from twisted.internet.defer import Deferred

from multiproto.config import Config
from multiproto.core.connections import timers
from multiproto.core.transactions import Query
from tests.canary import PASSWORD

from .clients import Device, Inbox, Person, Rest, WebSocket
from .running import LiveCase, Shared

LIFETIME = 15.0  # seconds of a token that runs out
TOPIC = 'subscription { topic(pattern: "room.*") { data } }'


class EndingTests(LiveCase):
    """Everything that lives on a session is closed: WebSocket, TCP, both streams and GraphQL's socket."""

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")
        self.bob = await self.person("bob")

    async def other(self) -> Rest:
        """Another session of Ann's, on the next instance."""
        rest = Rest(self.place())
        fields = {"email": "ann@example.org", "password": PASSWORD}
        status, answer = await rest.ask("POST", "/api/v1/auth/login", fields)
        assert status == 200, answer
        rest.token = answer["data"]["token"]
        return rest

    async def live(self, person: Person) -> list[Deferred[Any]]:
        """One connection of each kind, subscribed; each fires with how it ended."""
        socket, device = await person.websocket(), await person.device()
        assert (await socket.ask(type="subscribe", topic="room.*"))["type"] == "subscribed"
        assert (await device.ask(0x10, topic="room.*"))[0] == 0x12
        graphql = await person.graphql_socket()
        graphql.say(type="subscribe", id="1", payload={"query": TOPIC})
        assert (await graphql.ask(type="ping"))["type"] == "pong"
        rest = await person.stream("GET", f"/api/v1/topics/{quote('room.*')}/events")
        assert (await rest.inbox.next())[0] == "subscribed"
        stream = await person.stream("POST", "/graphql", {"query": TOPIC})

        async def device_ended() -> Any:
            await device.inbox.closed
            return device.inbox.rest()

        async def stream_ended(events: Any) -> Any:
            await events.inbox.closed
            return events.inbox.rest()

        return [
            socket.inbox.closed,
            Deferred.fromCoroutine(device_ended()),
            graphql.inbox.closed,
            Deferred.fromCoroutine(stream_ended(rest)),
            Deferred.fromCoroutine(stream_ended(stream)),
        ]

    async def ended(self, live: list[Deferred[Any]]) -> None:
        """Each said why in its own manner."""
        socket, device, graphql, rest, stream = [await each for each in live]
        self.assertEqual(socket[0], 4401)
        self.assertEqual(device, [(0xFF, {"error": "Token revoked", "code": "4"})])
        self.assertEqual(graphql, (4403, "Token revoked"))
        self.assertEqual(rest, [("farewell", {"reason": "revoked", "message": "Token revoked"})])
        self.assertEqual([event for event, _ in stream], ["next", "complete"])
        self.assertEqual(stream[0][1]["errors"][0]["extensions"]["code"], "UNAUTHORIZED")

    async def go_on(self, live: list[Deferred[Any]]) -> None:
        self.assertEqual([each.called for each in live], [False] * len(live))

    async def test_logging_out_everywhere(self) -> None:
        """From another session, on another instance; somebody else's go on."""
        mine, theirs, other = await self.live(self.ann), await self.live(self.bob), await self.other()
        self.assertEqual((await other.ask("POST", "/api/v1/auth/logout-all"))[0], 204)
        await self.ended(mine)
        await self.go_on(theirs)
        self.assertEqual((await self.ann.rest.ask("GET", "/api/v1/auth/me"))[0], 401)
        self.assertEqual((await other.ask("GET", "/api/v1/auth/me"))[0], 401)

    async def test_a_new_password(self) -> None:
        """The session that set it goes on; here it has nothing live."""
        mine, other = await self.live(self.ann), await self.other()
        fields = {"password": "An0ther!!"}
        self.assertEqual((await other.ask("PUT", f"/api/v1/users/{self.ann.id}", fields))[0], 200)
        await self.ended(mine)
        self.assertEqual((await other.ask("GET", "/api/v1/auth/me"))[0], 200)

    async def test_one_session_of_several(self) -> None:
        mine, other = await self.live(self.ann), await self.other()
        _, listed = await other.ask("GET", "/api/v1/auth/sessions")
        (theirs,) = [session["id"] for session in listed["data"] if session["current"]]
        (ours,) = [session["id"] for session in listed["data"] if not session["current"]]
        self.assertEqual((await self.ann.rest.ask("DELETE", f"/api/v1/auth/sessions/{theirs}"))[0], 204)
        await self.go_on(mine)
        again = await self.other()
        answer = await again.graphql(f'mutation {{ revokeSession(id: "{ours}") }}')
        self.assertEqual(answer["data"], {"revokeSession": True})
        await self.ended(mine)

    async def test_who_did_it_is_in_the_trail(self) -> None:
        other = await self.other()
        await other.ask("POST", "/api/v1/auth/logout-all")
        _, answer = await (await self.other()).ask("GET", "/api/v1/auth/audit?action=logout")
        (note,) = answer["data"]["data"]
        self.assertEqual(
            (note["actor"], note["protocol"], note["address"], note["details"]),
            (self.ann.id, "rest", "127.0.0.1", {"all": True, "sessions": 2}),
        )


class SharedEndingTests(Shared, EndingTests):
    """What was ended on one of two instances ends on the other."""


class ExpiryTests(LiveCase):
    """The server warns that a token ends, the client sends a fresh one, and nothing is missed."""

    def configure(self, config: Config) -> Config:
        """The warning comes a second after the token: that leaves time for a slow client."""
        config = super().configure(config)
        self.patch(timers, "MIN_WARN_BEFORE", LIFETIME - 1.0)
        return evolve(config, auth=evolve(config.auth, access_token_lifetime=LIFETIME))

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")
        self.warnings: list[Any] = []

    async def fresh(self) -> str:
        fields = {"email": "ann@example.org", "password": PASSWORD}
        _, answer = await Rest(self.address).ask("POST", "/api/v1/auth/login", fields)
        self.ann.rest.token = answer["data"]["token"]
        return self.ann.token

    async def next(self, inbox: Inbox) -> Any:
        """What came next besides warnings."""
        while self.is_warning(said := await inbox.next()):
            pass
        return said

    async def warned(self, inbox: Inbox, times: int) -> None:
        """Returns when it was warned so many times in all."""
        while len(self.warnings) < times:
            self.assertTrue(self.is_warning(await inbox.next()))

    def is_warning(self, said: Any) -> bool:
        """On either protocol; noted."""
        kind, fields = said if isinstance(said, tuple) else (said["type"], said)
        if kind in ("expiring", 0x04):
            self.warnings.append(fields["expiresAt"])
        return kind in ("expiring", 0x04)

    async def test_a_websocket(self) -> None:
        socket = await self.ann.websocket()
        socket.say(type="subscribe", topic="room.1", id=1)
        self.assertEqual((await self.next(socket.inbox))["type"], "subscribed")
        for turn in range(2):
            await self.warned(socket.inbox, turn + 1)
            socket.say(type="auth", token=await self.fresh())
            self.assertEqual((await self.next(socket.inbox))["type"], "auth_success")
            socket.say(type="message", topic="room.1", data=turn)
            self.assertEqual((await self.next(socket.inbox))["data"], turn)
        await self.warned(socket.inbox, 3)
        self.assertEqual((await socket.inbox.closed)[0], 4401)
        self.assertEqual(self.warnings, sorted(set(self.warnings)))

    async def test_a_device(self) -> None:
        device = await self.ann.device()
        device.say(0x10, topic="room.1", id=1)
        self.assertEqual((await self.next(device.inbox))[0], 0x12)
        for turn in range(2):
            await self.warned(device.inbox, turn + 1)
            device.say(0x01, token=await self.fresh())
            self.assertEqual((await self.next(device.inbox))[0], 0x02)
            device.say(0x20, topic="room.1", content=turn)
            kind, said = await self.next(device.inbox)
            self.assertEqual((kind, said["content"]), (0x21, turn))
        await self.warned(device.inbox, 3)
        await device.inbox.closed
        self.assertEqual(self.warnings, sorted(set(self.warnings)))
        self.assertEqual(device.inbox.rest(), [(0xFF, {"error": "Token has expired", "code": "4"})])


class AttemptsTests(LiveCase):
    async def test_a_storm_of_forged_tokens_is_a_row_for_each_protocol(self) -> None:
        """A thousand on TCP, some on the others; nothing of the tokens is kept."""
        ann = await self.person("ann")
        device = await Device.open(self.address)
        for _ in range(1000):
            device.say(0x01, token="forged")
        for _ in range(1000):
            self.assertEqual((await device.inbox.next())[0], 0x03)
        await device.close()
        socket = await WebSocket.open(self.address)
        self.assertEqual((await socket.ask(type="auth", token="forged"))["type"], "auth_error")
        await socket.close()
        self.assertEqual((await Rest(self.address, "forged").ask("GET", "/api/v1/auth/me"))[0], 401)
        await Rest(self.address, "forged").graphql("{ me { id } }")
        socket = await WebSocket.open(self.address, "/graphql", ("graphql-transport-ws",))
        socket.say(type="connection_init", payload={"authorization": "Bearer forged"})
        self.assertEqual((await socket.inbox.closed)[0], 4403)
        await self.server.getServiceNamed("failed-attempts").stopService()
        store = self.server.getServiceNamed("store")
        asked = {"action": "token", "limit": 100, "offset": 0, "bound": 2**63 - 1}
        rows = (await store.read(Query("audit_page_by_action", asked))).results[0]
        self.assertEqual(
            sorted((row["protocol"], row["times"], row["address"], row["subject"]) for row in rows),
            [
                ("graphql", 2, "127.0.0.1", None),
                ("rest", 1, "127.0.0.1", None),
                ("tcp", 1000, "127.0.0.1", None),
                ("websocket", 1, "127.0.0.1", None),
            ],
        )
        self.assertEqual((await ann.rest.ask("GET", "/api/v1/auth/me"))[0], 200)
