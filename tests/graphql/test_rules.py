"""Topic rules over GraphQL: refused with FORBIDDEN, narrowed per event, explained."""

from __future__ import annotations

from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE, Rule
from multiproto.core.pubsub.policy import Policy

from .transport.test_event_stream import StreamCase, told

PUBLISHED = 'mutation {{ publish(topic: "{}", data: 1) {{ topic }} }}'
TOPIC = (
    "subscription($pattern: String!, $after: String) { topic(pattern: $pattern, after: $after) { topic } }"
)


class RulesTests(StreamCase):
    policy = Policy((Rule("devices.{user}.**", [PUBLISH, SUBSCRIBE]),))

    def test_forbidden(self) -> None:
        self.assertEqual(self.codes(PUBLISHED.format(f"devices.{self.bob}.1"), self.ann), ["FORBIDDEN"])
        for pattern, after in (
            (f"devices.{self.bob}.**", None),
            (f"devices.{self.bob}", None),
            (f"devices.{self.ann}.**", "t.0"),  # no right to the past
        ):
            stream = self.follow(TOPIC, self.ann, pattern=pattern, after=after)
            (_, payload), _ = self.heard(stream)
            self.assertEqual(payload["errors"][0]["extensions"]["code"], "FORBIDDEN", pattern)

    def test_a_wide_pattern_leaks_nothing(self) -> None:
        ann, bob = (self.follow(TOPIC, who, pattern="devices.**") for who in (self.ann, self.bob))
        self.data(PUBLISHED.format(f"devices.{self.ann}.1"), self.ann)
        self.assertEqual(self.heard(ann), [told("topic", {"topic": f"devices.{self.ann}.1"})])
        self.assertEqual(self.heard(bob), [])

    def test_explained(self) -> None:
        query = """query($topic: String!, $verb: String!) {
            explain(topic: $topic, verb: $verb) { topic verb allowed why rule } }"""
        topic = f"devices.{self.ann}.1"
        self.assertEqual(
            self.data(query, self.ann, topic=topic, verb="publish")["explain"],
            {
                "topic": topic,
                "verb": "publish",
                "allowed": True,
                "why": "A rule lets you publish here",
                "rule": "devices.{user}.**",
            },
        )
        found = self.data(query, self.bob, topic=topic, verb="subscribe")["explain"]
        self.assertEqual((found["allowed"], found["rule"]), (False, None))
        self.assertEqual(self.codes(query, self.ann, topic="a", verb="read"), ["VALIDATION_ERROR"])
        self.assertEqual(self.codes(query, None, topic="a", verb="publish"), ["UNAUTHORIZED"])
