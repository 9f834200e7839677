"""The same permissions on every protocol: each principal tries each operation on each resource, against a model.

The operations are read from the routes, the schema and the commands of a
connection; one that is in no row here fails the test.
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
from multiproto.wire_table import WIRES

from ...canary import PASSWORD, SECRET
from ...live.clients import Rest
from ...live.processes import ROOT
from ...live.running import LiveCase
from ..toy_wire.toy_wire import toy_wire
from . import model
from .model import FORBIDDEN, HISTORY, INVALID, NOT_FOUND, OK, SUBSCRIBE, VERBS, Principal
from .protocol_clients import ProtocolClients

NOBODY = "00000000-0000-4000-8000-000000000000"

# Route -> the row of the matrix that covers it.
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
PUBLIC_ROUTES = {
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
COMMANDS = {"Authenticate", "Subscribe", "Unsubscribe", "Publish", "Ping", "Pong", "EndOfInput", "BadCommand"}


class MatrixTests(LiveCase):
    wires = (*WIRES, toy_wire)

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
        self.differences: list[str] = []
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

    def compare(self, principal: Principal, what: str, expected: str, **found: str) -> None:
        for protocol, outcome in found.items():
            self.triples[protocol] += 1
            if outcome != expected:
                self.differences.append(
                    f"{principal.name}: {what} over {protocol}: {outcome}, not {expected}"
                )

    async def test_every_principal_operation_and_protocol(self) -> None:
        cells = 0
        for principal in self.principals:
            clients = await ProtocolClients.open(principal, self.address, self.server.port_number("toy"))
            for rows in (
                self.publications,
                self.subscriptions,
                self.explanations,
                self.accounts,
                self.messages,
            ):
                cells += await rows(principal, clients)
            await clients.close()
        cells += await self.endings()
        self.assertEqual(self.differences, [])
        self.assertGreater(cells, 1000)
        print(f"{cells} triples of principal, operation and resource; {dict(self.triples)} answers")

    async def publications(self, principal: Principal, clients: ProtocolClients) -> int:
        for topic in self.topics:
            expected = model.publishing(principal, topic)
            self.compare(principal, f"publish {topic}", expected, **await clients.publish(topic))
        return len(self.topics)

    async def subscriptions(self, principal: Principal, clients: ProtocolClients) -> int:
        patterns = [*self.topics, *self.patterns]
        for pattern in patterns:
            for verb, after in ((SUBSCRIBE, None), (HISTORY, "nowhere")):
                expected = model.subscribing(principal, pattern, verb, self.topics)
                self.compare(
                    principal, f"{verb} {pattern}", expected, **await clients.subscribe(pattern, after)
                )
        named = {
            "userCreated": "users",
            f'userUpdated(userId: "{self.ann.id}")': f"users.{self.ann.id}",
            'messageSent(channelId: "c")': "messages.channel.c",
            f'messageToUser(userId: "{self.ann.id}")': f"messages.user.{self.ann.id}",
            f'messageToUser(userId: "{self.bob.id}")': f"messages.user.{self.bob.id}",
        }
        for field, topic in named.items():
            expected = model.subscribing(principal, topic, SUBSCRIBE, self.topics)
            self.compare(
                principal, f"subscription {field}", expected, graphql=await clients.subscription(field)
            )
        return 2 * len(patterns) + len(named)

    async def explanations(self, principal: Principal, clients: ProtocolClients) -> int:
        """`explain` says what the model says."""
        for topic in self.topics:
            for verb in VERBS:
                _, answer = await clients.rest.ask("GET", f"/api/v1/topics/{topic}/explain?verb={verb}")
                query = f'{{ explain(topic: "{topic}", verb: "{verb}") {{ allowed }} }}'
                by_graphql = await clients.rest.graphql(query)
                if principal.user is None:
                    codes = answer["error"]["code"], by_graphql["errors"][0]["extensions"]["code"]
                    found = {"rest": str(codes == (4, "UNAUTHORIZED")), "graphql": "True"}
                    self.compare(principal, f"explain {verb} {topic}", "True", **found)
                    continue
                self.compare(
                    principal,
                    f"explain {verb} {topic}",
                    str(model.may(principal, verb, topic)),
                    rest=str(answer["data"]["allowed"]),
                    graphql=str(by_graphql["data"]["explain"]["allowed"]),
                )
        return len(VERBS) * len(self.topics)

    async def accounts(self, principal: Principal, clients: ProtocolClients) -> int:
        cells = 0

        async def cell(what: str, otherwise: str, for_credentials: bool = False, **asked: Any) -> None:
            nonlocal cells
            cells += 1
            found = {protocol: await asking for protocol, asking in asked.items()}
            self.compare(principal, what, model.on_accounts(principal, otherwise, for_credentials), **found)

        rest, graphql = clients.by_rest, clients.by_graphql
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
        await cell("audit", OK if principal.operator else FORBIDDEN, rest=rest("GET", "/audit"))
        for id, outcome in ((self.ann.id, OK), (self.bob.id, OK), (NOBODY, NOT_FOUND), ("x", INVALID)):
            await cell(
                f"read user {id}",
                outcome,
                rest=rest("GET", f"/users/{id}"),
                graphql=graphql(f'{{ user(id: "{id}") {{ id }} }}'),
            )
        for id in (self.ann.id, self.bob.id, self.cleo.id, NOBODY, "x"):
            outcome = OK if id == principal.user else INVALID if id == "x" else FORBIDDEN
            await cell(f"amend user {id}", outcome, rest=rest("PUT", f"/users/{id}", {"name": "Anybody"}))
            if outcome != OK:
                await cell(f"close user {id}", outcome, rest=rest("DELETE", f"/users/{id}"))
        await cell(
            "amend oneself", OK, graphql=graphql('mutation { updateUser(input: {name: "Me"}) { id } }')
        )
        session = jwt.decode((await self.login("cleo"))["token"], SECRET, ["HS256"])["sid"]
        for kind, field, id, outcome in [
            (kind, field, id, outcome)
            for kind, field, theirs in (
                ("sessions", "revokeSession", session),
                ("credentials", "revokeCredential", await self.credential_of_cleo()),
            )
            for id, outcome in ((theirs, NOT_FOUND), (NOBODY, NOT_FOUND), ("x", INVALID))
        ]:
            await cell(
                f"end {kind} {id}",
                outcome,
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

    async def credential_of_cleo(self) -> str:
        """The id of a new credential of Cleo's."""
        fields = {"name": next(self.names), "grants": [{"pattern": "room.*", "verbs": ["subscribe"]}]}
        _, answer = await self.cleo.rest.ask("POST", "/api/v1/auth/credentials", fields)
        return str(answer["data"]["id"])

    async def messages(self, principal: Principal, clients: ProtocolClients) -> int:
        cells = 0
        rest, graphql = clients.by_rest, clients.by_graphql
        ann, bob, cleo = self.ann, self.bob, self.cleo
        fresh = [
            ("in a channel, of ann", ann, {"channelId": "c"}, {ann.id, bob.id}),
            ("in a channel, of bob", bob, {"channelId": "c"}, {ann.id, bob.id}),
            ("from ann to bob", ann, {"recipientId": bob.id}, {ann.id, bob.id}),
            ("from bob to cleo", bob, {"recipientId": cleo.id, "channelId": "c"}, {bob.id}),
        ]
        for what, author, target, seen_by in fresh:
            ids = [await self.message(author, **target) for _ in range(2)]
            seen = principal.user in seen_by
            read, gone = OK if seen else NOT_FOUND, OK if principal.user == author.id else FORBIDDEN
            self.compare(
                principal,
                f"read what is {what}",
                model.on_accounts(principal, read),
                rest=await rest("GET", f"/messages/{ids[0]}"),
                graphql=await graphql(f'{{ message(id: "{ids[0]}") {{ id }} }}'),
            )
            self.compare(
                principal,
                f"delete what is {what}",
                model.on_accounts(principal, gone if seen else NOT_FOUND),
                rest=await rest("DELETE", f"/messages/{ids[0]}"),
                graphql=await graphql(f'mutation {{ deleteMessage(id: "{ids[1]}") }}'),
            )
            cells += 2
        for id, outcome in ((NOBODY, NOT_FOUND), ("x", INVALID)):
            self.compare(
                principal,
                f"read message {id}",
                model.on_accounts(principal, outcome),
                rest=await rest("GET", f"/messages/{id}"),
                graphql=await graphql(f'{{ message(id: "{id}") {{ id }} }}'),
            )
            self.compare(
                principal,
                f"delete message {id}",
                model.on_accounts(principal, outcome),
                rest=await rest("DELETE", f"/messages/{id}"),
                graphql=await graphql(f'mutation {{ deleteMessage(id: "{id}") }}'),
            )
            self.compare(
                principal,
                f"send to {id}",
                model.on_accounts(principal, outcome),
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
                principal,
                f"list {path}",
                model.on_accounts(principal, OK),
                rest=await rest("GET", path),
                graphql=await graphql(f"{{ {field} {{ cursor }} }}"),
            )
            cells += 1
        return cells

    async def endings(self) -> int:
        """Operations that end the login itself: each with a new account."""
        cells = 0
        for path, field in (
            ("POST /auth/logout", "logout"),
            ("POST /auth/logout-all", "logoutAll"),
            ("DELETE /users/{id}", "deleteUser"),
        ):
            for principal in self.principals:
                found = {}
                for protocol in ("rest", "graphql"):
                    if principal.user is not None and principal.grants is None:
                        person = await self.person(next(self.names))
                        principal = evolve(principal, token=person.token, user=person.id)
                    rest = ProtocolClients(
                        principal, self.address, Rest(self.address, principal.token), None, None, None
                    )  # type: ignore[arg-type]
                    method, _, target = path.format(id=principal.user or self.ann.id).partition(" ")
                    asking = rest.by_graphql(f"mutation {{ {field} }}")
                    found[protocol] = await (rest.by_rest(method, target) if protocol == "rest" else asking)
                    if protocol == "rest":
                        asking.close()
                self.compare(principal, path, model.on_accounts(principal, OK), **found)
                cells += 1
        return cells

    async def test_nothing_is_left_out(self) -> None:
        """A new route, field or command must get its row."""
        site = self.server.getServiceNamed("http")._factory
        routes = set()
        for rule in self.http_site(site).app.url_map.iter_rules():
            if rule.methods is None:
                continue  # of what is mounted: another protocol
            [method] = rule.methods - {"HEAD", "OPTIONS"}
            path = rule.rule
            for word in rule.arguments:
                path = path.replace(f"<string:{word}>", f":{word}")
            routes.add(f"{method} {path.removeprefix('/api/v1').removeprefix('/api') or '/'}")
        self.assertEqual(routes, {*ROUTES, *PUBLIC_ROUTES})
        schema = parse((ROOT / "multiproto/graphql/schema.graphql").read_text())
        fields = {
            each.name.value: {field.name.value for field in each.fields}  # type: ignore[attr-defined]
            for each in schema.definitions
            if getattr(each, "name", None) is not None and each.name.value in FIELDS  # type: ignore[attr-defined]
        }
        self.assertEqual(fields, {name: set(of.split()) for name, of in FIELDS.items()})
        self.assertEqual({each.__name__ for each in get_args(Command)}, COMMANDS)

    def http_site(self, factory: Any) -> Any:
        """The site inside TLS and address filters, if there are any."""
        while not hasattr(factory, "router"):
            factory = factory.wrappedFactory
        return factory
