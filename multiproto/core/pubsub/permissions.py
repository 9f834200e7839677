"""Permissions on topics: the rules of the operator, and the grants of a credential; `policy` decides by them.

A rule says who may do what on the topics that its pattern covers.  Words
`{user}` and `{device}` in it stand for the id of the user, and for the name of
the device credential that authenticated them.  A grant belongs to a credential,
and only narrows what its user may do.
"""

from __future__ import annotations

from typing import Iterable, Optional, Protocol, Sequence
from urllib.parse import unquote

from attrs import field, frozen

from ..errors import FieldError, ValidationError
from ..identity import Grant, _to_frozenset
from ..validation import misspelt_fields
from .topics import MAX_TOPIC_BYTES, MAX_TOPIC_WORDS, check_pattern, escape_word, is_word, matches, overlaps

PUBLISH, SUBSCRIBE, HISTORY = VERBS = ("publish", "subscribe", "history")
USER, DEVICE = VARIABLES = ("{user}", "{device}")
SERVER_TOPICS = ("users", "messages")  # first words
CHANNELS = ("messages", "channel")  # of the server's topics, only those of channels can be ruled: three words

MAX_RULES = 256  # a subscription is compared with each
MAX_RULE_PRINCIPALS = 1000  # users, and devices, that one rule names
MAX_GRANTS = 16  # of one credential: each is compared with the topic of each delivery


# User ids or names of devices, of which `None` is that of those who came without a credential; `None`: any.
Principals = Optional[frozenset[Optional[str]]]


def is_in_channels(words: list[str]) -> bool:
    """Whether a topic or pattern begins as those of channels do."""
    return tuple(words[:2]) == CHANNELS


class Principal(Protocol):
    """An `Identity`, as far as rules need it."""

    @property
    def user_id(self) -> str: ...

    @property
    def device_name(self) -> str | None: ...


@frozen
class Rule:
    """Permits its principals all of `allow` on the topics that `match` covers, and closes its prefix to others."""

    match: str  # a pattern with variables, by which `explain` names it
    allow: frozenset[str] = field(converter=_to_frozenset)
    users: frozenset[str] | None = None  # ids of those it is for; `None`: everybody
    devices: frozenset[str] | None = None  # names of the credentials it is for; `None`: see `principals`

    @property
    def words(self) -> list[str]:
        return self.match.split(".")

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before the first wildcard or variable: on topics that begin so, only rules permit anything."""
        words = self.words
        not_literal = (index for index, word in enumerate(words) if word in ("*", "**", *VARIABLES))
        return tuple(words[: next(not_literal, len(words))])

    @property
    def index_pattern(self) -> str:
        """The pattern that covers what `match` covers for any user and device."""
        return ".".join("*" if word in VARIABLES else word for word in self.words)

    @property
    def is_about_channels(self) -> bool:
        return is_in_channels(self.words)

    @property
    def channel(self) -> str | None:
        """The id of the one channel that the rule is about."""
        words = self.words
        return (
            unquote(words[2]) if self.is_about_channels and words[2] not in ("*", "**", *VARIABLES) else None
        )

    def find_problem(self) -> str | None:
        """Why a rule may not have this `match`, as the end of a sentence "match ...", or `None`."""
        words = self.words
        if self.is_about_channels:
            if len(words) != 3:
                return "is about no channel: that is messages.channel.<id>, where the id is one word"
        elif words[0] in SERVER_TOPICS or words[0].startswith("_"):
            return (
                "is about topics of the server's own, which rules neither open nor close, "
                "but for channels: messages.channel.<id>"
            )
        for index, word in enumerate(words):
            if word in VARIABLES and "**" in words[:index]:
                return f"has {word} behind **, where it could be any word"
            if word not in VARIABLES and ("{" in word or "}" in word):
                return f"has {word}, which is none of {', '.join(VARIABLES)}"
        if self.channel is not None and (escaped := escape_word(self.channel)) != words[2]:
            return f"has {words[2]}, which no channel's topic has: the channel {self.channel!r} is {escaped} there"
        return None

    def pattern_for(self, principal: Principal) -> str | None:
        """`match` with the variables replaced for `principal`; `None` where it is not for them, or that is no pattern."""
        if self.users is not None and principal.user_id not in self.users:
            return None
        if self.devices is not None and principal.device_name not in self.devices:
            return None
        names = {USER: principal.user_id, DEVICE: principal.device_name or ""}
        if not all(is_word(names[word]) for word in self.words if word in VARIABLES):
            return None
        return ".".join(names.get(word, word) for word in self.words)

    def principals(self, topic: list[str]) -> tuple[Principals, Principals]:
        """The users and the devices that the rule is for on `topic`, which `index_pattern` covers.

        Nobody where one variable would have to stand for two words.
        """
        found: dict[str, Principals] = {USER: self.users, DEVICE: self.devices}
        for index, word in enumerate(self.words):
            if word in VARIABLES:  # no `**` stands before it: it is at the same place in the topic
                others = found[word]
                found[word] = frozenset((topic[index],)) & (others if others is not None else {topic[index]})
        return found[USER], found[DEVICE]

    def named_device(self, topic: list[str]) -> int | None:
        """The index of the word of `topic` that is a device's name according to this rule."""
        words = self.index_pattern.split(".")
        index = self.words.index(DEVICE)  # no `**` stands before it
        return index if len(topic) > index and matches(words[:index], topic[:index]) else None

    def has_wildcard_at(self, index: int) -> bool:
        """Whether the word of a topic at `index` may be any, as far as this rule is concerned."""
        return "**" in self.words[: index + 1] or self.words[index : index + 1] == ["*"]


# The grants of a credential: as a client writes them, as the store has them, and as clients see them.


def parse(value: object, user_id: str) -> tuple[Grant, ...]:
    """The grants that a client of the user wrote: a list of `{pattern, verbs}`.  Raises `ValidationError` with all faults."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_GRANTS:
        raise ValidationError.for_field("grants", f"Must be a list of 1 to {MAX_GRANTS} grants")
    faults: list[FieldError] = []
    grants = []
    for index, grant in enumerate(value):
        found = [FieldError(("grants", index, *path), message) for path, message in _grant_errors(grant)]
        faults += found
        if not found:
            grants.append(Grant(grant["pattern"], grant["verbs"]))
    if not faults:
        for index, each in enumerate(grants):
            faults += [
                FieldError(("grants", index, *path), why)
                for path, why in _idle_reasons(each, grants, user_id)
            ]
    if faults:
        raise ValidationError(faults)
    return tuple(grants)


def serialize(grants: Iterable[Grant]) -> str:
    """As text: a line for each.  No pattern has white space, so it is unambiguous."""
    return "\n".join(f"{','.join(_ordered_verbs(grant))} {grant.pattern}" for grant in grants)


def deserialize(text: str) -> tuple[Grant, ...]:
    """The grants that `serialize` was given."""
    lines = (line.split(" ") for line in text.split("\n"))
    return tuple(Grant(pattern, verbs.split(",")) for verbs, pattern in lines)


def to_json(grants: Iterable[Grant]) -> list[dict[str, object]]:
    """As JSON, in the form that `parse` takes."""
    return [{"pattern": grant.pattern, "verbs": _ordered_verbs(grant)} for grant in grants]


def is_pattern(text: str) -> bool:
    """Whether `text` may be subscribed to, as far as its form goes."""
    try:
        return bool(check_pattern(text))
    except ValidationError:
        return False


_GRANT_FIELDS = ("pattern", "verbs")


def _ordered_verbs(grant: Grant) -> list[str]:
    return [verb for verb in VERBS if verb in grant.verbs]


def _grant_errors(grant: object) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """(path, message) of each fault of `grant`."""
    if not isinstance(grant, dict):
        yield (), "Must be an object with pattern and verbs"
        return
    unknown = (name for name in grant if name not in _GRANT_FIELDS)
    missing = [field for field in _GRANT_FIELDS if field not in grant]
    yield from ((error.path, error.message) for error in misspelt_fields(unknown, _GRANT_FIELDS, missing))
    pattern, verbs = grant.get("pattern"), grant.get("verbs")
    if not isinstance(pattern, str):
        yield ("pattern",), "Must be a topic pattern"
    elif pattern.startswith("_"):
        yield ("pattern",), "These topics are the server's own"
    elif not is_pattern(pattern):
        yield (
            ("pattern",),
            f"Must be a topic pattern of at most {MAX_TOPIC_WORDS} words and {MAX_TOPIC_BYTES} bytes",
        )
    if not isinstance(verbs, list) or not verbs or not all(verb in VERBS for verb in verbs):
        yield ("verbs",), f"Must be a list of some of {', '.join(VERBS)}"


def _idle_reasons(
    grant: Grant, grants: Sequence[Grant], user_id: str
) -> Iterable[tuple[tuple[str, ...], str]]:
    """(path, message) of why `grant`, one of `grants`, permits nothing, whatever the rules are."""
    words = grant.words
    if PUBLISH in grant.verbs and words[0] not in SERVER_TOPICS:
        return
    if words[:2] == ["messages", "user"] and (words[2:3] or [""])[0] not in (user_id, "*", "**"):
        yield ("pattern",), f"No message of yours is there: those are on messages.user.{user_id}"
    elif grant.verbs == {PUBLISH}:
        yield ("verbs",), "publish permits nothing on topics that the server writes"
    elif not any(SUBSCRIBE in each.verbs and overlaps(each.pattern, grant.pattern) for each in grants):
        yield ("verbs",), "history permits nothing without subscribe, which no grant has on these topics"
