"""Who may read and write which topic: the only place that decides.

Contract, section 3.  What is reserved to the server stands first, and no rule
touches it.  Where a rule is configured for what a topic begins with, only rules
let anybody in; all other topics are everybody's.  A credential with grants may
do what both they and all this let it.

Reading is decided per delivery, where the topic is known, so that a wide
pattern never leaks; `authorize_subscribe` only refuses early what could never match
anything readable.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Callable

from attrs import asdict, field, frozen

from ..errors import Forbidden, ValidationError
from ..identity import Identity
from .permissions import HISTORY, PUBLISH, SERVER_TOPICS, SUBSCRIBE, VERBS, Rule
from .topics import TopicTree, check_topic, matches, overlaps

RESTRICTED_PREFIXES = (
    "_",
    "messages.user",
)  # without rules and grants, only what begins so may be closed to a reader
MAX_CACHED_ACCESS = 1024  # judgements, of about a kilobyte: all who hear of a topic share them


@frozen
class Decision:
    allowed: bool
    why: str  # for who asked
    rule: str | None = None  # the `match` of the rule that let them


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
    """Who may do one thing on one topic: whom a door is for, as (user, device, what they are told); `None` is any."""

    words: list[str]  # of the topic
    default: Decision
    exceptions: tuple[tuple[str | None, str | None, Decision], ...] = ()


@frozen(eq=False, repr=False)
class Policy:
    rules: tuple[Rule, ...] = ()
    _tree: TopicTree[Rule] = field(init=False)
    _prefixes: frozenset[tuple[str, ...]] = field(init=False)  # whatever begins so is ruled
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

    def decide(self, who: Identity, verb: str, topic: str) -> Decision:
        """The one decision that all others are made of.  To be told of the past, one must be let hear, too."""
        if verb == HISTORY:
            heard = self.decide(who, SUBSCRIBE, topic)
            if not heard.allowed:
                return heard
        judgement = self._access_to(verb, topic)
        decision = judgement.default
        for user, device, open in judgement.exceptions:
            if user in (None, who.user_id) and device in (None, who.device_name):
                decision = open
                break
        if who.grants is None or not decision.allowed:
            return decision
        granted = any(verb in grant.verbs and matches(grant.words, judgement.words) for grant in who.grants)
        return decision if granted else DENIED_NOT_GRANTED

    def may_read(self, who: Identity, topic: str) -> bool:
        """`decide`, asked for each delivery: what nobody restricts is let through without it."""
        if not self.rules and who.grants is None and not topic.startswith(RESTRICTED_PREFIXES):
            return True
        return self.decide(who, SUBSCRIBE, topic).allowed

    def may_replay(self, who: Identity, topic: str) -> bool:
        return self.decide(who, HISTORY, topic).allowed

    def authorize_publish(self, who: Identity, topic: str) -> None:
        """Raises `Forbidden`."""
        decision = self.decide(who, PUBLISH, topic)
        if not decision.allowed:
            raise Forbidden(decision.why)

    def authorize_subscribe(self, who: Identity, pattern: str, history: bool = False) -> None:
        """Raise `Forbidden` for a pattern none of whose topics could be read; with `history`, replayed."""
        for verb in (SUBSCRIBE, HISTORY) if history else (SUBSCRIBE,):
            decision = self._best_decision(who, verb, pattern)
            if not decision.allowed:
                raise Forbidden(decision.why)

    def explain(self, who: Identity, verb: str, topic: str) -> dict[str, object]:
        """`decide`, for somebody who wonders.  Raises `ValidationError`."""
        if verb not in VERBS:
            raise ValidationError.for_field("verb", f"Must be one of {', '.join(VERBS)}")
        decision = self.decide(who, verb, check_topic(topic))
        return {"topic": topic, "verb": verb, **asdict(decision)}

    def _best_decision(self, who: Identity, verb: str, pattern: str) -> Decision:
        """The decision on some topic of `pattern`, as favourable as there may be.

        It may hope for too much where a pattern, a grant and a rule have a topic
        in common two by two, but not all three.
        """
        words = pattern.split(".")
        if not {"*", "**"} & {*words}:
            return self.decide(who, verb, pattern)
        granted = who.grants is None or any(
            verb in grant.verbs and overlaps(grant.pattern, pattern) for grant in who.grants
        )
        if not granted:
            return DENIED_NOT_GRANTED
        first = words[0]
        if first.startswith("_"):
            return DENIED_INTERNAL
        if words[:2] == ["messages", "user"] and words[2] not in (who.user_id, "*", "**"):
            return DENIED_FOREIGN_MESSAGES
        # What begins with a wildcard covers users.**, where everybody may read; and nothing
        # that begins otherwise than a ruled prefix can be all below it.
        if first in ("*", "**", *SERVER_TOPICS) or _ruling_prefix(words, self._prefixes) is None:
            return ALLOWED_UNRULED
        for rule in self.rules:
            bound = rule.pattern_for(who) if verb in rule.allow else None
            if bound is not None and overlaps(bound, pattern):
                return ALLOWED_UNRULED
        return DENIED_NOTHING_READABLE


def _topic_access(
    rules: TopicTree[Rule], prefixes: frozenset[tuple[str, ...]], verb: str, topic: str
) -> _TopicAccess:
    """What holds for a topic, whoever asks; in this order."""
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
    doors = []
    for rule in rules.match(topic):
        meant = rule.principals(words) if verb in rule.allow else None
        if meant is not None:
            doors.append((*meant, Decision(True, f"A rule lets you {_VERB_PHRASES[verb]}", rule.match)))
    closed = Decision(False, f"Topics {what} are ruled, and no rule lets you {_VERB_PHRASES[verb]}")
    return _TopicAccess(words, closed, tuple(doors))


_VERB_PHRASES = {PUBLISH: "publish here", SUBSCRIBE: "hear this", HISTORY: "hear what was said here before"}


def _ruling_prefix(words: list[str], prefixes: frozenset[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The longest ruled prefix that `words` of a topic or a pattern begin with."""
    for count in range(len(words), -1, -1):
        prefix = tuple(words[:count])
        if prefix in prefixes:
            return prefix
    return None
