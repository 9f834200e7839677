"""Who may read and write which topic: the only place that decides.

Contract, section 3.  What is reserved to the server stands first, and no rule
touches it.  Where a rule is configured for what a topic begins with, only rules
let anybody in; all other topics are everybody's.  A credential with grants may
do what both they and all this let it.

Reading is decided per delivery, where the topic is known, so that a wide
pattern never leaks; `check_subscribe` only refuses early what could never match
anything readable.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Callable

from attrs import asdict, field, frozen

from .errors import Forbidden, Invalid
from .ports import Identity
from .rules import HISTORY, PUBLISH, SERVER_WRITTEN, SUBSCRIBE, VERBS, Rule
from .topics import TopicTree, check_topic, covers, overlap

GUARDED = ("_", "messages.user")  # without rules and grants, only what begins so may be closed to a reader
KEPT = 1024  # judgements, of about a kilobyte: all who hear of a topic share them


@frozen
class Decision:
    allowed: bool
    why: str  # for who asked
    rule: str | None = None  # the `match` of the rule that let them


OPEN = Decision(True, "No rule is about this topic: it is everybody's")
NEWS = Decision(True, "Everybody may read what the server tells here")
OWN = Decision(True, "These messages are yours")
SERVERS = Decision(False, "These topics are the server's own")
WRITTEN = Decision(False, "This topic is written by the server only")
SOMEONES = Decision(False, "These messages are someone else's")
NOT_GRANTED = Decision(False, "The credential that you came with was not given this")
NOTHING = Decision(False, "No topic that this pattern covers is yours to read")


@frozen
class _Judgement:
    """Who may do one thing on one topic: whom a door is for, as (user, device, what they are told); `None` is any."""

    words: list[str]  # of the topic
    otherwise: Decision
    doors: tuple[tuple[str | None, str | None, Decision], ...] = ()


@frozen(eq=False, repr=False)
class Policy:
    rules: tuple[Rule, ...] = ()
    _tree: TopicTree[Rule] = field(init=False)
    _prefixes: frozenset[tuple[str, ...]] = field(init=False)  # whatever begins so is ruled
    _judged: Callable[[str, str], _Judgement] = field(init=False)

    @_tree.default
    def _file(self) -> TopicTree[Rule]:
        tree: TopicTree[Rule] = TopicTree()
        for rule in self.rules:
            tree.add(rule.filed, rule)
        return tree

    @_prefixes.default
    def _ruled(self) -> frozenset[tuple[str, ...]]:
        return frozenset(rule.prefix for rule in self.rules)

    @_judged.default
    def _remembering(self) -> Callable[[str, str], _Judgement]:
        return lru_cache(KEPT)(partial(_judge, self._tree, self._prefixes))

    def decide(self, who: Identity, verb: str, topic: str) -> Decision:
        """The one decision that all others are made of.  To be told of the past, one must be let hear, too."""
        if verb == HISTORY:
            heard = self.decide(who, SUBSCRIBE, topic)
            if not heard.allowed:
                return heard
        judgement = self._judged(verb, topic)
        decision = judgement.otherwise
        for user, device, open in judgement.doors:
            if user in (None, who.user_id) and device in (None, who.device):
                decision = open
                break
        if who.grants is None or not decision.allowed:
            return decision
        granted = any(verb in grant.verbs and covers(grant.words, judgement.words) for grant in who.grants)
        return decision if granted else NOT_GRANTED

    def may_read(self, who: Identity, topic: str) -> bool:
        """`decide`, asked for each delivery: what nobody restricts is let through without it."""
        if not self.rules and who.grants is None and not topic.startswith(GUARDED):
            return True
        return self.decide(who, SUBSCRIBE, topic).allowed

    def may_replay(self, who: Identity, topic: str) -> bool:
        return self.decide(who, HISTORY, topic).allowed

    def check_publish(self, who: Identity, topic: str) -> None:
        """Raises `Forbidden`."""
        decision = self.decide(who, PUBLISH, topic)
        if not decision.allowed:
            raise Forbidden(decision.why)

    def check_subscribe(self, who: Identity, pattern: str, history: bool = False) -> None:
        """Raise `Forbidden` for a pattern none of whose topics could be read; with `history`, replayed."""
        for verb in (SUBSCRIBE, HISTORY) if history else (SUBSCRIBE,):
            decision = self._foresee(who, verb, pattern)
            if not decision.allowed:
                raise Forbidden(decision.why)

    def explain(self, who: Identity, verb: str, topic: str) -> dict[str, object]:
        """`decide`, for somebody who wonders.  Raises `Invalid`."""
        if verb not in VERBS:
            raise Invalid.at("verb", f"Must be one of {', '.join(VERBS)}")
        decision = self.decide(who, verb, check_topic(topic))
        return {"topic": topic, "verb": verb, **asdict(decision)}

    def _foresee(self, who: Identity, verb: str, pattern: str) -> Decision:
        """The decision on some topic of `pattern`, as favourable as there may be.

        It may hope for too much where a pattern, a grant and a rule have a topic
        in common two by two, but not all three.
        """
        words = pattern.split(".")
        if not {"*", "**"} & {*words}:
            return self.decide(who, verb, pattern)
        granted = who.grants is None or any(
            verb in grant.verbs and overlap(grant.pattern, pattern) for grant in who.grants
        )
        if not granted:
            return NOT_GRANTED
        first = words[0]
        if first.startswith("_"):
            return SERVERS
        if words[:2] == ["messages", "user"] and words[2] not in (who.user_id, "*", "**"):
            return SOMEONES
        # What begins with a wildcard covers users.**, where everybody may read; and nothing
        # that begins otherwise than a ruled prefix can be all below it.
        if first in ("*", "**", *SERVER_WRITTEN) or _ruling(words, self._prefixes) is None:
            return OPEN
        for rule in self.rules:
            bound = rule.bound(who) if verb in rule.allow else None
            if bound is not None and overlap(bound, pattern):
                return OPEN
        return NOTHING


def _judge(rules: TopicTree[Rule], prefixes: frozenset[tuple[str, ...]], verb: str, topic: str) -> _Judgement:
    """What holds for a topic, whoever asks; in this order."""
    words = topic.split(".")
    if words[0].startswith("_"):
        return _Judgement(words, WRITTEN if verb == PUBLISH else SERVERS)
    if words[0] in SERVER_WRITTEN:
        if verb == PUBLISH:
            return _Judgement(words, WRITTEN)
        if words[:2] != ["messages", "user"]:
            return _Judgement(words, NEWS)
        return _Judgement(words, SOMEONES, tuple((owner, None, OWN) for owner in words[2:3]))
    prefix = _ruling(words, prefixes)
    if prefix is None:
        return _Judgement(words, OPEN)
    what = f"under {'.'.join(prefix)}" if prefix else "outside users and messages"
    doors = []
    for rule in rules.match(topic):
        meant = rule.meant(words) if verb in rule.allow else None
        if meant is not None:
            doors.append((*meant, Decision(True, f"A rule lets you {_DOES[verb]}", rule.match)))
    closed = Decision(False, f"Topics {what} are ruled, and no rule lets you {_DOES[verb]}")
    return _Judgement(words, closed, tuple(doors))


_DOES = {PUBLISH: "publish here", SUBSCRIBE: "hear this", HISTORY: "hear what was said here before"}


def _ruling(words: list[str], prefixes: frozenset[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The longest ruled prefix that `words` of a topic or a pattern begin with."""
    for count in range(len(words), -1, -1):
        prefix = tuple(words[:count])
        if prefix in prefixes:
            return prefix
    return None
