"""What a topic rule and a grant say; `policy` decides by them.

A rule is the operator's: who may do what on the topics that its pattern covers.
Words `{user}` and `{device}` in it stand for the id of the user who asks, and
for the name of the device credential that they came with.  A grant is a
credential's own, and only narrows what its user may.
"""

from __future__ import annotations

from typing import Iterable, Protocol

from attrs import field, frozen

from .topics import is_word

PUBLISH, SUBSCRIBE, HISTORY = VERBS = ("publish", "subscribe", "history")
USER, DEVICE = VARIABLES = ("{user}", "{device}")
SERVER_TOPICS = ("users", "messages")  # first words

MAX_RULES = 256  # a subscription is compared with each


class Principal(Protocol):
    """An `Identity`, as far as rules look at it."""

    @property
    def user_id(self) -> str: ...

    @property
    def device_name(self) -> str | None: ...


def _to_frozenset(some: Iterable[str]) -> frozenset[str]:
    return frozenset(some)


@frozen
class Grant:
    """One thing that a credential was given; with any, it may do nothing else."""

    pattern: str
    verbs: frozenset[str] = field(converter=_to_frozenset)
    words: list[str] = field(init=False, eq=False, repr=False)  # of `pattern`, cut once

    @words.default
    def _split_pattern(self) -> list[str]:
        return self.pattern.split(".")


@frozen
class Rule:
    """Lets who is meant do all of `allow` on what `match` covers, and nobody else on what it rules."""

    match: str  # a pattern with variables, which is also its name
    allow: frozenset[str] = field(converter=_to_frozenset)

    @property
    def words(self) -> list[str]:
        return self.match.split(".")

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before the first that is not literal: whatever begins with them is ruled."""
        words = self.words
        open = (index for index, word in enumerate(words) if word in ("*", "**", *VARIABLES))
        return tuple(words[: next(open, len(words))])

    @property
    def index_pattern(self) -> str:
        """The pattern that covers what `match` covers, whoever asks."""
        return ".".join("*" if word in VARIABLES else word for word in self.words)

    def find_problem(self) -> str | None:
        """Why `match`, a pattern, is none that a rule may have: the end of "match ...", or `None`."""
        words = self.words
        if words[0] in SERVER_TOPICS or words[0].startswith("_"):
            return "is about topics of the server's own, which rules neither open nor close"
        for index, word in enumerate(words):
            if word in VARIABLES and "**" in words[:index]:
                return f"has {word} behind **, where it could be any word"
            if word not in VARIABLES and ("{" in word or "}" in word):
                return f"has {word}, which is none of {', '.join(VARIABLES)}"
        return None

    def pattern_for(self, who: Principal) -> str | None:
        """The pattern as it is meant for `who`; `None` where they can't be meant."""
        names = {USER: who.user_id, DEVICE: who.device_name or ""}
        if not all(is_word(names[word]) for word in self.words if word in VARIABLES):
            return None
        return ".".join(names.get(word, word) for word in self.words)

    def principals(self, topic: list[str]) -> tuple[str | None, str | None] | None:
        """Which user and which device may have it on `topic`, which `index_pattern` covers; in their place, `None` is any.

        `None` for nobody: one variable would have to be two words.
        """
        found = {USER: set[str](), DEVICE: set[str]()}
        for index, word in enumerate(self.words):
            if word in VARIABLES:  # no `**` stands before it: it is at the same place in the topic
                found[word].add(topic[index])
        if max(map(len, found.values())) > 1:
            return None
        user, device = (next(iter(found[name]), None) for name in VARIABLES)
        return user, device
