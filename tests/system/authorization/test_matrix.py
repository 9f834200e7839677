"""The same rights on every road: who, what and on what, over every protocol that has it, against a model.

What there is to ask is read off the routes, the schema and the words of the
session; an operation that is in no row here fails the test.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any, Iterable, get_args

import jwt
from attrs import evolve
from graphql import parse
from twisted.internet import reactor
from twisted.internet.task import deferLater

from multiproto import server
from multiproto.config import Config
from multiproto.core.protocol import Command
from multiproto.core.pubsub.namespaces import Namespace
from multiproto.core.pubsub.permissions import Rule

from ...canary import PASSWORD, SECRET
from ...live.clients import Rest
from ...live.processes import ROOT
from ...live.running import LiveCase
from . import model
from .doors import Doors
from .model import FORBIDDEN, HISTORY, INVALID, NOT_FOUND, OK, SUBSCRIBE, VERBS, Principal

NOBODY = "00000000-0000-4000-8000-000000000000"

# (method, route), field or word -> by which row it is asked.
ROUTES = {
    "POST /topics/:topic": "publish",
    "GET /topics/:pattern/events": "subscribe",
    "GET /topics/:topic/explain": "explain",
    "GET /auth/me": "me",
    "POST /auth/logout": "end",
    "POST /auth/logout-all": "end",
    "GET /auth/sessions": "sessions",
    "DELETE /auth/sessions/:id": "end session",
    "GET /users/:id": "read user",
    "PUT /users/:id": "amend user",
    "DELETE /users/:id": "close user",
    "GET /auth/audit": "own audit",
    "GET /audit": "audit",
    "POST /auth/credentials": "make credential",
    "GET /auth/credentials": "credentials",
    "DELETE /auth/credentials/:id": "end credential",
    "POST /messages": "send",
    "GET /messages": "messages",
    "GET /messages/user/:userId": "messages of user",
    "GET /messages/channel/:channelId": "messages of channel",
    "GET /messages/:id": "read message",
    "DELETE /messages/:id": "delete message",
}
FOR_ALL = {
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "GET /health",
    "GET /health/ready",
    "GET /health/live",
    "GET /",
    "GET /.well-known/jwks.json",
}
FIELDS = {
    "Query": "user users me sessions message messages userMessages channelMessages credentials explain health",
    "Mutation": "register login refresh logout logoutAll revokeSession updateUser deleteUser sendMessage"
    " deleteMessage createCredential revokeCredential publish",
    "Subscription": "userCreated userUpdated messageSent messageToUser topic",
}
WORDS = {"Authenticate", "Subscribe", "Unsubscribe", "Publish", "Ping", "Pong", "EndOfInput", "BadCommand"}


class MatrixTests(LiveCase):
    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        self.patch(server, "MAX_LOGINS_PER_WINDOW", 10_000)
        return evolve(
            config,
            auth=evolve(config.auth, operators=("ann@example.org",), auth_timeout=3600.0),
            rules=tuple(Rule(match, verbs) for match, verbs in model.RULES),
            namespaces=(Namespace("fleet.**"), Namespace("news.**")),
        )

    async def asyncSetUp(self) -> None:
        self.triples: Counter[str] = Counter()  # by protocol
        self.faults: list[str] = []
        self.names = map("".join, product("abcdefghij", repeat=4))
        self.ann, self.bob, self.cleo = [await self.person(name) for name in ("ann", "bob", "cleo")]
        self.grants = [
            (f"fleet.{self.ann.id}.pump.**", ("publish", "subscribe")),
            ("room.*", ("subscribe",)),
        ]
        self.principals = [each async for each in self.all_principals()]
        a, b = self.ann.id, self.bob.id
        self.topics = [
            *("room.1", "room.2.x", "other", f"fleet.{a}.pump.heat", f"fleet.{a}.lamp", f"fleet.{b}.lamp"),
            *("fleet.x", "news.today", "news", "vault", "vault.key", "users", f"users.{a}", "messages"),
            *(
                "messages.channel.c",
                f"messages.user.{a}",
                f"messages.user.{b}",
                "_sessions",
                "_canary",
                "_x.y",
            ),
        ]
        self.patterns = [
            *(
                "**",
                "*",
                "room.*",
                "room.**",
                "*.1",
                "fleet.**",
                "fleet.*.lamp",
                f"fleet.{a}.**",
                f"fleet.{b}.**",
            ),
            *(
                "news.*",
                "news.**",
                "vault.*",
                "vault.**",
                "users.*",
                "users.**",
                "messages.**",
                "messages.*.c",
            ),
            *("messages.user.*", "messages.user.**", f"messages.user.{b}.**", "_sessions.**", "_x.*"),
        ]

    async def all_principals(self) -> Any:
        yield Principal("anonymous", None)
        yield Principal("forged", "a.forged.token")
        claims = jwt.decode(self.ann.token, SECRET, ["HS256"])
        yield Principal("expired", jwt.encode({**claims, "iat": 1, "exp": 2}, SECRET, "HS256"))
        yield Principal("unsigned", jwt.encode(claims, None, "none"))
        yield Principal("refresh", (await self.login("ann"))["refreshToken"])
        eve, dan = await self.person("eve"), await self.person("dan")
        await eve.rest.ask("POST", "/api/v1/auth/logout")
        yield Principal("logged out", eve.token)
        await dan.rest.ask("DELETE", f"/api/v1/users/{dan.id}")
        yield Principal("deleted", dan.token)
        _, revoked = await self.credential("revoked", self.grants)
        await self.ann.rest.ask("DELETE", f"/api/v1/auth/credentials/{_}")
        yield Principal("revoked credential", revoked)
        _, expired = await self.credential("expired", self.grants, expiresIn="1s")
        await deferLater(reactor, 1.1)
        yield Principal("expired credential", expired)
        yield Principal("ann", self.ann.token, self.ann.id, operator=True)
        yield Principal("bob", self.bob.token, self.bob.id)
        _, pump = await self.credential("pump", self.grants)
        yield Principal("pump", pump, self.ann.id, self.grants)
        everything = [("**", ("subscribe", "history"))]
        _, reader = await self.credential("reader", everything)
        yield Principal("reader", reader, self.ann.id, everything)

    async def credential(self, name: str, grants: Iterable[Any], **more: str) -> tuple[str, str]:
        asked = [{"pattern": pattern, "verbs": list(verbs)} for pattern, verbs in grants]
        fields = {"name": name, "grants": asked, **more}
        status, answer = await self.ann.rest.ask("POST", "/api/v1/auth/credentials", fields)
        assert status == 201, answer
        return answer["data"]["id"], answer["data"]["credential"]

    async def login(self, name: str) -> dict[str, Any]:
        fields = {"email": f"{name}@example.org", "password": PASSWORD}
        _, answer = await Rest(self.address).ask("POST", "/api/v1/auth/login", fields)
        return dict(answer["data"])

    async def message(self, by: Any, **target: str) -> str:
        _, answer = await by.rest.ask("POST", "/api/v1/messages", {"content": "x", **target})
        return str(answer["data"]["id"])

    # The comparison.

    def compare(self, who: Principal, what: str, expected: str, **found: str) -> None:
        for protocol, verdict in found.items():
            self.triples[protocol] += 1
            if verdict != expected:
                self.faults.append(f"{who.name}: {what} over {protocol}: {verdict}, not {expected}")

    async def test_everybody_everything_everywhere(self) -> None:
        cells = 0
        for who in self.principals:
            doors = await Doors.open(who, self.address)
            for rows in (
                self.publications,
                self.subscriptions,
                self.explanations,
                self.accounts,
                self.messages,
            ):
                cells += await rows(who, doors)
            await doors.close()
        cells += await self.endings()
        self.assertEqual(self.faults, [])
        self.assertGreater(cells, 1000)
        print(f"{cells} triples of principal, operation and resource; {dict(self.triples)} answers")

    async def publications(self, who: Principal, doors: Doors) -> int:
        for topic in self.topics:
            expected = model.publishing(who, topic)
            self.compare(who, f"publish {topic}", expected, **await doors.publish(topic))
        return len(self.topics)

    async def subscriptions(self, who: Principal, doors: Doors) -> int:
        patterns = [*self.topics, *self.patterns]
        for pattern in patterns:
            for verb, after in ((SUBSCRIBE, None), (HISTORY, "nowhere")):
                expected = model.subscribing(who, pattern, verb, self.topics)
                self.compare(who, f"{verb} {pattern}", expected, **await doors.subscribe(pattern, after))
        named = {
            "userCreated": "users",
            f'userUpdated(userId: "{self.ann.id}")': f"users.{self.ann.id}",
            'messageSent(channelId: "c")': "messages.channel.c",
            f'messageToUser(userId: "{self.ann.id}")': f"messages.user.{self.ann.id}",
            f'messageToUser(userId: "{self.bob.id}")': f"messages.user.{self.bob.id}",
        }
        for field, topic in named.items():
            expected = model.subscribing(who, topic, SUBSCRIBE, self.topics)
            self.compare(who, f"subscription {field}", expected, graphql=await doors.subscription(field))
        return 2 * len(patterns) + len(named)

    async def explanations(self, who: Principal, doors: Doors) -> int:
        """What one is told of one's rights is what one has."""
        for topic in self.topics:
            for verb in VERBS:
                _, answer = await doors.rest.ask("GET", f"/api/v1/topics/{topic}/explain?verb={verb}")
                query = f'{{ explain(topic: "{topic}", verb: "{verb}") {{ allowed }} }}'
                by_graphql = await doors.rest.graphql(query)
                if who.user is None:
                    codes = answer["error"]["code"], by_graphql["errors"][0]["extensions"]["code"]
                    found = {"rest": str(codes == (4, "UNAUTHORIZED")), "graphql": "True"}
                    self.compare(who, f"explain {verb} {topic}", "True", **found)
                    continue
                self.compare(
                    who,
                    f"explain {verb} {topic}",
                    str(model.may(who, verb, topic)),
                    rest=str(answer["data"]["allowed"]),
                    graphql=str(by_graphql["data"]["explain"]["allowed"]),
                )
        return len(VERBS) * len(self.topics)

    async def accounts(self, who: Principal, doors: Doors) -> int:
        cells = 0

        async def cell(what: str, otherwise: str, for_credentials: bool = False, **asked: Any) -> None:
            nonlocal cells
            cells += 1
            found = {protocol: await asking for protocol, asking in asked.items()}
            self.compare(who, what, model.of_accounts(who, otherwise, for_credentials), **found)

        rest, graphql = doors.by_rest, doors.by_graphql
        await cell("me", OK, True, rest=rest("GET", "/auth/me"), graphql=graphql("{ me { id } }"))
        await cell("what is mine", OK, graphql=graphql("{ me { messages { cursor } } }"))
        await cell("users", OK, graphql=graphql("{ users { cursor } }"))
        await cell("sessions", OK, rest=rest("GET", "/auth/sessions"), graphql=graphql("{ sessions { id } }"))
        await cell(
            "credentials",
            OK,
            rest=rest("GET", "/auth/credentials"),
            graphql=graphql("{ credentials { id } }"),
        )
        await cell("own audit", OK, rest=rest("GET", "/auth/audit"))
        await cell("audit", OK if who.operator else FORBIDDEN, rest=rest("GET", "/audit"))
        for id, verdict in ((self.ann.id, OK), (self.bob.id, OK), (NOBODY, NOT_FOUND), ("x", INVALID)):
            await cell(
                f"read user {id}",
                verdict,
                rest=rest("GET", f"/users/{id}"),
                graphql=graphql(f'{{ user(id: "{id}") {{ id }} }}'),
            )
        for id in (self.ann.id, self.bob.id, self.cleo.id, NOBODY, "x"):
            verdict = OK if id == who.user else INVALID if id == "x" else FORBIDDEN
            await cell(f"amend user {id}", verdict, rest=rest("PUT", f"/users/{id}", {"name": "Anybody"}))
            if verdict != OK:
                await cell(f"close user {id}", verdict, rest=rest("DELETE", f"/users/{id}"))
        await cell(
            "amend oneself", OK, graphql=graphql('mutation { updateUser(input: {name: "Me"}) { id } }')
        )
        session = jwt.decode((await self.login("cleo"))["token"], SECRET, ["HS256"])["sid"]
        for kind, field, id, verdict in [
            (kind, field, id, verdict)
            for kind, field, theirs in (
                ("sessions", "revokeSession", session),
                ("credentials", "revokeCredential", await self.of_cleo()),
            )
            for id, verdict in ((theirs, NOT_FOUND), (NOBODY, NOT_FOUND), ("x", INVALID))
        ]:
            await cell(
                f"end {kind} {id}",
                verdict,
                rest=rest("DELETE", f"/auth/{kind}/{id}"),
                graphql=graphql(f'mutation {{ {field}(id: "{id}") }}'),
            )
        spare = [{"pattern": "room.*", "verbs": ["subscribe"]}]
        typed = '[{pattern: "room.*", verbs: ["subscribe"]}]'
        await cell(
            "make credential",
            OK,
            rest=rest("POST", "/auth/credentials", {"name": next(self.names), "grants": spare}),
            graphql=graphql(
                f'mutation {{ createCredential(input: {{name: "{next(self.names)}", grants: {typed}}}) {{ id }} }}'
            ),
        )
        return cells

    async def of_cleo(self) -> str:
        """The id of a credential of hers."""
        fields = {"name": next(self.names), "grants": [{"pattern": "room.*", "verbs": ["subscribe"]}]}
        _, answer = await self.cleo.rest.ask("POST", "/api/v1/auth/credentials", fields)
        return str(answer["data"]["id"])

    async def messages(self, who: Principal, doors: Doors) -> int:
        cells = 0
        rest, graphql = doors.by_rest, doors.by_graphql
        ann, bob, cleo = self.ann, self.bob, self.cleo
        fresh = [
            ("in a channel, of ann", ann, {"channelId": "c"}, {ann.id, bob.id}),
            ("in a channel, of bob", bob, {"channelId": "c"}, {ann.id, bob.id}),
            ("from ann to bob", ann, {"recipientId": bob.id}, {ann.id, bob.id}),
            ("from bob to cleo", bob, {"recipientId": cleo.id, "channelId": "c"}, {bob.id}),
        ]
        for what, author, target, seen_by in fresh:
            ids = [await self.message(author, **target) for _ in range(2)]
            seen = who.user in seen_by
            read, gone = OK if seen else NOT_FOUND, OK if who.user == author.id else FORBIDDEN
            self.compare(
                who,
                f"read what is {what}",
                model.of_accounts(who, read),
                rest=await rest("GET", f"/messages/{ids[0]}"),
                graphql=await graphql(f'{{ message(id: "{ids[0]}") {{ id }} }}'),
            )
            self.compare(
                who,
                f"delete what is {what}",
                model.of_accounts(who, gone if seen else NOT_FOUND),
                rest=await rest("DELETE", f"/messages/{ids[0]}"),
                graphql=await graphql(f'mutation {{ deleteMessage(id: "{ids[1]}") }}'),
            )
            cells += 2
        for id, verdict in ((NOBODY, NOT_FOUND), ("x", INVALID)):
            self.compare(
                who,
                f"read message {id}",
                model.of_accounts(who, verdict),
                rest=await rest("GET", f"/messages/{id}"),
                graphql=await graphql(f'{{ message(id: "{id}") {{ id }} }}'),
            )
            self.compare(
                who,
                f"delete message {id}",
                model.of_accounts(who, verdict),
                rest=await rest("DELETE", f"/messages/{id}"),
                graphql=await graphql(f'mutation {{ deleteMessage(id: "{id}") }}'),
            )
            self.compare(
                who,
                f"send to {id}",
                model.of_accounts(who, verdict),
                rest=await rest("POST", "/messages", {"content": "x", "recipientId": id}),
                graphql=await graphql(
                    f'mutation {{ sendMessage(input: {{content: "x", recipientId: "{id}"}}) {{ id }} }}'
                ),
            )
            cells += 3
        lists = {
            "/messages": "messages",
            f"/messages/user/{bob.id}": f'userMessages(userId: "{bob.id}")',
            "/messages/channel/c": 'channelMessages(channelId: "c")',
        }
        for path, field in lists.items():
            self.compare(
                who,
                f"list {path}",
                model.of_accounts(who, OK),
                rest=await rest("GET", path),
                graphql=await graphql(f"{{ {field} {{ cursor }} }}"),
            )
            cells += 1
        return cells

    async def endings(self) -> int:
        """What can be done once, by each anew."""
        cells = 0
        for path, field in (
            ("POST /auth/logout", "logout"),
            ("POST /auth/logout-all", "logoutAll"),
            ("DELETE /users/{id}", "deleteUser"),
        ):
            for who in self.principals:
                found = {}
                for protocol in ("rest", "graphql"):
                    if who.user is not None and who.grants is None:
                        person = await self.person(next(self.names))
                        who = evolve(who, token=person.token, user=person.id)
                    rest = Doors(who, self.address, Rest(self.address, who.token), None, None)  # type: ignore[arg-type]
                    method, _, target = path.format(id=who.user or self.ann.id).partition(" ")
                    asking = rest.by_graphql(f"mutation {{ {field} }}")
                    found[protocol] = await (rest.by_rest(method, target) if protocol == "rest" else asking)
                    if protocol == "rest":
                        asking.close()
                self.compare(who, path, model.of_accounts(who, OK), **found)
                cells += 1
        return cells

    async def test_nothing_is_left_out(self) -> None:
        """A new route, field or word must get its row."""
        site = self.server.getServiceNamed("http")._factory
        routes = set()
        for rule in self.http_site(site).api._app.url_map.iter_rules():
            [method] = rule.methods - {"HEAD", "OPTIONS"}
            path = rule.rule
            for word in rule.arguments:
                for kind in ("id", "text"):
                    path = path.replace(f"<{kind}:{word}>", f":{word}")
            routes.add(f"{method} {path.removeprefix('/api/v1').removeprefix('/api') or '/'}")
        self.assertEqual(routes, {*ROUTES, *FOR_ALL})
        schema = parse((ROOT / "multiproto/graphql/schema.graphql").read_text())
        fields = {
            each.name.value: {field.name.value for field in each.fields}  # type: ignore[attr-defined]
            for each in schema.definitions
            if getattr(each, "name", None) is not None and each.name.value in FIELDS  # type: ignore[attr-defined]
        }
        self.assertEqual(fields, {name: set(of.split()) for name, of in FIELDS.items()})
        self.assertEqual({each.__name__ for each in get_args(Command)}, WORDS)

    def http_site(self, factory: Any) -> Any:
        """Below what guards the port, if anything does."""
        while not hasattr(factory, "api"):
            factory = factory.wrappedFactory
        return factory
