"""Decides who may read and write which topic: the only place that does.

docs/common.md#who-may-read-and-write says how.  The server's own topics come first, and of them rules
change the permissions of channels only.  Where a rule is configured for the first
words of a topic, only rules permit anything; all other topics are open to everybody.
A credential with grants may do what its grants and all this permit.

A channel is ruled by its topic: who may `publish` there may send messages to it (nobody
publishes on the topic itself), who may `subscribe` hears of them on every topic, and
who has the `history` too finds them in lists.

Reading is authorized per delivery, where the topic is known, so that a wide
pattern never leaks; `authorize_subscribe` only refuses early a pattern that
could never match a readable topic.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Callable

from attrs import asdict, field, frozen

from ..errors import Forbidden, ValidationError
from ..identity import Identity
from .permissions import (
    CHANNELS,
    DEVICE,
    HISTORY,
    PUBLISH,
    SERVER_TOPICS,
    SUBSCRIBE,
    VERBS,
    Principals,
    Rule,
    is_in_channels,
)
from .topics import TopicTree, channel_topic, check_topic, matches, overlaps

# Of all topics that somebody may not read, without rules and grants.
RESTRICTED_PREFIXES = ("_", "messages.user")
MAX_CACHED_ACCESS = 1024  # topics and verbs, of about a kilobyte each: all subscribers of a topic share them


@frozen
class Decision:
    """Whether something is permitted, and why, in words for the user."""

    allowed: bool
    why: str
    rule: str | None = None  # the `match` of the rule that permits it


ALLOWED_UNRULED = Decision(True, "No rule is about this topic: it is everybody's")
ALLOWED_SERVER_EVENTS = Decision(True, "Everybody may read what the server tells here")
ALLOWED_OWN_MESSAGES = Decision(True, "These messages are yours")
ALLOWED_CHANNEL = Decision(True, "No rule is about this channel: everybody may send messages to it")
DENIED_INTERNAL = Decision(False, "These topics are the server's own")
DENIED_SERVER_WRITTEN = Decision(False, "This topic is written by the server only")
DENIED_MESSAGES = Decision(
    False, "This topic is written by the server only: send messages by POST /messages, or sendMessage"
)
DENIED_FOREIGN_MESSAGES = Decision(False, "These messages are someone else's")
DENIED_CAPITALS = Decision(False, "Ids in topics are in lower case: in capitals, nobody's messages are here")
DENIED_CREDENTIAL = Decision(False, "A credential sends no messages: that takes a login")
DENIED_NOT_GRANTED = Decision(False, "The credential that you came with was not given this")
DENIED_NOTHING_READABLE = Decision(False, "No topic that this pattern covers is yours to read")


@frozen
class _TopicAccess:
    """Who may do one verb on one topic."""

    words: list[str]  # of the topic
    default: Decision
    exceptions: tuple[tuple[Principals, Principals, Decision], ...] = ()  # (users, devices, …)


@frozen
class ChannelFilter:
    """The channels whose messages a user may read: those that are `named`, or all but those."""

    named: tuple[str, ...]  # ids
    only_named: bool

    def admits(self, channel: str) -> bool:
        return (channel in self.named) == self.only_named


@frozen(eq=False, repr=False)
class Policy:
    rules: tuple[Rule, ...] = ()
    _tree: TopicTree[Rule] = field(init=False)
    _prefixes: frozenset[tuple[str, ...]] = field(init=False)  # of all topics that rules are about
    _has_channel_rules: bool = field(init=False)
    _access_to: Callable[[str, str], _TopicAccess] = field(init=False)

    @_tree.default
    def _build_tree(self) -> TopicTree[Rule]:
        tree: TopicTree[Rule] = TopicTree()
        for rule in self.rules:
            tree.add(rule.index_pattern, rule)
        return tree

    @_prefixes.default
    def _collect_prefixes(self) -> frozenset[tuple[str, ...]]:
        return frozenset(rule.prefix for rule in self.rules)

    @_has_channel_rules.default
    def _find_channel_rules(self) -> bool:
        return any(rule.is_about_channels for rule in self.rules)

    @_access_to.default
    def _cached_access(self) -> Callable[[str, str], _TopicAccess]:
        device_rules = tuple(rule for rule in self.rules if DEVICE in rule.words)
        return lru_cache(MAX_CACHED_ACCESS)(partial(_topic_access, self._tree, self._prefixes, device_rules))

    def decide(self, identity: Identity, verb: str, topic: str) -> Decision:
        """The decision that all others are made of.  Replaying needs the right to subscribe, too."""
        if verb == HISTORY:
            subscribing = self.decide(identity, SUBSCRIBE, topic)
            if not subscribing.allowed:
                return subscribing
        access = self._access_to(verb, topic)
        decision = access.default
        for users, devices, exception in access.exceptions:
            if (users is None or identity.user_id in users) and (
                devices is None or identity.device_name in devices
            ):
                decision = exception
                break
        if identity.grants is None or not decision.allowed:
            return decision
        if verb == PUBLISH and is_in_channels(access.words):
            return DENIED_CREDENTIAL
        granted = any(verb in grant.verbs and matches(grant.words, access.words) for grant in identity.grants)
        return decision if granted else DENIED_NOT_GRANTED

    def may_read(self, identity: Identity, topic: str, channel: str | None = None) -> bool:
        """Called for each delivery: `decide`, with a short cut for topics that nothing restricts.

        `channel` is the topic of the channel of what is delivered, where that must be readable too.
        """
        if not self.rules and identity.grants is None and not topic.startswith(RESTRICTED_PREFIXES):
            return True
        return self.decide(identity, SUBSCRIBE, topic).allowed and self._admits(identity, SUBSCRIBE, channel)

    def may_replay(self, identity: Identity, topic: str, channel: str | None = None) -> bool:
        """As `may_read`, of what is past."""
        return self.decide(identity, HISTORY, topic).allowed and self._admits(identity, HISTORY, channel)

    def _admits(self, identity: Identity, verb: str, channel: str | None) -> bool:
        """Whether what `channel` is the topic of may be read on another; any may where no rule is about it.

        A credential needs a grant for a ruled one: to have been given `messages` is not enough.
        """
        if channel is None or not self._has_channel_rules:
            return True
        if self._access_to(SUBSCRIBE, channel).default is ALLOWED_SERVER_EVENTS:
            return True
        return self.decide(identity, verb, channel).allowed

    def readable_channels(self, identity: Identity) -> ChannelFilter | None:
        """The channels whose messages are in the lists of `identity`; `None`: all of them."""
        if not self._has_channel_rules:
            return None
        # No rule names the channel `*`: what holds for it holds for all that none names.
        only_named = not self.decide(identity, HISTORY, ".".join((*CHANNELS, "*"))).allowed
        channels = {rule.channel for rule in self.rules} | {identity.user_id}
        named = sorted(
            channel
            for channel in channels
            if channel is not None and self.may_read_channel(identity, channel) == only_named
        )
        return ChannelFilter(tuple(named), only_named) if named or only_named else None

    def may_read_channel(self, identity: Identity, channel: str) -> bool:
        """Whether `identity` may read the messages of the channel with the id `channel`."""
        return not self._has_channel_rules or self.may_replay(identity, channel_topic(channel))

    def authorize_send(self, identity: Identity, channel: str) -> None:
        """Raise `Forbidden` for a message to the channel with the id `channel`."""
        if self._has_channel_rules:
            decision = self.decide(identity, PUBLISH, channel_topic(channel))
            if not decision.allowed:
                raise Forbidden(decision.why)

    def authorize_publish(self, identity: Identity, topic: str) -> None:
        """Raises `Forbidden`."""
        decision = self.decide(identity, PUBLISH, topic)
        if decision.allowed and topic.startswith(SERVER_TOPICS) and is_in_channels(topic.split(".")):
            decision = DENIED_MESSAGES  # there are no publications
        if not decision.allowed:
            raise Forbidden(decision.why)

    def authorize_subscribe(self, identity: Identity, pattern: str, history: bool = False) -> None:
        """Raise `Forbidden` for a pattern without any readable topic; with `history`, without any to replay."""
        for verb in (SUBSCRIBE, HISTORY) if history else (SUBSCRIBE,):
            decision = self._best_decision(identity, verb, pattern)
            if not decision.allowed:
                raise Forbidden(_find_capitals(decision, identity, pattern).why)

    def explain(self, identity: Identity, verb: str, topic: str) -> dict[str, object]:
        """`decide`, as JSON, for users and operators: to publish to a channel is to send messages.

        Raises `ValidationError`.
        """
        if verb not in VERBS:
            raise ValidationError.for_field("verb", f"Must be one of {', '.join(VERBS)}")
        decision = _find_capitals(self.decide(identity, verb, check_topic(topic)), identity, topic)
        return {"topic": topic, "verb": verb, **asdict(decision)}

    def _best_decision(self, identity: Identity, verb: str, pattern: str) -> Decision:
        """The most favourable decision on any topic of `pattern`.

        It is too favourable where a pattern, a grant and a rule have topics in
        common two by two, but none all three.
        """
        words = pattern.split(".")
        if not {"*", "**"} & {*words}:
            return self.decide(identity, verb, pattern)
        granted = identity.grants is None or any(
            verb in grant.verbs and overlaps(grant.pattern, pattern) for grant in identity.grants
        )
        if not granted:
            return DENIED_NOT_GRANTED
        first = words[0]
        if first.startswith("_"):
            return DENIED_INTERNAL
        if words[:2] == ["messages", "user"] and words[2] not in (identity.user_id, "*", "**"):
            return DENIED_FOREIGN_MESSAGES
        # A pattern that begins with a wildcard covers users.**, which everybody may read; and one that
        # begins with none of the rules' prefixes has topics that no rule is about.
        if first in ("*", "**") or (first in SERVER_TOPICS and not is_in_channels(words)):
            return ALLOWED_UNRULED
        if _ruling_prefix(words, self._prefixes) is None:
            return ALLOWED_UNRULED
        for rule in self.rules:
            applies = verb in rule.allow and rule.is_about_channels == is_in_channels(words)
            bound = rule.pattern_for(identity) if applies else None
            if bound is not None and overlaps(bound, pattern):
                return ALLOWED_UNRULED
        return DENIED_NOTHING_READABLE


def _find_capitals(decision: Decision, identity: Identity, pattern: str) -> Decision:
    """`decision` on a topic or pattern, in clearer words where that is one's own id in capitals."""
    is_own_id = identity.user_id in pattern.lower().split(".")[2:3]
    return DENIED_CAPITALS if decision is DENIED_FOREIGN_MESSAGES and is_own_id else decision


def _topic_access(
    rules: TopicTree[Rule],
    prefixes: frozenset[tuple[str, ...]],
    device_rules: tuple[Rule, ...],
    verb: str,
    topic: str,
) -> _TopicAccess:
    """The permissions of `verb` on `topic`: the server's own topics first, then the rules."""
    words = topic.split(".")
    if words[0].startswith("_"):
        return _TopicAccess(words, DENIED_SERVER_WRITTEN if verb == PUBLISH else DENIED_INTERNAL)
    in_channels = is_in_channels(words)
    prefix = _ruling_prefix(words, prefixes)
    if words[0] in SERVER_TOPICS:
        if verb == PUBLISH and not (in_channels and len(words) == 3):
            return _TopicAccess(words, DENIED_MESSAGES if words[0] == "messages" else DENIED_SERVER_WRITTEN)
        if words[:2] == ["messages", "user"]:
            owners = ((frozenset(words[2:3]), None, ALLOWED_OWN_MESSAGES),) if len(words) > 2 else ()
            return _TopicAccess(words, DENIED_FOREIGN_MESSAGES, owners)
        if not in_channels or prefix is None:
            return _TopicAccess(words, ALLOWED_CHANNEL if verb == PUBLISH else ALLOWED_SERVER_EVENTS)
    elif prefix is None:
        return _TopicAccess(words, ALLOWED_UNRULED)
    what = f"under {'.'.join(prefix)}" if prefix else "outside users and messages"
    named = {rule.named_device(words) for rule in device_rules} - {None} if verb == PUBLISH else set()
    permitted = []
    for rule in rules.match(topic):
        if verb in rule.allow and rule.is_about_channels == in_channels:
            users, devices = rule.principals(words)
            bound = {words[index] for index in named if index is not None and rule.has_wildcard_at(index)}
            if devices is None and bound:  # a device speaks for no other: its own name is its word
                devices = frozenset((None, *(bound if len(bound) == 1 else ())))
            decision = Decision(True, f"A rule lets you {_VERB_PHRASES[verb]}", rule.match)
            permitted.append((users, devices, decision))
    denied = Decision(False, f"Topics {what} are ruled, and no rule lets you {_VERB_PHRASES[verb]}")
    return _TopicAccess(words, denied, tuple(permitted))


_VERB_PHRASES = {PUBLISH: "publish here", SUBSCRIBE: "hear this", HISTORY: "hear what was said here before"}


def _ruling_prefix(words: list[str], prefixes: frozenset[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The longest of the rules' `prefixes` that `words` of a topic or a pattern begin with.

    A rule that begins with a wildcard is about no topic of the server's: of channels, only theirs count.
    """
    shortest = len(CHANNELS) if is_in_channels(words) else 0
    for count in range(len(words), shortest - 1, -1):
        prefix = tuple(words[:count])
        if prefix in prefixes:
            return prefix
    return None
