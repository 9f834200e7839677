"""Who may read and write which topic."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Iterable, Iterator, Sequence

from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import Forbidden, ValidationError
from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub.permissions import HISTORY, PUBLISH, SUBSCRIBE, VERBS, Rule
from multiproto.core.pubsub.policy import MAX_CACHED_ACCESS, ChannelFilter, Policy
from tests.examples import examples

from .test_topics import covers

ANN = Identity("ann", "s", 0.0)
BOB = Identity("bob", "s", 0.0)
PUMP = evolve(ANN, device_name="pump")
OTHERS = "These messages are someone else's"


class ContractTests(SynchronousTestCase):
    """What holds without a rule, and whatever rules say."""

    policies = (Policy(), Policy((Rule("**", VERBS), Rule("*.user.*", VERBS), Rule("{user}.**", VERBS))))

    def test_reading(self) -> None:
        """A direct message is for its two people only (docs/predecessor-faults.md#fault-12)."""
        for topic, readable in [
            ("users", True),
            ("users.bob", True),
            ("messages", True),
            ("messages.channel.c", True),
            ("messages.user.ann", True),
            ("messages.user.bob", False),
            ("messages.user", False),
            ("messages.user.bob.ann", False),
            ("messages.users.bob", True),
            ("messages.username", True),
            ("room.1", True),
            ("_sessions", False),
            ("_", False),
        ]:
            for policy in self.policies:
                self.assertEqual(policy.may_read(ANN, topic), readable, topic)
                self.assertEqual(policy.may_replay(ANN, topic), readable, topic)

    def test_subscribing(self) -> None:
        """Refused only where no topic that the pattern covers could ever be read."""
        for policy, history in itertools.product(self.policies, (False, True)):
            for pattern in (
                *("**", "*", "messages.**", "messages.user.ann", "messages.user.*", "messages.user.**"),
                *("*.user.bob", "messages.*.bob", "users.bob", "**.bob", "messages.user.ann.*"),
            ):
                policy.authorize_subscribe(ANN, pattern, history)
            for pattern in (
                *("messages.user.bob", "messages.user.bob.**", "messages.user"),
                *("_sessions", "_.*", "_a.**"),
            ):
                self.assertRaises(Forbidden, policy.authorize_subscribe, ANN, pattern, history)

    def test_ones_own_id_in_capitals(self) -> None:
        """It is no topic of anybody's: ids in topics are in lower case, and the refusal says so."""
        why = "Ids in topics are in lower case: in capitals, nobody's messages are here"
        for policy in self.policies:
            for pattern in (
                "messages.user.ANN",
                "messages.user.Ann",
                "messages.user.ANN.**",
                "messages.user.ANN.*",
            ):
                refused = self.assertRaises(Forbidden, policy.authorize_subscribe, ANN, pattern)
                self.assertEqual(refused.message, why, pattern)
            self.assertEqual(policy.explain(ANN, HISTORY, "messages.user.ANN")["why"], why)
            for pattern in (
                "messages.user.BOB",
                "messages.user.bob",
                "messages.user",
                "messages.user.bob.ANN",
            ):
                refused = self.assertRaises(Forbidden, policy.authorize_subscribe, ANN, pattern)
                self.assertEqual(refused.message, OTHERS, pattern)

    def test_writing(self) -> None:
        """Nobody forges the server's events (docs/predecessor-faults.md#fault-12)."""
        for policy in self.policies:
            for topic in ("room.1", "user", "usersx", "x.users", "messages2"):
                policy.authorize_publish(ANN, topic)
            for topic in (
                *("users", "users.ann", "messages", "messages.user.ann"),
                *("messages.channel.c", "_sessions"),
            ):
                self.assertRaises(Forbidden, policy.authorize_publish, ANN, topic)


class RulesTests(SynchronousTestCase):
    policy = Policy(
        (
            Rule("devices.{user}.**", [PUBLISH, SUBSCRIBE, HISTORY]),
            Rule("devices.*.status", [SUBSCRIBE]),
            Rule("fleet.{user}.{device}.*", [PUBLISH]),
            Rule("twice.{user}.{user}", [SUBSCRIBE]),
            Rule("plant.north", [SUBSCRIBE]),
            Rule("closed.**", []),
        )
    )

    def may(self, who: Identity, topic: str) -> list[str]:
        return [verb for verb in VERBS if self.policy.decide(who, verb, topic).allowed]

    def test_table(self) -> None:
        for who, topic, verbs in [
            (ANN, "devices.ann.temp", [PUBLISH, SUBSCRIBE, HISTORY]),
            (ANN, "devices.ann", [PUBLISH, SUBSCRIBE, HISTORY]),
            (BOB, "devices.ann.temp", []),
            (BOB, "devices.ann.status", [SUBSCRIBE]),
            (ANN, "devices", []),  # under what is ruled, and let in by none
            (ANN, "devicesx", [PUBLISH, SUBSCRIBE, HISTORY]),  # not under it
            (ANN, "fleet.ann.pump.x", []),  # came without a device
            (PUMP, "fleet.ann.pump.x", [PUBLISH]),
            (PUMP, "fleet.ann.drill.x", []),
            (PUMP, "fleet.bob.pump.x", []),
            (ANN, "twice.ann.ann", [SUBSCRIBE]),
            (ANN, "twice.ann.bob", []),
            (BOB, "twice.ann.bob", []),
            (BOB, "plant.north", [SUBSCRIBE]),
            (BOB, "plant.north.1", []),
            (BOB, "plant.south", [PUBLISH, SUBSCRIBE, HISTORY]),
            (ANN, "closed", []),
            (ANN, "room.1", [PUBLISH, SUBSCRIBE, HISTORY]),
        ]:
            self.assertEqual(self.may(who, topic), verbs, (who, topic))

    def test_a_rule_that_begins_with_no_word_rules_everything(self) -> None:
        for match in ("**", "*", "*.x", "{user}.**", "{device}"):
            policy = Policy((Rule(match, [SUBSCRIBE]),))
            self.assertRaises(Forbidden, policy.authorize_publish, ANN, "room.1")
            self.assertEqual(policy.may_read(ANN, "a.b.c"), match == "**")
            self.assertTrue(policy.may_read(ANN, "users.bob"))

    def test_a_name_is_never_a_pattern(self) -> None:
        """Whoever is called `*`, or as a variable is, has the rights of nobody else."""
        for name in ("*", "**", "ann.bob", "{user}", ""):
            who = Identity(name, "s", 0.0, device_name=name)
            self.assertEqual(self.may(who, "devices.ann.temp"), [])
            self.assertEqual(self.may(who, "fleet.ann.pump.x"), [])
            self.assertEqual(self.may(who, "devices.{user}.temp"), [*VERBS] if name == "{user}" else [])
            if name != "{user}":
                self.assertRaises(Forbidden, self.policy.authorize_subscribe, who, "devices.*.temp")

    def test_patterns_with_nothing_to_read(self) -> None:
        for who, pattern, refused, without_history in [
            (ANN, "devices.**", False, False),
            (ANN, "devices.ann.*", False, False),
            (ANN, "devices.bob.**", False, True),  # its status
            (ANN, "devices.bob.*.temp", True, True),
            (ANN, "devices.bob.temp", True, True),
            (ANN, "devices.*.status", False, False),
            (BOB, "devices.ann.status", False, True),
            (ANN, "fleet.**", True, True),
            (ANN, "closed.**", True, True),
            (ANN, "plant.**", False, False),
            (ANN, "plant.*", False, False),
            (ANN, "plant.north", False, True),
            (ANN, "plant.north.**", False, True),
            (ANN, "plant.north.*", True, True),
            (ANN, "**", False, False),
            (ANN, "*.ann.fleet", False, False),
        ]:
            for history, forbidden in ((False, refused), (True, without_history)):
                try:
                    self.policy.authorize_subscribe(who, pattern, history)
                except Forbidden:
                    self.assertTrue(forbidden, (who, pattern, history))
                else:
                    self.assertFalse(forbidden, (who, pattern, history))

    def test_explained(self) -> None:
        """By the very decision, with the rule that let them, or why none did."""
        explain = self.policy.explain
        self.assertEqual(
            [
                explain(ANN, PUBLISH, "devices.ann.temp"),
                explain(BOB, HISTORY, "devices.ann.status"),
                explain(BOB, SUBSCRIBE, "messages.user.ann"),
                explain(BOB, SUBSCRIBE, "room.1"),
            ],
            [
                {
                    "topic": "devices.ann.temp",
                    "verb": "publish",
                    "allowed": True,
                    "why": "A rule lets you publish here",
                    "rule": "devices.{user}.**",
                },
                {
                    "topic": "devices.ann.status",
                    "verb": "history",
                    "allowed": False,
                    "why": "Topics under devices are ruled, and no rule lets you hear what was said here before",
                    "rule": None,
                },
                {
                    "topic": "messages.user.ann",
                    "verb": "subscribe",
                    "allowed": False,
                    "why": OTHERS,
                    "rule": None,
                },
                {
                    "topic": "room.1",
                    "verb": "subscribe",
                    "allowed": True,
                    "why": "No rule is about this topic: it is everybody's",
                    "rule": None,
                },
            ],
        )
        self.assertRaises(ValidationError, explain, ANN, "read", "a")
        self.assertRaises(ValidationError, explain, ANN, SUBSCRIBE, "a.*")

    def test_what_was_judged_is_kept_within_bounds(self) -> None:
        for number in range(MAX_CACHED_ACCESS + 1):
            self.policy.may_read(ANN, f"devices.ann.{number}")
        self.assertEqual(self.policy._access_to.cache_info().currsize, MAX_CACHED_ACCESS)  # type: ignore[attr-defined]


class ChannelRulesTests(SynchronousTestCase):
    """Rules narrow who may read a channel, and who may send messages to it."""

    policy = Policy(
        (
            Rule("messages.channel.board", VERBS, frozenset(["ann"])),
            Rule("messages.channel.board", [SUBSCRIBE], frozenset(["bob"])),
            Rule("messages.channel.a%2Eb", [HISTORY]),
            Rule("messages.channel.shut", []),
            Rule("**", VERBS),  # is about none of the server's topics
        )
    )
    closed = Policy(
        (
            Rule("messages.channel.*", [PUBLISH]),
            Rule("messages.channel.news", [SUBSCRIBE, HISTORY]),
            Rule("messages.channel.{user}", [SUBSCRIBE, HISTORY]),
            Rule("messages.channel.{device}", [SUBSCRIBE]),
        )
    )

    def test_table(self) -> None:
        for policy, who, channel, verbs in [
            (self.policy, ANN, "board", VERBS),
            (self.policy, BOB, "board", (SUBSCRIBE,)),
            (self.policy, Identity("eve", "s", 0.0), "board", ()),
            (self.policy, ANN, "a%2Eb", ()),  # the past alone is nothing
            (self.policy, ANN, "shut", ()),
            (self.policy, ANN, "boards", VERBS),
            (self.policy, ANN, "*", VERBS),
            (self.closed, ANN, "news", VERBS),
            (self.closed, ANN, "ann", VERBS),
            (self.closed, BOB, "ann", (PUBLISH,)),
            (self.closed, PUMP, "pump", (PUBLISH, SUBSCRIBE)),
            (self.closed, ANN, "pump", (PUBLISH,)),
            (Policy(), ANN, "board", VERBS),
        ]:
            topic = f"messages.channel.{channel}"
            found = tuple(verb for verb in VERBS if policy.decide(who, verb, topic).allowed)
            self.assertEqual(found, verbs, (who, channel))
            self.assertRaises(Forbidden, policy.authorize_publish, who, topic)  # it takes a message

    def test_other_topics_of_the_server_stay_as_they_are(self) -> None:
        for policy in (self.policy, self.closed):
            for topic in ("users", "users.bob", "messages", "messages.user.ann", "messages.channels.board"):
                self.assertTrue(policy.may_replay(ANN, topic), topic)
                self.assertFalse(policy.decide(ANN, PUBLISH, topic).allowed, topic)
            self.assertFalse(policy.may_read(ANN, "messages.user.bob"))

    def test_what_is_heard_on_messages(self) -> None:
        """All that is said in channels, but for those that one may not read."""
        board, open = "messages.channel.board", "messages.channel.open"
        granted = Grant("messages", VERBS)
        for who, channel, heard, found in [
            (ANN, board, True, True),
            (BOB, board, True, False),
            (Identity("eve", "s", 0.0), board, False, False),
            (Identity("eve", "s", 0.0), open, True, True),
            # A grant of what is said in channels is none of what is said in a ruled one.
            (evolve(ANN, grants=(granted,)), board, False, False),
            (evolve(ANN, grants=(granted,)), open, True, True),
            (evolve(ANN, grants=(granted, Grant(board, [SUBSCRIBE]))), board, True, False),
            (evolve(ANN, grants=(Grant(board, VERBS),)), board, False, False),
        ]:
            self.assertEqual(self.policy.may_read(who, "messages", channel), heard, (who, channel))
            self.assertEqual(self.policy.may_replay(who, "messages", channel), found, (who, channel))

    def test_lists(self) -> None:
        eve = Identity("eve", "s", 0.0)
        for policy, who, readable in [
            (Policy(RulesTests.policy.rules), ANN, None),
            (Policy((Rule("messages.channel.x", VERBS),)), ANN, None),
            (self.policy, ANN, ChannelFilter(("a.b", "shut"), only_named=False)),
            (self.policy, BOB, ChannelFilter(("a.b", "board", "shut"), only_named=False)),
            (self.closed, ANN, ChannelFilter(("ann", "news"), only_named=True)),
            (Policy((Rule("messages.channel.*", ()),)), ANN, ChannelFilter((), only_named=True)),
            (Policy((Rule("messages.channel.*", VERBS, frozenset(["ann"])),)), ANN, None),
            (Policy((Rule("messages.channel.**", VERBS, frozenset(["ann"])),)), eve, ChannelFilter((), True)),
        ]:
            found = policy.readable_channels(who)
            self.assertEqual(found, readable)
            for channel in ("a.b", "board", "shut", "news", "ann", "x", "open", "*", "**", "{user}"):
                admitted = found is None or found.admits(channel)
                self.assertEqual(admitted, policy.may_read_channel(who, channel), (who, channel))

    def test_sending(self) -> None:
        for policy, who, channel, allowed in [
            (self.policy, ANN, "board", True),
            (self.policy, BOB, "board", False),
            (self.policy, BOB, "a.b", False),
            (self.policy, BOB, "a%2Eb", True),  # another channel
            (self.closed, BOB, "any", True),
            (Policy(), BOB, "board", True),
        ]:
            if allowed:
                policy.authorize_send(who, channel)
            else:
                self.assertRaises(Forbidden, policy.authorize_send, who, channel)

    def test_patterns_with_nothing_to_read(self) -> None:
        for policy, who, pattern, allowed in [
            (self.policy, BOB, "messages.channel.shut", False),
            (self.policy, BOB, "messages.channel.*", True),
            (self.policy, BOB, "messages.channel.shut.**", False),
            (self.closed, ANN, "messages.channel.*", True),
            (Policy((Rule("messages.channel.*", ()),)), ANN, "messages.channel.**", False),
            (Policy((Rule("messages.channel.*", ()), Rule("**", VERBS))), ANN, "messages.channel.*", False),
            (Policy((Rule("messages.channel.*", ()),)), ANN, "messages.**", True),
            (Policy((Rule("messages.channel.c", ()), Rule("*", ()))), ANN, "messages.channel.*", True),
            (Policy((Rule("messages.channel.*", ()),)), ANN, "messages", True),
        ]:
            if allowed:
                policy.authorize_subscribe(who, pattern)
            else:
                self.assertRaises(Forbidden, policy.authorize_subscribe, who, pattern)

    def test_explained(self) -> None:
        """To publish to a channel is to send messages, which takes a login."""
        topic = "messages.channel.board"
        everything = evolve(ANN, grants=(Grant("**", VERBS),))
        for policy, who, allowed, why in [
            (self.policy, ANN, True, "A rule lets you publish here"),
            (self.policy, BOB, False, f"Topics under {topic} are ruled, and no rule lets you publish here"),
            (Policy(), BOB, True, "No rule is about this channel: everybody may send messages to it"),
            (self.policy, everything, False, "A credential sends no messages: that takes a login"),
        ]:
            found = policy.explain(who, PUBLISH, topic)
            self.assertEqual((found["allowed"], found["why"]), (allowed, why))
        self.assertFalse(Policy().explain(ANN, PUBLISH, "messages.channel.a.b")["allowed"])


class DevicesTests(SynchronousTestCase):
    """Where a rule has `{device}`, the word there is a device's name, and a device publishes under its own only."""

    policy = Policy(
        (
            Rule("fleet.{user}.**", [SUBSCRIBE]),
            Rule("fleet.{user}.{device}.report", [PUBLISH]),
            Rule("fleet.{user}.*.command", [PUBLISH]),
            Rule("fleet.{user}.drill.oil", [PUBLISH]),
            Rule("fleet.{user}.*.stop", [PUBLISH], devices=frozenset(["hub"])),
            Rule("wide.**", [PUBLISH]),
            Rule("wide.{device}.x.{device}", [SUBSCRIBE]),
        )
    )

    def test_publishing(self) -> None:
        hub = evolve(ANN, device_name="hub")
        for who, topic, allowed in [
            (ANN, "fleet.ann.pump.command", True),
            (PUMP, "fleet.ann.pump.command", True),
            (PUMP, "fleet.ann.drill.command", False),
            (hub, "fleet.ann.drill.command", False),
            (BOB, "fleet.ann.pump.command", False),
            (PUMP, "fleet.ann.drill.oil", True),  # the rule names the drill
            (hub, "fleet.ann.pump.stop", True),  # the rule names the hub
            (PUMP, "fleet.ann.pump.stop", False),
            (ANN, "fleet.ann.pump.stop", False),
            (PUMP, "fleet.ann.pump.report", True),
            (PUMP, "fleet.ann.drill.report", False),
            (ANN, "wide.pump.x", True),
            (PUMP, "wide.pump.x", True),
            (PUMP, "wide.drill.x", False),
            (PUMP, "wide", True),  # no device is named
        ]:
            self.assertEqual(self.policy.decide(who, PUBLISH, topic).allowed, allowed, (who, topic))

    def test_reading_is_what_the_rules_and_grants_say(self) -> None:
        self.assertTrue(self.policy.may_read(PUMP, "fleet.ann.drill.command"))
        stop = Policy((Rule("stop.*", [SUBSCRIBE], devices=frozenset(["hub"])),))
        self.assertRaises(Forbidden, stop.authorize_subscribe, ANN, "stop.*")
        self.assertRaises(Forbidden, stop.authorize_subscribe, PUMP, "stop.*")
        stop.authorize_subscribe(evolve(ANN, device_name="hub"), "stop.*")


class GrantsTests(SynchronousTestCase):
    """A credential with grants may do what they and the rules let it, both."""

    policy = RulesTests.policy
    grants = (Grant("devices.ann.*", [PUBLISH, SUBSCRIBE]), Grant("**.status", [SUBSCRIBE]))
    who = evolve(PUMP, grants=grants)

    def test_table(self) -> None:
        for topic, verbs in [
            ("devices.ann.temp", [PUBLISH, SUBSCRIBE]),
            ("devices.ann.status", [PUBLISH, SUBSCRIBE]),
            ("devices.ann.a.b", []),  # not granted
            ("devices.bob.status", [SUBSCRIBE]),
            ("fleet.ann.pump.status", []),  # granted, and not let by a rule
            ("room.status", [SUBSCRIBE]),
            ("room.1", []),
            ("users", []),
            ("messages.user.ann", []),
            ("messages.user.ann.status", [SUBSCRIBE]),
            ("messages.user.bob.status", []),
            ("_.status", []),
        ]:
            found = [verb for verb in VERBS if self.policy.decide(self.who, verb, topic).allowed]
            self.assertEqual(found, verbs, topic)

    def test_patterns(self) -> None:
        for pattern in ("**", "devices.**", "room.*", "messages.**", "users.**"):
            self.policy.authorize_subscribe(self.who, pattern)
            self.assertRaises(Forbidden, self.policy.authorize_subscribe, self.who, pattern, True)
        for pattern in ("users", "room.1", "devices.ann.a.*.c", "_.**"):
            self.assertRaises(Forbidden, self.policy.authorize_subscribe, self.who, pattern)

    def test_none_at_all(self) -> None:
        nobody = evolve(ANN, grants=())
        for policy in (Policy(), self.policy):
            for topic in ("users", "room.1", "messages.user.ann", "devices.ann.temp"):
                self.assertFalse(policy.may_read(nobody, topic))
            self.assertRaises(Forbidden, policy.authorize_subscribe, nobody, "**")
            self.assertRaises(Forbidden, policy.authorize_publish, nobody, "room.1")

    def test_no_narrowing_by_none(self) -> None:
        self.assertTrue(Policy().may_read(evolve(PUMP, grants=None), "room.1"))


# The same, told in another way: every sentence of the documentation, word by word, slow.

WORDS = ["a", "b", "users", "messages", "user", "channel", "_a"]
VARIABLES = ["{user}", "{device}"]
# One draw for each word, and one for each set of verbs: most of the time goes into draws.
PLAIN = ["a", "a", "b", "b", "messages", "user", "users"]
patterns = st.lists(st.sampled_from([*PLAIN, *["*", "**"] * 3]), min_size=1, max_size=4).map(
    ".".join
) | st.sampled_from(["a", "b", "*", "**", "a.*"]).map("messages.channel.{}".format)
matches = (
    st.lists(st.sampled_from([*PLAIN, *["*", "**", *VARIABLES] * 2]), min_size=1, max_size=4)
    .map(".".join)
    .filter(lambda match: Rule(match, ()).find_problem() is None)
) | st.sampled_from(["a", "b", "*", "**", *VARIABLES]).map("messages.channel.{}".format)
verbs = st.sampled_from(
    [frozenset(some) for count in range(len(VERBS) + 1) for some in itertools.combinations(VERBS, count)]
)
names = st.none() | st.sampled_from([frozenset("a"), frozenset("b"), frozenset("ab")])
rules = st.lists(
    st.builds(Rule, matches, verbs, names, names), max_size=4, unique_by=lambda rule: rule.match
).map(tuple)
grants = st.none() | st.lists(st.builds(Grant, patterns, verbs), max_size=3).map(tuple)
people = st.builds(
    lambda user, device, given: Identity(user, "s", 0.0, device, given),
    st.sampled_from(["a", "b"]),
    st.sampled_from([None, "a", "b"]),
    grants,
)
topics = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(".".join) | st.sampled_from(
    ["messages.channel.a", "messages.channel.b", "messages.channel.a.b"]
)


def may(rules: Iterable[Rule], who: Identity, verb: str, topic: str) -> bool:
    words = topic.split(".")
    if verb == HISTORY and not may(rules, who, SUBSCRIBE, topic):
        return False
    if who.grants is not None and not any(
        verb in grant.verbs and covers(grant.pattern.split("."), words) for grant in who.grants
    ):
        return False
    if words[0][0] == "_":
        return False
    in_channels = words[:2] == ["messages", "channel"]
    if words[0] in ("users", "messages"):
        if verb == PUBLISH and (not in_channels or len(words) != 3 or who.grants is not None):
            return False  # a message is sent to a channel, by who has logged in
        if not in_channels:
            return words[:2] != ["messages", "user"] or words[:3] == ["messages", "user", who.user_id]
        rules = [rule for rule in rules if rule.words[:2] == ["messages", "channel"]]
    ruled = False
    for rule in rules:
        prefix = list(itertools.takewhile(lambda each: each not in ("*", "**", *VARIABLES), rule.words))
        if words[: len(prefix)] == prefix:
            ruled = True
            pattern = pattern_for(rule, who)
            allowed = verb in rule.allow and pattern is not None and covers(pattern, words)
            if allowed and not (verb == PUBLISH and speaks_for_another(rules, rule, who, words)):
                return True
    return not ruled


def speaks_for_another(rules: Iterable[Rule], rule: Rule, who: Identity, words: list[str]) -> bool:
    """Whether `who` is a device, and `rule` does not say that it may publish under the name of another."""
    if who.device_name is None or rule.devices is not None or "{device}" in rule.words:
        return False
    for other in rules:
        for index, word in enumerate(other.words[: len(words)]):
            before = ["*" if each in VARIABLES else each for each in other.words[:index]]
            is_anothers = word == "{device}" and words[index] != who.device_name
            is_any = "**" in rule.words[: index + 1] or rule.words[index : index + 1] == ["*"]
            if is_anothers and is_any and covers(before, words[:index]):
                return True
    return False


def pattern_for(rule: Rule, who: Identity) -> list[str] | None:
    """None where the rule is not for `who`, or names a device and `who` has none."""
    if rule.users is not None and who.user_id not in rule.users:
        return None
    if rule.devices is not None and who.device_name not in rule.devices:
        return None
    names = {"{user}": who.user_id, "{device}": who.device_name}
    pattern = [names.get(word, word) for word in rule.words]
    return None if None in pattern else [word or "" for word in pattern]


def shortest_shared_topic(one: Sequence[str], other: Sequence[str]) -> str | None:
    """A topic that both patterns cover: both are read in step, breadth first."""
    found: deque[tuple[Sequence[str], Sequence[str], list[str]]] = deque([(one, other, [])])
    seen = set()
    while found:
        left, right, topic = found.popleft()
        if not left and not right and topic:
            return ".".join(topic)
        state = len(left), len(right), bool(topic)
        if state in seen:
            continue
        seen.add(state)
        if left[:1] == ["**"]:
            found.append((left[1:], right, topic))  # which stands for no more words
        if right[:1] == ["**"]:
            found.append((left, right[1:], topic))
        for word in {*left[:1], *right[:1]} - {"*", "**"} or {"z"}:
            if all(side and side[0] in (word, "*", "**") for side in (left, right)):
                rests = [side if side[0] == "**" else side[1:] for side in (left, right)]
                found.append((rests[0], rests[1], [*topic, word]))
    return None


def all_topics() -> Iterator[str]:
    for length in range(1, 5):
        yield from map(
            ".".join,
            itertools.product(["a", "b", "users", "messages", "user", "z"], repeat=length),
        )


ALL = [*all_topics(), *(f"messages.channel.{each}" for each in ("a", "b", "z", "a.a", "a.b", "z.z"))]


class ModelTests(SynchronousTestCase):
    @given(patterns, patterns)
    def test_what_two_patterns_share(self, one: str, other: str) -> None:
        """The model's own search finds a topic wherever a short one exists, and only what both cover."""
        sides = one.split("."), other.split(".")
        topic = shortest_shared_topic(*sides)
        if topic is None:
            self.assertFalse(any(all(covers(side, each.split(".")) for side in sides) for each in ALL))
        else:
            self.assertTrue(all(covers(side, topic.split(".")) for side in sides), topic)

    @settings(max_examples=examples(1500), deadline=None)
    @given(rules, people, st.sampled_from(VERBS), topics)
    def test_every_decision(self, rules: tuple[Rule, ...], who: Identity, verb: str, topic: str) -> None:
        policy = Policy(rules)
        expected = may(rules, who, verb, topic)
        self.assertEqual(policy.decide(who, verb, topic).allowed, expected)
        if verb == SUBSCRIBE:
            self.assertEqual(policy.may_read(who, topic), expected)

    @settings(max_examples=examples(150), deadline=None)
    @given(rules, people, patterns, st.booleans())
    # They share a.a.b.a.a.
    @example((Rule("a", set()), Rule("**.b.a.a", {SUBSCRIBE})), Identity("a", "s", 0.0), "a.a.**", False)
    def test_what_is_refused_at_once(
        self, rules: tuple[Rule, ...], who: Identity, pattern: str, history: bool
    ) -> None:
        """Never a pattern with something to read; without grants, every pattern with nothing."""
        verb = HISTORY if history else SUBSCRIBE
        words = pattern.split(".")
        # What the pattern and a rule have in common may be longer than all that are tried.
        meant = filter(None, (pattern_for(rule, who) for rule in rules))
        tried = itertools.chain(ALL, filter(None, (shortest_shared_topic(words, each) for each in meant)))
        some = any(covers(words, topic.split(".")) and may(rules, who, verb, topic) for topic in tried)
        try:
            Policy(rules).authorize_subscribe(who, pattern, history)
        except Forbidden:
            self.assertFalse(some, "refused")
        else:
            exact = who.grants is None and not history and words.count("**") + words.count("*") < 2
            self.assertTrue(some or not exact, "accepted")
