"""Who may do what, written down once more from what is promised: the server's own code is not asked.

A principal is what somebody comes with; a verdict is `OK`, or the name of an
error (contract, section 1).
"""

from __future__ import annotations

from typing import Iterable, Sequence

from attrs import frozen

OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = "OK", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND"
INVALID = "VALIDATION_ERROR"
PUBLISH, SUBSCRIBE, HISTORY = VERBS = ("publish", "subscribe", "history")

# (match, verbs): what the server under test is configured with.
RULES = (
    ("fleet.{user}.**", VERBS),
    ("news.**", (SUBSCRIBE,)),
    ("vault", ()),
)

Grants = Sequence[tuple[str, Sequence[str]]]


@frozen
class Principal:
    name: str
    token: str | None
    user: str | None = None  # id; `None` for nobody, and for who has no rights any more
    grants: Grants | None = None  # of a credential
    operator: bool = False


def covers(pattern: Sequence[str], topic: Sequence[str]) -> bool:
    """`*` is one word, `**` any number of them."""
    if not pattern:
        return not topic
    if pattern[0] == "**":
        return any(covers(pattern[1:], topic[count:]) for count in range(len(topic) + 1))
    return bool(topic) and pattern[0] in ("*", topic[0]) and covers(pattern[1:], topic[1:])


def _covers(pattern: str, topic: str) -> bool:
    return covers(pattern.split("."), topic.split("."))


def may(who: Principal, verb: str, topic: str) -> bool:
    if who.user is None:
        return False
    if verb == HISTORY and not may(who, SUBSCRIBE, topic):
        return False
    granted = who.grants is None or any(
        verb in verbs and _covers(pattern, topic) for pattern, verbs in who.grants
    )
    if not granted:
        return False
    words = topic.split(".")
    if words[0].startswith("_"):
        return False
    if words[0] in ("users", "messages"):
        if verb == PUBLISH:
            return False
        return words[:2] != ["messages", "user"] or words[2:] == [who.user]
    if not any(_begins(words, match) for match, _ in RULES):
        return True
    return any(verb in verbs and _covers(match.replace("{user}", who.user), topic) for match, verbs in RULES)


def _begins(words: Sequence[str], match: str) -> bool:
    """Whether the rule rules what begins so: with all its words before the first that is not literal."""
    literal: list[str] = []
    for word in match.split("."):
        if word in ("*", "**", "{user}", "{device}"):
            break
        literal.append(word)
    return list(words[: len(literal)]) == literal


def publishing(who: Principal, topic: str) -> str:
    if who.user is None:
        return UNAUTHORIZED
    return OK if may(who, PUBLISH, topic) else FORBIDDEN


def subscribing(who: Principal, pattern: str, verb: str, universe: Iterable[str]) -> str:
    """Refused when there is no topic in the `universe` that it covers and they may have."""
    if who.user is None:
        return UNAUTHORIZED
    return OK if any(_covers(pattern, topic) and may(who, verb, topic) for topic in universe) else FORBIDDEN


def of_accounts(who: Principal, otherwise: str, for_credentials: bool = False) -> str:
    """All that is not about topics: a login is needed, and a credential is none."""
    if who.user is None:
        return UNAUTHORIZED
    return FORBIDDEN if who.grants is not None and not for_credentials else otherwise
