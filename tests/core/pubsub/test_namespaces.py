"""Which topics the log keeps."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.pubsub import topics
from multiproto.core.pubsub.namespaces import CANARIES, MESSAGES, REVOCATIONS, USERS, Namespace, Namespaces
from multiproto.core.pubsub.topics import literal_prefix, overlaps
from tests.examples import examples

from .test_topics import PATTERNS, TOPICS, covers

SHORT = PATTERNS.filter(lambda pattern: pattern.count(".") < 3)


class OverlapTests(SynchronousTestCase):
    @settings(max_examples=examples(300))
    @given(PATTERNS, TOPICS)
    def test_of_a_pattern_and_a_topic_is_covering(self, pattern: str, topic: str) -> None:
        expected = covers(pattern.split("."), topic.split("."))
        self.assertEqual((overlaps(pattern, topic), overlaps(topic, pattern)), (expected, expected))
        self.assertEqual(topics.matches(pattern.split("."), topic.split(".")), expected)

    @settings(max_examples=examples(300))
    @given(PATTERNS, PATTERNS, TOPICS)
    def test_of_two_patterns(self, one: str, other: str, topic: str) -> None:
        """What both cover, they overlap in; and it is the same either way round."""
        if covers(one.split("."), topic.split(".")) and covers(other.split("."), topic.split(".")):
            self.assertTrue(overlaps(one, other), (one, other, topic))
        self.assertEqual(overlaps(one, other), overlaps(other, one))

    @settings(max_examples=examples(300))
    @given(st.lists(SHORT, max_size=3), SHORT, st.lists(TOPICS, max_size=20))
    def test_a_pattern_that_others_cover(self, wide: list[str], narrow: str, spoken: list[str]) -> None:
        """Then each of its topics is covered by one of them; and if not, one is not: `*` and `**` stand for some."""
        for topic in spoken:
            words = topic.split(".")
            if covers(narrow.split("."), words) and not any(covers(each.split("."), words) for each in wide):
                self.assertFalse(topics.covers(wide, narrow), topic)
        if not topics.covers(wide, narrow):
            named = {*".".join([narrow, *wide]).split("."), "other"} - {"*", "**"}
            made = (words for length in range(1, 6) for words in product(named, repeat=length))
            self.assertTrue(
                any(
                    covers(narrow.split("."), [*words])
                    and not any(covers(each.split("."), [*words]) for each in wide)
                    for words in made
                )
            )

    def test_covering(self) -> None:
        for wide, narrow, expected in (
            (["a.**"], "a", True),
            (["a.*"], "a.**", False),
            (["*.**"], "**", True),  # no topic has no words
            (["**.*"], "*.**", True),
            (["**.a"], "**", False),
            (["*.**"], "**.a", True),
            (["a", "a.*.**"], "a.**", True),
            (["a", "a.*", "a.b.*.**"], "a.**", False),
            ([], "a", False),
        ):
            self.assertEqual(topics.covers(wide, narrow), expected, (wide, narrow))

    def test_table(self) -> None:
        for one, other, common in [
            ("a.*", "*.b", True),
            ("a.*", "b.*", False),
            ("a.**", "a", True),
            ("a.**.c", "*.c", True),
            ("a.**.c", "*.d", False),
            ("a.*", "a.*.*", False),
            ("**.x", "y.**", True),
        ]:
            self.assertEqual(overlaps(one, other), common, (one, other))

    @given(PATTERNS, TOPICS)
    def test_lead(self, pattern: str, topic: str) -> None:
        """Every topic that a pattern covers begins with its lead."""
        if overlaps(pattern, topic):
            self.assertTrue(topic.startswith(literal_prefix(pattern)))


class NamespacesTests(SynchronousTestCase):
    def test_the_servers_own_are_always_there(self) -> None:
        names = [each.match for each in Namespaces.with_builtin([])]
        self.assertEqual(names, [USERS, MESSAGES, REVOCATIONS, CANARIES])

    def test_the_first_that_covers_it_keeps_a_topic(self) -> None:
        namespaces = Namespaces.with_builtin(
            [Namespace("a.**", max_events=5), Namespace("a.b", max_events=1)]
        )
        for topic, match in [
            ("a.b", "a.**"),
            ("a", "a.**"),
            ("messages.channel.c", MESSAGES),
            ("users", USERS),
        ]:
            found = namespaces.find(topic)
            assert found is not None
            self.assertEqual(found.match, match)
        self.assertIsNone(namespaces.find("b"))

    def test_what_a_wider_one_prunes_hides_nothing_of_a_narrower_one(self) -> None:
        namespaces = Namespaces.with_builtin([Namespace("a.b.**"), Namespace("a.**", retention=60.0)])
        for pattern, matches in [
            ("a.b.c", ["a.b.**"]),
            ("a.b.*", ["a.b.**"]),
            ("a.*.c", ["a.b.**", "a.**"]),
            ("a.c", ["a.**"]),
            ("a.**", ["a.b.**", "a.**"]),
        ]:
            self.assertEqual([each.match for each in namespaces.overlapping(pattern)], matches, pattern)

    def test_the_servers_own_can_be_bounded(self) -> None:
        namespaces = Namespaces.with_builtin([Namespace(MESSAGES, retention=60.0)])
        self.assertEqual(namespaces.find("messages"), Namespace(MESSAGES, retention=60.0))
        self.assertEqual(len(list(namespaces)), 4)

    def test_what_a_pattern_may_hear_of(self) -> None:
        """The server's own topics, which no client may read, are none of it."""
        namespaces = Namespaces.with_builtin([Namespace("a.**")])
        for pattern, matches in [
            ("**", [USERS, MESSAGES, "a.**"]),
            ("*", [USERS, MESSAGES, "a.**"]),
            ("*.b", [USERS, MESSAGES, "a.**"]),
            ("a.b", ["a.**"]),
            ("b.**", []),
        ]:
            self.assertEqual([each.match for each in namespaces.overlapping(pattern)], matches, pattern)
