"""The same permissions on every protocol: each principal tries each operation on each resource, against a model.

The operations are read from the routes, the schema and the commands of a
connection; one that is in no row here fails the test.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import product
from typing import Any, Awaitable, Iterable, get_args

import jwt
from attrs import evolve
from graphql import parse
from twisted.internet import reactor
from twisted.internet.task import deferLater

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
from .model import FORBIDDEN, HISTORY, INVALID, NOT_FOUND, OK, SUBSCRIBE, UNAUTHORIZED, VERBS, Principal
from .protocol_clients import ProtocolClients

NOBODY = "00000000-0000-4000-8000-000000000000"
UNKNOWN_IDS = {NOBODY: NOT_FOUND, "x": INVALID}  # with the outcome of whatever is tried on one

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
        return evolve(
            config,
            rate_limits=evolve(config.rate_limits, max_login_failures=100_000),
            auth=evolve(config.auth, auth_timeout=3600.0),
            rules=tuple(Rule(match, verbs) for match, verbs in model.RULES),
            namespaces=(Namespace("fleet.**"), Namespace("news.**")),
        )

    async def asyncSetUp(self) -> None:
        self.cells = 0  # triples of principal, operation and resource
        self.answers: Counter[str] = Counter()  # by protocol
        self.differences: list[str] = []
        self.names = map("".join, product("abcdefghij", repeat=4))
        self.ann, self.bob, self.cleo = [await self.person(name) for name in ("ann", "bob", "cleo")]
        await self.server.getServiceNamed("operators").grant(self.ann.id)
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
        id, revoked = await self.credential("revoked", self.grants)
        await self.ann.rest.ask("DELETE", f"/api/v1/auth/credentials/{id}")
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
        self.cells += 1
        for protocol, outcome in found.items():
            self.answers[protocol] += 1
            if outcome != expected:
                self.differences.append(
                    f"{principal.name}: {what} over {protocol}: {outcome}, not {expected}"
                )

    async def test_every_principal_operation_and_protocol(self) -> None:
        for principal in self.principals:
            clients = await ProtocolClients.open(principal, self.address, self.server.port_number("toy"))
            for rows in (
                self.publications,
                self.subscriptions,
                self.explanations,
                self.accounts,
                self.messages,
            ):
                await rows(principal, clients)
            await clients.close()
        await self.endings()
        self.assertEqual(self.differences, [])
        self.assertGreater(self.cells, 1000)
        print(f"{self.cells} triples of principal, operation and resource; {dict(self.answers)} answers")

    async def publications(self, principal: Principal, clients: ProtocolClients) -> None:
        for topic in self.topics:
            expected = model.publishing(principal, topic)
            self.compare(principal, f"publish {topic}", expected, **await clients.publish(topic))

    async def subscriptions(self, principal: Principal, clients: ProtocolClients) -> None:
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

    async def explanations(self, principal: Principal, clients: ProtocolClients) -> None:
        """`explain` says what the model says."""
        for topic in self.topics:
            for verb in VERBS:
                _, answer = await clients.rest.ask("GET", f"/api/v1/topics/{topic}/explain?verb={verb}")
                query = f'{{ explain(topic: "{topic}", verb: "{verb}") {{ allowed }} }}'
                by_graphql = await clients.rest.graphql(query)
                if principal.user is None:
                    self.compare(
                        principal,
                        f"explain {verb} {topic}",
                        UNAUTHORIZED,
                        rest={4: UNAUTHORIZED}.get(answer["error"]["code"], str(answer)),
                        graphql=by_graphql["errors"][0]["extensions"]["code"],
                    )
                    continue
                self.compare(
                    principal,
                    f"explain {verb} {topic}",
                    str(model.may(principal, verb, topic)),
                    rest=str(answer["data"]["allowed"]),
                    graphql=str(by_graphql["data"]["explain"]["allowed"]),
                )

    async def try_account(
        self,
        principal: Principal,
        what: str,
        otherwise: str,
        for_credentials: bool = False,
        **attempts: Awaitable[str],
    ) -> None:
        """Compare the outcome of an operation on anything but topics, by protocol, with the model's."""
        found = {protocol: await attempt for protocol, attempt in attempts.items()}
        self.compare(principal, what, model.on_accounts(principal, otherwise, for_credentials), **found)

    async def accounts(self, principal: Principal, clients: ProtocolClients) -> None:
        cell, rest, graphql = partial(self.try_account, principal), clients.by_rest, clients.by_graphql
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
        for id, outcome in {self.ann.id: OK, self.bob.id: OK, **UNKNOWN_IDS}.items():
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
            for id, outcome in {theirs: NOT_FOUND, **UNKNOWN_IDS}.items()
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

    async def credential_of_cleo(self) -> str:
        """The id of a new credential of Cleo's."""
        fields = {"name": next(self.names), "grants": [{"pattern": "room.*", "verbs": ["subscribe"]}]}
        _, answer = await self.cleo.rest.ask("POST", "/api/v1/auth/credentials", fields)
        return str(answer["data"]["id"])

    async def messages(self, principal: Principal, clients: ProtocolClients) -> None:
        cell, rest, graphql = partial(self.try_account, principal), clients.by_rest, clients.by_graphql
        ann, bob, cleo = self.ann, self.bob, self.cleo
        fresh = [
            ("in a channel, of ann", ann, {"channelId": "c"}, {ann.id, bob.id}),
            ("in a channel, of bob", bob, {"channelId": "c"}, {ann.id, bob.id}),
            ("from ann to bob", ann, {"recipientId": bob.id}, {ann.id, bob.id}),
            ("from bob to cleo", bob, {"recipientId": cleo.id, "channelId": "c"}, {bob.id}),
        ]
        # What is tried: its name, the ids for REST and for GraphQL, the outcomes of reading and of deleting.
        targets = [(f"message {id}", id, id, outcome, outcome) for id, outcome in UNKNOWN_IDS.items()]
        for what, author, target, seen_by in fresh:
            # One deletion for each protocol.
            one, another = [await self.message(author, **target) for _ in range(2)]
            gone = OK if principal.user == author.id else FORBIDDEN
            outcomes = (OK, gone) if principal.user in seen_by else (NOT_FOUND, NOT_FOUND)
            targets.append((f"what is {what}", one, another, *outcomes))
        for what, one, another, read, gone in targets:
            await cell(
                f"read {what}",
                read,
                rest=rest("GET", f"/messages/{one}"),
                graphql=graphql(f'{{ message(id: "{one}") {{ id }} }}'),
            )
            await cell(
                f"delete {what}",
                gone,
                rest=rest("DELETE", f"/messages/{one}"),
                graphql=graphql(f'mutation {{ deleteMessage(id: "{another}") }}'),
            )
        for id, outcome in UNKNOWN_IDS.items():
            await cell(
                f"send to {id}",
                outcome,
                rest=rest("POST", "/messages", {"content": "x", "recipientId": id}),
                graphql=graphql(
                    f'mutation {{ sendMessage(input: {{content: "x", recipientId: "{id}"}}) {{ id }} }}'
                ),
            )
        lists = {
            "/messages": "messages",
            f"/messages/user/{bob.id}": f'userMessages(userId: "{bob.id}")',
            "/messages/channel/c": 'channelMessages(channelId: "c")',
        }
        for path, field in lists.items():
            await cell(
                f"list {path}", OK, rest=rest("GET", path), graphql=graphql(f"{{ {field} {{ cursor }} }}")
            )

    async def endings(self) -> None:
        """Operations that end the login itself: each with a new account."""
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
                    client = ProtocolClients(
                        principal, self.address, Rest(self.address, principal.token), None, None, None
                    )  # type: ignore[arg-type]
                    method, _, target = path.format(id=principal.user or self.ann.id).partition(" ")
                    found[protocol] = await (
                        client.by_rest(method, target)
                        if protocol == "rest"
                        else client.by_graphql(f"mutation {{ {field} }}")
                    )
                self.compare(principal, path, model.on_accounts(principal, OK), **found)

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
