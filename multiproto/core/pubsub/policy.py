"""Decides who may read and write which topic: the only place that does.

docs/common.md#who-may-read-and-write says how.  The server's own topics come first, and no rule changes
their permissions.  Where a rule is configured for the first words of a topic,
only rules permit anything; all other topics are open to everybody.  A credential
with grants may do what its grants and all this permit.

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
from .permissions import HISTORY, PUBLISH, SERVER_TOPICS, SUBSCRIBE, VERBS, Rule
from .topics import TopicTree, check_topic, matches, overlaps

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
DENIED_INTERNAL = Decision(False, "These topics are the server's own")
DENIED_SERVER_WRITTEN = Decision(False, "This topic is written by the server only")
DENIED_FOREIGN_MESSAGES = Decision(False, "These messages are someone else's")
DENIED_NOT_GRANTED = Decision(False, "The credential that you came with was not given this")
DENIED_NOTHING_READABLE = Decision(False, "No topic that this pattern covers is yours to read")


@frozen
class _TopicAccess:
    """Who may do one verb on one topic."""

    words: list[str]  # of the topic
    default: Decision
    exceptions: tuple[tuple[str | None, str | None, Decision], ...] = ()  # (user, device, …); `None` is any


@frozen(eq=False, repr=False)
class Policy:
    rules: tuple[Rule, ...] = ()
    _tree: TopicTree[Rule] = field(init=False)
    _prefixes: frozenset[tuple[str, ...]] = field(init=False)  # of all topics that rules are about
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

    @_access_to.default
    def _cached_access(self) -> Callable[[str, str], _TopicAccess]:
        return lru_cache(MAX_CACHED_ACCESS)(partial(_topic_access, self._tree, self._prefixes))

    def decide(self, identity: Identity, verb: str, topic: str) -> Decision:
        """The decision that all others are made of.  Replaying needs the right to subscribe, too."""
        if verb == HISTORY:
            subscribing = self.decide(identity, SUBSCRIBE, topic)
            if not subscribing.allowed:
                return subscribing
        access = self._access_to(verb, topic)
        decision = access.default
        for user, device, exception in access.exceptions:
            if user in (None, identity.user_id) and device in (None, identity.device_name):
                decision = exception
                break
        if identity.grants is None or not decision.allowed:
            return decision
        granted = any(verb in grant.verbs and matches(grant.words, access.words) for grant in identity.grants)
        return decision if granted else DENIED_NOT_GRANTED

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Called for each delivery: `decide`, with a short cut for topics that nothing restricts."""
        if not self.rules and identity.grants is None and not topic.startswith(RESTRICTED_PREFIXES):
            return True
        return self.decide(identity, SUBSCRIBE, topic).allowed

    def may_replay(self, identity: Identity, topic: str) -> bool:
        return self.decide(identity, HISTORY, topic).allowed

    def authorize_publish(self, identity: Identity, topic: str) -> None:
        """Raises `Forbidden`."""
        decision = self.decide(identity, PUBLISH, topic)
        if not decision.allowed:
            raise Forbidden(decision.why)

    def authorize_subscribe(self, identity: Identity, pattern: str, history: bool = False) -> None:
        """Raise `Forbidden` for a pattern without any readable topic; with `history`, without any to replay."""
        for verb in (SUBSCRIBE, HISTORY) if history else (SUBSCRIBE,):
            decision = self._best_decision(identity, verb, pattern)
            if not decision.allowed:
                raise Forbidden(decision.why)

    def explain(self, identity: Identity, verb: str, topic: str) -> dict[str, object]:
        """`decide`, as JSON, for users and operators.  Raises `ValidationError`."""
        if verb not in VERBS:
            raise ValidationError.for_field("verb", f"Must be one of {', '.join(VERBS)}")
        decision = self.decide(identity, verb, check_topic(topic))
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
        if first in ("*", "**", *SERVER_TOPICS) or _ruling_prefix(words, self._prefixes) is None:
            return ALLOWED_UNRULED
        for rule in self.rules:
            bound = rule.pattern_for(identity) if verb in rule.allow else None
            if bound is not None and overlaps(bound, pattern):
                return ALLOWED_UNRULED
        return DENIED_NOTHING_READABLE


def _topic_access(
    rules: TopicTree[Rule], prefixes: frozenset[tuple[str, ...]], verb: str, topic: str
) -> _TopicAccess:
    """The permissions of `verb` on `topic`: the server's own topics first, then the rules."""
    words = topic.split(".")
    if words[0].startswith("_"):
        return _TopicAccess(words, DENIED_SERVER_WRITTEN if verb == PUBLISH else DENIED_INTERNAL)
    if words[0] in SERVER_TOPICS:
        if verb == PUBLISH:
            return _TopicAccess(words, DENIED_SERVER_WRITTEN)
        if words[:2] != ["messages", "user"]:
            return _TopicAccess(words, ALLOWED_SERVER_EVENTS)
        return _TopicAccess(
            words, DENIED_FOREIGN_MESSAGES, tuple((owner, None, ALLOWED_OWN_MESSAGES) for owner in words[2:3])
        )
    prefix = _ruling_prefix(words, prefixes)
    if prefix is None:
        return _TopicAccess(words, ALLOWED_UNRULED)
    what = f"under {'.'.join(prefix)}" if prefix else "outside users and messages"
    permitted = []
    for rule in rules.match(topic):
        principals = rule.principals(words) if verb in rule.allow else None
        if principals is not None:
            decision = Decision(True, f"A rule lets you {_VERB_PHRASES[verb]}", rule.match)
            permitted.append((*principals, decision))
    denied = Decision(False, f"Topics {what} are ruled, and no rule lets you {_VERB_PHRASES[verb]}")
    return _TopicAccess(words, denied, tuple(permitted))


_VERB_PHRASES = {PUBLISH: "publish here", SUBSCRIBE: "hear this", HISTORY: "hear what was said here before"}


def _ruling_prefix(words: list[str], prefixes: frozenset[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The longest of the rules' `prefixes` that `words` of a topic or a pattern begin with."""
    for count in range(len(words), -1, -1):
        prefix = tuple(words[:count])
        if prefix in prefixes:
            return prefix
    return None
