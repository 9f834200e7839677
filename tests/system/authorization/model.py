"""A model of the permissions, written from what is promised and without the server's own code.

An outcome is `OK` or the name of an error (docs/common.md#error-codes).
"""

from __future__ import annotations

from typing import Iterable, Sequence

from attrs import frozen

OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = "OK", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND"
INVALID = "VALIDATION_ERROR"
PUBLISH, SUBSCRIBE, HISTORY = VERBS = ("publish", "subscribe", "history")

# (match, verbs): the topic rules of the server under test.
RULES = (
    ("fleet.{user}.**", VERBS),
    ("news.**", (SUBSCRIBE,)),
    ("vault", ()),
)

Grants = Sequence[tuple[str, Sequence[str]]]


@frozen
class Principal:
    """A token or a credential, and what it stands for."""

    name: str
    token: str | None
    user: str | None = None  # id; `None` for no valid token
    grants: Grants | None = None  # of a device credential
    operator: bool = False


def covers(pattern: Sequence[str], topic: Sequence[str]) -> bool:
    """Whether a pattern covers a topic, both as words: `*` is one word, `**` any number of them."""
    if not pattern:
        return not topic
    if pattern[0] == "**":
        return any(covers(pattern[1:], topic[count:]) for count in range(len(topic) + 1))
    return bool(topic) and pattern[0] in ("*", topic[0]) and covers(pattern[1:], topic[1:])


def _covers(pattern: str, topic: str) -> bool:
    return covers(pattern.split("."), topic.split("."))


def may(principal: Principal, verb: str, topic: str) -> bool:
    if principal.user is None:
        return False
    if verb == HISTORY and not may(principal, SUBSCRIBE, topic):
        return False
    granted = principal.grants is None or any(
        verb in verbs and _covers(pattern, topic) for pattern, verbs in principal.grants
    )
    if not granted:
        return False
    words = topic.split(".")
    if words[0].startswith("_"):
        return False
    if words[0] in ("users", "messages"):
        if verb == PUBLISH:  # to a channel: that is to send messages, which takes a login
            return words[:2] == ["messages", "channel"] and len(words) == 3 and principal.grants is None
        return words[:2] != ["messages", "user"] or words[2:] == [principal.user]
    if not any(_applies(words, match) for match, _ in RULES):
        return True
    return any(
        verb in verbs and _covers(match.replace("{user}", principal.user), topic) for match, verbs in RULES
    )


def _applies(words: Sequence[str], match: str) -> bool:
    """Whether a rule applies to a topic: the topic begins with the rule's words up to the first wildcard."""
    literal: list[str] = []
    for word in match.split("."):
        if word in ("*", "**", "{user}", "{device}"):
            break
        literal.append(word)
    return list(words[: len(literal)]) == literal


def publishing(principal: Principal, topic: str) -> str:
    if principal.user is None:
        return UNAUTHORIZED
    is_the_servers = topic.partition(".")[0] in ("users", "messages")
    return OK if may(principal, PUBLISH, topic) and not is_the_servers else FORBIDDEN


def subscribing(principal: Principal, pattern: str, verb: str, topics: Iterable[str]) -> str:
    """Refused unless the pattern covers at least one of the `topics` that the principal may read."""
    if principal.user is None:
        return UNAUTHORIZED
    return (
        OK if any(_covers(pattern, topic) and may(principal, verb, topic) for topic in topics) else FORBIDDEN
    )


def on_accounts(principal: Principal, otherwise: str, for_credentials: bool = False) -> str:
    """For all but topics: a login is needed; a device credential is not enough."""
    if principal.user is None:
        return UNAUTHORIZED
    return FORBIDDEN if principal.grants is not None and not for_credentials else otherwise
