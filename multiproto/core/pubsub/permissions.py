"""What a topic rule and a grant say; `policy` decides by them.

A rule is the operator's: who may do what on the topics that its pattern covers.
Words `{user}` and `{device}` in it stand for the id of the user who asks, and
for the name of the device credential that they came with.  A grant is a
credential's own, and only narrows what its user may.
"""

from __future__ import annotations

from typing import Iterable, Protocol

from attrs import field, frozen

from ..errors import FieldError, ValidationError
from ..identity import Grant, _to_frozenset
from .topics import MAX_TOPIC_BYTES, MAX_TOPIC_WORDS, check_pattern, is_word

# The grants of a credential: as a client asks for them, as they are kept, and as they are shown.

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


MAX_GRANTS = 16  # of one credential: each is compared with what it hears


def parse(value: object) -> tuple[Grant, ...]:
    """What a client wrote: a list of `{pattern, verbs}`.  Raises `ValidationError` with all its faults."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_GRANTS:
        raise ValidationError.for_field("grants", f"Must be a list of 1 to {MAX_GRANTS} grants")
    faults: list[FieldError] = []
    grants = []
    for place, each in enumerate(value):
        found = [FieldError(("grants", place, *path), message) for path, message in _grant_errors(each)]
        faults += found
        if not found:
            grants.append(Grant(each["pattern"], each["verbs"]))
    if faults:
        raise ValidationError(faults)
    return tuple(grants)


def serialize(grants: Iterable[Grant]) -> str:
    """As text: a line for each.  No pattern holds white space, so there is one way to read it."""
    return "\n".join(f"{','.join(_ordered_verbs(grant))} {grant.pattern}" for grant in grants)


def deserialize(text: str) -> tuple[Grant, ...]:
    """What `serialize` was given."""
    lines = (line.split(" ") for line in text.split("\n"))
    return tuple(Grant(pattern, verbs.split(",")) for verbs, pattern in lines)


def to_json(grants: Iterable[Grant]) -> list[dict[str, object]]:
    """JSON-ready, as it was asked for."""
    return [{"pattern": grant.pattern, "verbs": _ordered_verbs(grant)} for grant in grants]


def _is_pattern(text: str) -> bool:
    try:
        return bool(check_pattern(text))
    except ValidationError:
        return False


def _ordered_verbs(grant: Grant) -> list[str]:
    return [verb for verb in VERBS if verb in grant.verbs]


def _grant_errors(grant: object) -> Iterable[tuple[tuple[str, ...], str]]:
    """(path, message) of all that is wrong with one."""
    if not isinstance(grant, dict):
        yield (), "Must be an object with pattern and verbs"
        return
    pattern, verbs = grant.get("pattern"), grant.get("verbs")
    if not isinstance(pattern, str):
        yield ("pattern",), "Must be a topic pattern"
    elif pattern.startswith("_"):
        yield ("pattern",), "These topics are the server's own"
    elif not _is_pattern(pattern):
        yield (
            ("pattern",),
            f"Must be a topic pattern of at most {MAX_TOPIC_WORDS} words and {MAX_TOPIC_BYTES} bytes",
        )
    if not isinstance(verbs, list) or not verbs or not all(verb in VERBS for verb in verbs):
        yield ("verbs",), f"Must be a list of some of {', '.join(VERBS)}"
