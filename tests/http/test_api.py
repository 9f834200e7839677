"""The routes of accounts and messages, from bytes to rows and back: real store, real tokens."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from multiproto.auth.keys import KeyRing
from multiproto.auth.tokens import JwtTokens
from multiproto.base import strict_json
from multiproto.broker.memory import MemoryBroker
from multiproto.core.connections.admission import Admission, ConnectionLimits
from multiproto.core.connections.hub import Hub
from multiproto.core.domain.messages import Messages
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import Namespaces
from multiproto.core.pubsub.policy import Policy
from multiproto.core.pubsub.publisher import Publisher
from multiproto.core.pubsub.replay import ReplayReader
from multiproto.core.ratelimit.fixed_window import RateLimit, RequestLimits
from multiproto.http.wiring import SiteParts, make_site
from multiproto.log.follower import Follower
from multiproto.observe.protocol_stats import ProtocolStats
from tests.canary import PASSWORD

from ..fakes import PlainPasswords, make_account_services, make_authenticator, make_turns
from ..stores import StoreCase
from .client import Line, Response
from .sites import Health

V1 = "/api/v1"
ANN = {"email": "ann@example.org", "name": "Ann", "password": PASSWORD}
BOB = {"email": "bob@example.org", "name": "Bob", "password": PASSWORD}
EVE = {"email": "eve@example.org", "name": "Eve", "password": PASSWORD}
OPS = {"email": "ops@example.org", "name": "Ops", "password": PASSWORD}
NOBODY = "00000000-0000-7000-8000-000000000000"


class ApiCase(StoreCase):
    async def asyncSetUp(self) -> None:
        clock: Any = reactor
        ring = KeyRing.build(secrets.token_hex(32))
        tokens = JwtTokens(lambda: ring, 900, "15m", self.now, self.new_id)
        audience = Dispatcher()
        self.members = make_account_services(
            self.store, PlainPasswords(), tokens, clock, self.now, self.new_id, operators=[OPS["email"]]
        )
        gate = make_authenticator(
            tokens, self.store, audience, self.members.failed_attempts, self.now, clock=clock
        )
        namespaces = Namespaces.with_builtin(())
        publisher = Publisher(
            Policy(),
            MemoryBroker(audience),
            self.sends,
            namespaces,
            self.now,
            self.new_id,
            strict_json.dumps,
            strict_json.dumps_canonically,
        )
        history = ReplayReader(self.store, audience, namespaces, clock)
        self.hub = Hub(gate, audience, history, publisher, clock, self.new_id, make_turns(clock))
        self.hub.startService()
        self.addCleanup(self.hub.stopService)
        follower = Follower(self.store, audience, clock)
        self.store.on_commit(follower.wake)
        await follower.startService()
        self.addCleanup(follower.stopService)
        self.answered: Deferred[None] = Deferred()
        self.site = make_site(
            SiteParts(
                clock=clock,
                now=self.now,
                new_id=self.new_id,
                authenticator=gate,
                hub=self.hub,
                account_services=self.members,
                messages=Messages(self.store, self.sends, self.events, Policy(), self.now, self.new_id),
                publisher=publisher,
                stream_admission=Admission(ConnectionLimits(), ProtocolStats("sse")),
                health=Health(),
                # Behind the answer's last byte, not in the middle of writing it.
                on_request_done=lambda *_: clock.callLater(0, self._say_answered),
                request_limits=RequestLimits(*(RateLimit(1000, 900.0, clock=clock) for _ in range(2))),
            ),
        )

    def _say_answered(self) -> None:
        if not self.answered.called:
            self.answered.callback(None)

    async def ask(self, method: str, target: str, body: Any = None, token: str = "", **more: str) -> Response:
        """One request on a connection of its own; a target without /api is below /api/v1."""
        line, self.answered = Line(self.site), Deferred()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        line.ask(method, target if target.startswith("/api") else V1 + target, body, headers)
        await self.answered
        answer = line.answer(method == "HEAD")
        line.hang_up()
        return answer

    async def join(self, who: dict[str, str]) -> tuple[str, str]:
        """(id, token) of a new user."""
        registered = await self.ask("POST", "/auth/register", who)
        login = await self.ask("POST", "/auth/login", who)
        return registered.data["id"], login.data["token"]


def paths(answer: Response) -> list[list[str]]:
    """Where the faults of a refused body are."""
    assert (answer.status, answer.code) == (400, 2), answer.body
    return [error["path"] for error in answer.json["error"]["details"]["errors"]]


class AccountTests(ApiCase):
    async def test_register(self) -> None:
        answer = await self.ask("POST", "/auth/register", ANN)
        self.assertEqual(answer.status, 201)
        self.assertEqual(list(answer.json), ["success", "data", "cursor", "timestamp"])
        self.assertEqual(list(answer.data), ["id", "email", "name", "createdAt", "updatedAt"])
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["cache-control"], "no-store")

    async def test_a_taken_address(self) -> None:
        """The predecessor's fault: addresses differed by case (docs/predecessor-faults.md#fault-16)."""
        await self.ask("POST", "/auth/register", ANN)
        answer = await self.ask("POST", "/auth/register", ANN | {"email": "ANN@example.org"})
        self.assertEqual((answer.status, answer.code), (409, 6))

    async def test_all_faults_are_listed(self) -> None:
        answer = await self.ask("POST", "/auth/register", {"email": "x", "name": "A", "password": "short"})
        self.assertEqual({path[0] for path in paths(answer)}, {"email", "name", "password"})
        self.assertEqual(answer.json["error"]["message"], "Validation failed")

    async def test_a_password_that_bcrypt_would_cut(self) -> None:
        """The predecessor's fault: over 72 bytes they were cut silently.

        docs/predecessor-faults.md#fault-16
        """
        answer = await self.ask("POST", "/auth/register", ANN | {"password": "Aa1!" + "é" * 35})
        self.assertEqual(paths(answer), [["password"]])

    async def test_login(self) -> None:
        registered = await self.ask("POST", "/auth/register", ANN)
        answer = await self.ask("POST", "/auth/login", ANN)
        self.assertEqual(answer.status, 200)
        self.assertEqual(list(answer.data), ["user", "token", "expiresIn", "refreshToken"])
        self.assertEqual((answer.data["user"], answer.data["expiresIn"]), (registered.data, "15m"))

    async def test_a_form_logs_in_too(self) -> None:
        await self.ask("POST", "/auth/register", ANN)
        line, self.answered = Line(self.site), Deferred()
        body = urlencode({"email": "ann@example.org", "password": PASSWORD}).encode()
        line.ask("POST", "/api/auth/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
        await self.answered
        self.assertEqual(line.answer().status, 200)
        line.hang_up()

    async def test_one_refusal_for_unknown_and_wrong(self) -> None:
        """The predecessor's fault: the answer told known addresses (docs/predecessor-faults.md#fault-16)."""
        await self.ask("POST", "/auth/register", ANN)
        answers = [
            await self.ask("POST", "/auth/login", {"email": email, "password": "Wrong0rd!"})
            for email in ("ann@example.org", "nobody@example.org")
        ]
        self.assertEqual([answer.status for answer in answers], [401, 401])
        self.assertEqual(*(answer.json["error"] for answer in answers))
        self.assertEqual(answers[0].json["error"], {"code": 4, "message": "Invalid credentials"})

    async def test_refresh(self) -> None:
        await self.ask("POST", "/auth/register", ANN)
        login = await self.ask("POST", "/auth/login", ANN)
        answer = await self.ask("POST", "/auth/refresh", {"refreshToken": login.data["refreshToken"]})
        self.assertEqual((answer.status, list(answer.data)), (200, list(login.data)))
        self.assertEqual((await self.ask("POST", "/auth/refresh", {"refreshToken": "x"})).status, 401)

    async def test_logout(self) -> None:
        """The token is worth nothing from then on."""
        _, token = await self.join(ANN)
        self.assertEqual((await self.ask("POST", "/auth/logout", token=token)).status, 204)
        self.assertEqual((await self.ask("GET", "/auth/me", token=token)).status, 401)

    async def test_me_and_others(self) -> None:
        ann, token = await self.join(ANN)
        bob, _ = await self.join(BOB)
        self.assertEqual((await self.ask("GET", "/auth/me", token=token)).data["id"], ann)
        self.assertEqual((await self.ask("GET", f"/users/{bob}", token=token)).data["name"], "Bob")
        answer = await self.ask("GET", f"/users/{NOBODY}", token=token)
        self.assertEqual(answer.json["error"]["details"], {"resource": "User", "id": NOBODY})
        self.assertEqual(paths(await self.ask("GET", "/users/1", token=token)), [["id"]])

    async def test_amend(self) -> None:
        ann, token = await self.join(ANN)
        bob, _ = await self.join(BOB)
        answer = await self.ask("PUT", f"/users/{ann}", {"name": "Åsa O’Neil"}, token)
        self.assertEqual((answer.status, answer.data["name"]), (200, "Åsa O’Neil"))
        self.assertEqual((await self.ask("PUT", f"/users/{bob}", {"name": "Ann"}, token)).status, 403)
        self.assertEqual((await self.ask("PUT", f"/users/{ann}", {"email": BOB["email"]}, token)).status, 409)
        self.assertEqual(paths(await self.ask("PUT", f"/users/{ann}", {}, token)), [[]])

    async def test_close(self) -> None:
        ann, token = await self.join(ANN)
        bob, _ = await self.join(BOB)
        self.assertEqual((await self.ask("DELETE", f"/users/{bob}", token=token)).status, 403)
        answer = await self.ask("DELETE", f"/users/{ann}", token=token)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertNotIn("content-length", answer.headers)
        self.assertEqual((await self.ask("GET", "/auth/me", token=token)).status, 401)

    async def test_nothing_without_a_token(self) -> None:
        """Every route that reads or writes asks who it is (docs/predecessor-faults.md#fault-13)."""
        for method, target in (
            ("GET", "/auth/me"),
            ("POST", "/auth/logout"),
            ("POST", "/auth/logout-all"),
            ("GET", "/auth/sessions"),
            ("DELETE", f"/auth/sessions/{NOBODY}"),
            ("GET", "/auth/audit"),
            ("GET", "/audit"),
            ("GET", f"/users/{NOBODY}"),
            ("PUT", f"/users/{NOBODY}"),
            ("DELETE", f"/users/{NOBODY}"),
            ("POST", "/messages"),
            ("GET", "/messages"),
            ("GET", f"/messages/user/{NOBODY}"),
            ("GET", "/messages/channel/a"),
            ("GET", f"/messages/{NOBODY}"),
            ("DELETE", f"/messages/{NOBODY}"),
            ("POST", "/topics/a"),
            ("GET", "/topics/a/events"),
        ):
            answer = await self.ask(method, target, {} if method in ("POST", "PUT") else None)
            self.assertEqual((answer.status, answer.code), (401, 4), f"{method} {target}")
            self.assertEqual(answer.headers["www-authenticate"], "Bearer")


class MessageTests(ApiCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.ann, self.anns = await self.join(ANN)
        self.bob, self.bobs = await self.join(BOB)
        self.eve, self.eves = await self.join(EVE)

    async def send(self, token: str = "", **fields: str) -> Response:
        return await self.ask("POST", "/messages", {"content": "hi", **fields}, token or self.anns)

    async def listed(self, target: str, token: str = "") -> list[str]:
        answer = await self.ask("GET", target, token=token or self.anns)
        self.assertEqual(answer.status, 200, answer.body)
        found = [message["id"] for message in answer.data["data"]]
        self.assertEqual(answer.data["pagination"]["total"], len(found))
        return found

    async def test_send_read_withdraw(self) -> None:
        sent = await self.send(channelId="c.9")
        self.assertEqual(sent.status, 201)
        self.assertEqual(list(sent.data), ["id", "userId", "content", "channelId", "createdAt", "updatedAt"])
        target = f"/messages/{sent.data['id']}"
        read = await self.ask("GET", target, token=self.bobs)
        self.assertEqual((read.status, read.data), (200, sent.data))
        self.assertIn("cursor", read.json)
        self.assertEqual((await self.ask("DELETE", target, token=self.bobs)).status, 403)
        self.assertEqual((await self.ask("DELETE", target, token=self.anns)).status, 204)
        self.assertEqual((await self.ask("GET", target, token=self.anns)).status, 404)

    async def test_declined(self) -> None:
        self.assertEqual(paths(await self.send()), [[]])
        self.assertEqual(paths(await self.send(content="", channelId="c")), [["content"]])
        answer = await self.send(recipientId=NOBODY)
        self.assertEqual((answer.status, answer.json["error"]["details"]["resource"]), (404, "User"))

    async def test_a_direct_message_is_seen_by_its_two_people_only(self) -> None:
        """On no route and in no total, not even with a channel (docs/predecessor-faults.md#fault-13)."""
        id = (await self.send(recipientId=self.bob, channelId="c")).data["id"]
        lists = ("/messages", f"/messages/user/{self.ann}", "/messages/channel/c", "/messages?channelId=c")
        for target in lists:
            self.assertEqual(await self.listed(target, self.anns), [id], target)
            self.assertEqual(await self.listed(target, self.bobs), [id], target)
            self.assertEqual(await self.listed(target, self.eves), [], target)
        for method in ("GET", "DELETE"):
            answer = await self.ask(method, f"/messages/{id}", token=self.eves)
            self.assertEqual(answer.json["error"]["details"], {"resource": "Message", "id": id})
        self.assertEqual((await self.ask("DELETE", f"/messages/{id}", token=self.bobs)).status, 403)

    async def test_filters(self) -> None:
        """The predecessor's fault: filters were dropped (docs/predecessor-faults.md#fault-20)."""
        ids = {}
        for name, token, channel in (("a1", self.anns, "1"), ("a2", self.anns, "2"), ("b1", self.bobs, "1")):
            ids[(await self.send(token, channelId=channel)).data["id"]] = name
        ann = self.ann
        found = {
            target: [ids[id] for id in await self.listed(target)]
            for target in (
                "/messages",
                "/messages?channelId=1",
                f"/messages?userId={ann}",
                f"/messages?userId={ann}&channelId=2",
                f"/messages/user/{ann}",
                f"/messages/user/{ann}?channelId=2",
                "/messages/channel/1",
                f"/messages/channel/1?userId={ann}",
                "/messages/channel/2?channelId=1",
            )
        }
        self.assertEqual(
            found,
            {
                "/messages": ["b1", "a2", "a1"],
                "/messages?channelId=1": ["b1", "a1"],
                f"/messages?userId={ann}": ["a2", "a1"],
                f"/messages?userId={ann}&channelId=2": ["a2"],
                f"/messages/user/{ann}": ["a2", "a1"],
                f"/messages/user/{ann}?channelId=2": ["a2"],
                "/messages/channel/1": ["b1", "a1"],
                f"/messages/channel/1?userId={ann}": ["a1"],
                "/messages/channel/2?channelId=1": ["a2"],
            },
        )

    async def test_any_channel_can_be_named_in_a_path(self) -> None:
        for channel, spelled in (("c.9", "c.9"), ("a/b", "a%2Fb"), ("ü 1", "%C3%BC%201"), ("100%", "100%25")):
            id = (await self.send(channelId=channel)).data["id"]
            self.assertEqual(await self.listed(f"/messages/channel/{spelled}"), [id], channel)

    async def test_pages(self) -> None:
        sent = [(await self.send(channelId="c")).data["id"] for _ in range(3)]
        answer = await self.ask("GET", "/messages?page=2&limit=2", token=self.anns)
        self.assertEqual([message["id"] for message in answer.data["data"]], sent[:1])
        self.assertEqual(
            answer.data["pagination"],
            {
                "page": 2,
                "limit": 2,
                "total": 3,
                "totalPages": 2,
                "hasNextPage": False,
                "hasPreviousPage": True,
                "after": answer.data["pagination"]["after"],
            },
        )
        self.assertIn("cursor", answer.json)

    async def test_pages_beside_a_cursor(self) -> None:
        """Of a write, a list or a message that is gone: the same on every list."""
        sent = [await self.send(channelId="c") for _ in range(4)]
        ids = [answer.data["id"] for answer in sent]
        await self.ask("DELETE", f"/messages/{ids[2]}", token=self.anns)
        for target in ("/messages", f"/messages/user/{self.ann}", "/messages/channel/c"):
            for query, expected, more in (
                (f"before={sent[2].json['cursor']}", [ids[1], ids[0]], (False, True)),
                (f"before={sent[2].json['cursor']}&limit=1&page=1", [ids[1]], (True, True)),
                (f"after={sent[2].json['cursor']}", [ids[3]], (True, False)),
                (f"after={sent[0].json['cursor']}&limit=1", [ids[1]], (True, True)),
            ):
                answer = await self.ask("GET", f"{target}?{query}", token=self.bobs)
                found, pagination = answer.data["data"], answer.data["pagination"]
                self.assertEqual([message["id"] for message in found], expected, query)
                self.assertEqual((pagination["hasNextPage"], pagination["hasPreviousPage"]), more, query)
                self.assertEqual("before" in pagination, pagination["hasNextPage"])
                self.assertEqual((pagination["page"], pagination["total"]), (1, 3))
                newer = await self.ask("GET", f"{target}?after={pagination['after']}", token=self.bobs)
                self.assertEqual(bool(newer.data["data"]), pagination["hasPreviousPage"])

    async def test_what_is_no_cursor_is_told_with_all_other_faults(self) -> None:
        good = (await self.send(channelId="c")).json["cursor"]
        for target in ("/messages", f"/messages/user/{self.ann}", "/messages/channel/c", "/auth/audit"):
            for query, paths in (
                ("before=", ["before"]),
                ("after=x.1", ["after"]),
                (f"before={good}9&limit=0", ["limit", "before"]),
                ("before=x&after=x&page=2", ["page", "after", "before"]),
            ):
                answer = await self.ask("GET", f"{target}?{query}", token=self.anns)
                self.assertEqual((answer.status, answer.json["error"]["code"]), (400, 2), query)
                self.assertEqual(
                    [error["path"] for error in answer.json["error"]["details"]["errors"]],
                    [[p] for p in paths],
                )

    async def test_limits_hold_on_every_list(self) -> None:
        """The predecessor's fault: one list took any `limit` (docs/predecessor-faults.md#fault-20)."""
        for target in ("/messages", f"/messages/user/{self.ann}", "/messages/channel/c"):
            for query in (
                "limit=0",
                "limit=-1",
                "limit=101",
                "limit=1000000",
                "limit=x",
                "limit=",
                "limit=1.5",
            ):
                self.assertEqual(
                    paths(await self.ask("GET", f"{target}?{query}", token=self.anns)), [["limit"]], query
                )
            both = paths(await self.ask("GET", f"{target}?limit=0&page=0", token=self.anns))
            self.assertEqual(both, [["page"], ["limit"]])
            for query in ("limit=1", "limit=100", "page=1"):
                self.assertEqual((await self.ask("GET", f"{target}?{query}", token=self.anns)).status, 200)

    async def test_a_query_that_says_two_things(self) -> None:
        answer = await self.ask("GET", "/messages?limit=1&limit=2", token=self.anns)
        self.assertEqual((answer.status, answer.code), (400, 1))

    async def test_a_path_that_is_no_id(self) -> None:
        self.assertEqual(paths(await self.ask("GET", "/messages/user", token=self.anns)), [["id"]])
        self.assertEqual(paths(await self.ask("GET", "/messages/user/x", token=self.anns)), [["userId"]])

    async def test_a_list_without_whose_it_is(self) -> None:
        for name in ("user", "channel"):
            answer = await self.ask("GET", f"/messages/{name}", token=self.anns)
            self.assertEqual(paths(answer), [["id"]])
            told = answer.json["error"]["details"]["errors"][0]["message"]
            self.assertIn(f"/messages/{name}/:{name}Id", told)

    async def test_the_messages_of_nobody(self) -> None:
        """Unknown or closed: the same as for the account itself, whatever else narrows the list."""
        gone, token = await self.join({**BOB, "email": "gone@example.org"})
        await self.ask("DELETE", f"/users/{gone}", token=token)
        for id in (NOBODY, gone):
            account = await self.ask("GET", f"/users/{id}", token=self.anns)
            for target in (
                f"/messages/user/{id}",
                f"/messages/user/{id}?channelId=c",
                f"/messages?userId={id}",
            ):
                answer = await self.ask("GET", target, token=self.anns)
                self.assertEqual((answer.status, answer.json["error"]), (404, account.json["error"]), target)
        self.assertEqual((await self.ask("GET", "/messages/channel/nowhere", token=self.anns)).status, 200)

    async def test_an_id_in_capitals(self) -> None:
        """It is the same id, as in a body."""
        id = (await self.send(channelId="c")).data["id"].upper()
        self.assertEqual((await self.ask("GET", f"/messages/{id}", token=self.anns)).data["id"], id.lower())
        me = (await self.ask("GET", "/auth/me", token=self.anns)).data["id"].upper()
        self.assertEqual((await self.ask("GET", f"/users/{me}", token=self.anns)).status, 200)
        page = await self.ask("GET", f"/messages/user/{me}", token=self.anns)
        self.assertEqual([message["id"] for message in page.data["data"]], [id.lower()])

    async def test_the_alias(self) -> None:
        """Everything below /api/v1 is below /api too, with or without a slash at the end."""
        id = (await self.send(channelId="c")).data["id"]
        for target in (f"/api/messages/{id}", f"/api/v1/messages/{id}/", f"/api/messages/{id}/?a=1"):
            self.assertEqual((await self.ask("GET", target, token=self.anns)).data["id"], id)

    async def test_an_event_stream_hears_of_a_message(self) -> None:
        """A cursor of the stream is that of the answer to the write."""
        line, self.answered = Line(self.site), Deferred()
        headers = {"Authorization": f"Bearer {self.eves}"}
        line.ask("GET", "/api/v1/topics/messages.**/events", headers=headers)
        await self.heard(line, b"event: subscribed")
        sent = await self.send(channelId="c")
        data = await self.heard(line, b"event: message\n")
        self.assertIn(b"id: " + sent.json["cursor"].encode() + b"\n", data)
        self.assertIn(sent.data["id"].encode(), data)
        leaving = Line(self.site)
        leaving.ask("POST", "/api/v1/auth/logout", headers=headers)
        data = await self.heard(line, b"event: farewell")
        self.assertIn(b'"reason":"revoked"', data)
        await self.heard(leaving, b" 204 ")
        leaving.hang_up()
        line.hang_up()

    async def heard(self, line: Line, what: bytes) -> bytes:
        """All that came, once `what` is in it."""
        data = line.heard()
        while what not in data:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.001, turn.callback, None)  # type: ignore[attr-defined]
            await turn
            data += line.heard()
        return data
