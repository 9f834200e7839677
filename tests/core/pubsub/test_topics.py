"""Topics and patterns: what is one, what covers what, and what it costs."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import ValidationError
from multiproto.core.pubsub.topics import TopicTree, check_pattern, check_topic, escape_word
from tests.examples import examples

WORDS = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(WORDS, min_size=1, max_size=6).map(".".join)
PATTERNS = st.lists(st.one_of(WORDS, st.sampled_from(["*", "**"])), min_size=1, max_size=6).map(".".join)


def covers(pattern: list[str], topic: list[str]) -> bool:
    """What docs/common.md#topics-and-patterns says, word for word; slow."""
    if not pattern:
        return not topic
    if pattern[0] == "**":
        return any(covers(pattern[1:], topic[n:]) for n in range(len(topic) + 1))
    return bool(topic) and pattern[0] in ("*", topic[0]) and covers(pattern[1:], topic[1:])


class NamesTests(SynchronousTestCase):
    def test_topics(self) -> None:
        for topic in ("a", "a.b", "chat:room1", "a/b", "café", "日本.東京", "_own", "%2E", "a-b_c", "\u200b"):
            self.assertEqual(check_topic(topic), topic)
            self.assertEqual(check_pattern(topic), topic)
        for topic in (
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\tb",
            "a\nb",
            "a\0",
            "a\x7f",
            "a\u00a0b",
            "a\x85",
        ):
            self.assertRaises(ValidationError, check_topic, topic)
            self.assertRaises(ValidationError, check_pattern, topic)

    def test_wildcards_are_whole_words_of_patterns_only(self) -> None:
        for pattern in ("*", "**", "a.*", "a.**", "*.a", "**.a", "a.**.b", "**.**"):
            self.assertEqual(check_pattern(pattern), pattern)
            self.assertRaises(ValidationError, check_topic, pattern)
        for pattern in ("us*rs", "a.b*", "***", "a.***", "*a"):
            self.assertRaises(ValidationError, check_pattern, pattern)

    def test_limits(self) -> None:
        """255 bytes of UTF-8 and 16 words are taken, one more of either is not."""
        check_topic("x" * 255)
        check_topic("é" * 127 + "x")
        check_topic(".".join("x" * 16))
        for topic in ("x" * 256, "é" * 128, ".".join("x" * 17)):
            self.assertRaises(ValidationError, check_topic, topic)

    def test_any_text_as_one_word(self) -> None:
        """`c.9` was two words in the predecessor."""
        for text, escaped in [
            ("c9", "c9"),
            ("c.9", "c%2E9"),
            ("50%", "50%25"),
            ("a b*", "a%20b%2A"),
            ("é", "é"),
            ("\u00a0", "%C2%A0"),
        ]:
            self.assertEqual(escape_word(text), escaped)

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
    def test_an_escaped_word_is_a_topic(self, text: str) -> None:
        check_topic(escape_word(text))

    @given(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
    def test_two_texts_never_make_one_word(self, one: str, other: str) -> None:
        self.assertEqual(escape_word(one) == escape_word(other), one == other)


class TopicTreeTests(SynchronousTestCase):
    def test_whether_any_pattern_overlaps(self) -> None:
        tree: TopicTree[str] = TopicTree()
        self.assertFalse(tree.overlaps("**"))
        for pattern in ("a.b.c", "x.*"):
            tree.add(pattern, "me")
        for pattern, expected in (
            ("a.**", True),
            ("a.b", False),
            ("x.y", True),
            ("x", False),
            ("*.*", True),
            ("**", True),
        ):
            self.assertEqual(tree.overlaps(pattern), expected, pattern)
        tree.remove("x.*", "me")
        self.assertFalse(tree.overlaps("x.y"))

    def test_table(self) -> None:
        """Which patterns cover which topics."""
        for pattern, topic, covered in [
            ("a.b", "a.b", True),
            ("a.b", "a.b.c", False),
            ("a.*", "a.b", True),
            ("a.*", "a", False),
            ("a.*", "a.b.c", False),
            ("*.b", "a.b", True),
            ("a.**", "a", True),
            ("a.**", "a.b.c", True),
            ("**", "a.b", True),
            ("**.c", "c", True),
            ("**.c", "a.b.c", True),
            ("**.c", "a.c.b", False),
            ("a.**.c", "a.c", True),
            ("a.**.c", "a.b.b.c", True),
            ("a.**.c", "a.b", False),
            ("**.**", "a", True),
            ("*.**", "a", True),
        ]:
            tree: TopicTree[str] = TopicTree()
            tree.add(pattern, "me")
            self.assertEqual(tree.match(topic), ["me"] if covered else [], (pattern, topic))

    @settings(max_examples=examples(300))
    @given(st.lists(PATTERNS, max_size=8), TOPICS)
    def test_agrees_with_the_definition(self, patterns: list[str], topic: str) -> None:
        tree: TopicTree[str] = TopicTree()
        for pattern in patterns:
            tree.add(pattern, pattern)
        expected = {p for p in patterns if covers(p.split("."), topic.split("."))}
        matched = tree.match(topic)
        self.assertEqual(set(matched), expected)
        self.assertEqual(len(matched), len(expected))

    @given(st.lists(PATTERNS, max_size=8))
    def test_leaving_leaves_nothing(self, patterns: list[str]) -> None:
        """The predecessor's fault: subscriptions of those who left stayed for ever.

        docs/predecessor-faults.md#fault-4
        """
        tree: TopicTree[str] = TopicTree()
        for pattern in patterns:
            tree.add(pattern, "me")
        for pattern in patterns:
            tree.remove(pattern, "me")
        self.assertTrue(tree.is_empty)

    def test_removing_what_was_never_added(self) -> None:
        tree: TopicTree[str] = TopicTree()
        tree.add("a.b", "me")
        for pattern in ("a", "a.b.c", "b"):
            tree.remove(pattern, "me")
        tree.remove("a.b", "you")
        self.assertEqual(tree.match("a.b"), ["me"])

    def test_no_pattern_makes_it_backtrack(self) -> None:
        """The predecessor's fault: eight `**x` groups blocked the loop.  Here each word is looked up once per open branch.

        docs/predecessor-faults.md#fault-3
        """

        class Counting(dict):  # type: ignore[type-arg]
            looked = 0

            def get(self, *args: object) -> object:
                Counting.looked += 1
                return super().get(*args)

        tree: TopicTree[str] = TopicTree()
        tree.add(".".join(["**", "x"] * 8), "me")
        node = tree._root
        while node.children:
            (following,) = node.children.values()
            node.children = Counting(node.children)
            node = following
        self.assertEqual(tree.match(".".join("x" * 15) + ".y"), [])
        # 16 words, at most 17 nodes open at each, three look-ups a node.
        self.assertLess(Counting.looked, 16 * 17 * 4)

    def test_a_listener_of_several_patterns_is_found_once(self) -> None:
        tree: TopicTree[str] = TopicTree()
        for pattern in ("a.*", "a.b", "**"):
            tree.add(pattern, "me")
        self.assertEqual(tree.match("a.b"), ["me"])

    def test_listeners_with_the_same_patterns_are_found_together(self) -> None:
        tree: TopicTree[str] = TopicTree()
        for listener, patterns in {
            "ann": ["a", "a.*"],
            "bob": ["a.*", "a"],
            "cid": ["a"],
            "dan": ["b"],
        }.items():
            for pattern in patterns:
                tree.add(pattern, listener)
        self.assertEqual(
            tree.match_by_coverage("a", "a.b"),
            [((("a", "a"),), ["cid"]), ((("a", "a"), ("a.b", "a.*")), ["ann", "bob"])],
        )
        self.assertEqual(tree.match_by_coverage("b"), [((("b", "b"),), ["dan"])])
        self.assertEqual(tree.match_by_coverage("c", "d"), [])

    @settings(max_examples=examples(300))
    @given(
        st.lists(st.tuples(PATTERNS, st.sampled_from("xyz")), max_size=12, unique=True),
        st.lists(TOPICS, min_size=1, max_size=3, unique=True),
    )
    def test_coverage_agrees_with_the_definition(
        self, subscriptions: list[tuple[str, str]], topics: list[str]
    ) -> None:
        tree: TopicTree[str] = TopicTree()
        for pattern, listener in subscriptions:
            tree.add(pattern, listener)
        expected: dict[str, set[tuple[str, str]]] = {}
        for topic in topics:
            for pattern, listener in subscriptions:
                if covers(pattern.split("."), topic.split(".")):
                    expected.setdefault(listener, set()).add((topic, pattern))
        found = tree.match_by_coverage(*topics)
        by_listener = {listener: coverage for coverage, listeners in found for listener in listeners}
        self.assertEqual({listener: set(pairs) for listener, pairs in by_listener.items()}, expected)
        self.assertEqual(sum(len(listeners) for _, listeners in found), len(expected))
        self.assertEqual(len({coverage for coverage, _ in found}), len(found))
        for pairs in by_listener.values():
            self.assertEqual(list(pairs), sorted(pairs, key=lambda pair: topics.index(pair[0])))
            self.assertEqual(len(set(pairs)), len(pairs))


class SpellingTests(SynchronousTestCase):
    def test_the_word_rule_is_the_contracts(self) -> None:
        """Every character but dot, star, white space and controls may stand in a word."""
        for code in range(0x3100):
            char = chr(code)
            banned = char in ".*" or char.isspace() or code < 32 or 127 <= code < 160
            if banned != bool(re.search(r"[.*\s\x00-\x1f\x7f-\x9f]", char)):
                self.fail(f"U+{code:04X}")
            if not banned:
                check_topic(char)
            elif char != "*":
                self.assertRaises(ValidationError, check_pattern, char)
