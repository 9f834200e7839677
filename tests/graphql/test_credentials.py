"""Credentials over GraphQL: creating, listing and revoking them, and the few fields that they authorize."""

from __future__ import annotations

from typing import Any

from graphql import (
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    build_schema,
    get_named_type,
    is_required_argument,
)

from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE
from multiproto.graphql.schema.build import load_sdl

from .transport.test_event_stream import StreamCase

GRANTS = (
    Grant("devices.pump.*", [PUBLISH, SUBSCRIBE]),
    Grant("messages", [SUBSCRIBE]),
    Grant("users", [SUBSCRIBE]),
)
MAKE = """mutation($input: CreateCredentialInput!) { createCredential(input: $input) {
    id name grants { pattern verbs } createdAt expiresAt credential } }"""
LIST = "{ credentials { id name grants { pattern verbs } createdAt expiresAt lastUsedAt lastUsedFrom } }"
REVOKE = "mutation($id: ID!) { revokeCredential(id: $id) }"
PUBLISHED = 'mutation {{ publish(topic: "{}", data: 1) {{ topic }} }}'
TOPIC = "subscription($pattern: String!) { topic(pattern: $pattern) { topic } }"
ID = "00000000-0000-7000-8000-000000000000"

# What who came with a credential is let do, and where nobody is asked who they are.
FOR_CREDENTIALS = {
    "Query": {"me", "explain"},
    "Mutation": {"publish"},
    "Subscription": {"userCreated", "userUpdated", "messageSent", "messageToUser", "topic"},
}
FOR_ALL = {"Query": {"health"}, "Mutation": {"register", "login", "refresh"}, "Subscription": set[str]()}
SAMPLES = {
    "ID": f'"{ID}"',
    "String": '"a"',
    "UpdateUserInput": '{name: "Eve"}',
    "SendMessageInput": '{content: "x", channelId: "c"}',
    "CreateCredentialInput": '{name: "x", grants: [{pattern: "**", verbs: ["publish"]}]}',
}


class MakingTests(StreamCase):
    INPUT = {"name": "pump", "grants": [{"pattern": "devices.**", "verbs": ["publish"]}], "expiresIn": "1d"}

    def test_made_listed_and_revoked(self) -> None:
        made = self.data(MAKE, self.ann, input=self.INPUT)["createCredential"]
        self.assertRegex(made.pop("credential"), "^mpd_[a-z2-7]{64}$")
        unused = {"lastUsedAt": None, "lastUsedFrom": None}
        self.assertEqual(self.data(LIST, self.ann)["credentials"], [made | unused])
        self.assertEqual(self.data(LIST, self.bob)["credentials"], [])
        self.assertEqual(self.codes(REVOKE, self.bob, id=made["id"]), ["NOT_FOUND"])
        self.assertEqual(self.data(REVOKE, self.ann, id=made["id"]), {"revokeCredential": True})
        self.assertEqual(self.data(LIST, self.ann)["credentials"], [])

    def test_refused(self) -> None:
        self.data(MAKE, self.ann, input=self.INPUT)
        self.assertEqual(self.codes(MAKE, self.ann, input=self.INPUT), ["CONFLICT"])
        self.assertEqual(self.codes(MAKE, self.ann, input=self.INPUT | {"grants": []}), ["VALIDATION_ERROR"])
        idle = {"grants": [{"pattern": f"messages.user.{ID}", "verbs": ["subscribe"]}]}
        self.assertEqual(self.codes(MAKE, self.ann, input=self.INPUT | idle), ["VALIDATION_ERROR"])
        for query, variables in ((MAKE, {"input": self.INPUT}), (LIST, {}), (REVOKE, {"id": ID})):
            self.assertEqual(self.codes(query, None, **variables), ["UNAUTHORIZED"])


class RightsTests(StreamCase):
    def setUp(self) -> None:
        super().setUp()
        self.gate.identities["pump"] = Identity(self.ann, "id-pump", float("inf"), "pump", GRANTS)

    def errors(self, stream: Any) -> list[str]:
        self.turn()
        (_, payload), *_ = [each for each in stream.events if each != ":"]
        return [error["extensions"]["code"] for error in payload["errors"]]

    def test_what_was_granted_and_no_more(self) -> None:
        heard = self.follow(TOPIC, "pump", pattern="devices.pump.*")
        self.assertEqual(self.errors(self.follow(TOPIC, "pump", pattern="devices.lamp.*")), ["FORBIDDEN"])
        self.data(PUBLISHED.format("devices.pump.heat"), "pump")
        self.assertEqual(self.codes(PUBLISHED.format("devices.lamp.heat"), "pump"), ["FORBIDDEN"])
        [(_, payload)] = self.heard(heard)
        self.assertEqual(payload["data"], {"topic": {"topic": "devices.pump.heat"}})
        self.assertEqual(self.data("{ me { id } }", "pump"), {"me": {"id": self.ann}})
        query = '{ explain(topic: "devices.lamp.heat", verb: "publish") { allowed } }'
        self.assertEqual(self.data(query, "pump"), {"explain": {"allowed": False}})

    def test_every_other_field_is_closed(self) -> None:
        """All fields of the schema, so that a new one is closed to credentials unless it is listed here."""
        schema = build_schema(load_sdl())
        for root in ("Query", "Mutation", "Subscription"):
            fields = self.fields(schema.type_map[root])
            let_in = FOR_CREDENTIALS[root] | FOR_ALL[root]
            self.assertLessEqual(let_in, set(fields))
            for name in set(fields) - let_in:
                operation = f"{root.lower()} {{ {self.spelled(name, fields[name])} }}"
                codes = self.errors(self.follow(operation, "pump"))
                self.assertEqual(codes, ["FORBIDDEN"], operation)

    def test_what_leads_from_one_thing_to_another_is_closed(self) -> None:
        self.assertEqual(self.codes("{ me { messages { cursor } } }", "pump"), ["FORBIDDEN"])
        sent = self.follow("subscription { messageSent { content user { email } } }", "pump")
        created = self.follow("subscription { userCreated { name messages { cursor } } }", "pump")
        self.message(self.bob, "hi", channelId="c")
        self.user("Eve")
        [(_, payload)] = self.heard(sent)
        self.assertIsNone(payload["data"])
        self.assertEqual(
            [each["message"] for each in payload["errors"]], ["This credential is for topics only"]
        )
        self.assertEqual(self.errors(created), ["FORBIDDEN"])

    def test_streams_of_things_need_their_topics(self) -> None:
        """messages is granted, one channel of it is not."""
        for query in (
            'subscription { messageSent(channelId: "c") { content } }',
            f'subscription {{ messageToUser(userId: "{self.ann}") {{ content }} }}',
            f'subscription {{ userUpdated(userId: "{self.bob}") {{ name }} }}',
        ):
            self.assertEqual(self.errors(self.follow(query, "pump")), ["FORBIDDEN"], query)

    def fields(self, kind: GraphQLNamedType) -> dict[str, GraphQLField]:
        assert isinstance(kind, GraphQLObjectType)
        return kind.fields

    def spelled(self, name: str, field: GraphQLField) -> str:
        """A document that selects `field`."""
        args = ", ".join(
            f"{name}: {SAMPLES[get_named_type(arg.type).name]}"
            for name, arg in field.args.items()
            if is_required_argument(arg)
        )
        selection = "{ __typename }" if isinstance(get_named_type(field.type), GraphQLObjectType) else ""
        return f"{name}{f'({args})' if args else ''} {selection}"
