"""Reads `[[namespaces]]` and `[[rules]]`: tables of the TOML file, or the same as a JSON array.

Each function is a parser, as those of `parsers`; it names each mistake by the
table's number and the field.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, Callable, Iterator, Mapping, Sequence, TypeVar

from attrs import frozen

from ..core.pubsub.namespaces import Namespace, Namespaces
from ..core.pubsub.permissions import (
    HISTORY,
    MAX_RULE_PRINCIPALS,
    MAX_RULES,
    SUBSCRIBE,
    VERBS,
    Rule,
    is_pattern,
)
from ..core.pubsub.topics import MAX_TOPIC_BYTES, MAX_TOPIC_WORDS, is_word, overlaps
from ..core.validation import is_uuid
from .parsers import Mistake, Mistakes, duration, quote

T = TypeVar("T")

MAX_RETENTION = 36_500 * 86_400.0  # seconds
# Wildcards of others, which are ordinary words here -> what is meant.
FOREIGN_WILDCARDS = {"+": "*", "#": "**", ">": "**"}

NAMESPACE_FIELDS = ("match", "retention", "most")
RULE_FIELDS = ("match", "allow", "users", "devices")

_parse_retention = duration(1.0, MAX_RETENTION)


@frozen
class _Table:
    """One table, with its fields in the order in which they were written; one may be there twice."""

    number: int  # from 1
    pairs: tuple[tuple[str, object], ...]

    @property
    def fields(self) -> dict[str, object]:
        return dict(self.pairs)

    def mistake(self, field: str | None, message: str) -> Mistake:
        return Mistake(message, self.number, field)

    def check_fields(self, known: Sequence[str]) -> Iterator[Mistake]:
        names = [name for name, _ in self.pairs]
        for name in dict.fromkeys(names):
            if name not in known:
                near = difflib.get_close_matches(name.lower(), known, 1)
                nearest = f"; the nearest is {near[0]}" if near else ""
                yield self.mistake(name, f"is none of its fields, {', '.join(known)}{nearest}")
            elif names.count(name) > 1:
                yield self.mistake(name, "is given twice")

    def check_match(self, example: str) -> Iterator[Mistake]:
        """The mistakes of the field `match` as a pattern."""
        if "match" not in self.fields:
            yield self.mistake(None, f"has no match: a topic pattern such as {example}")
            return
        match = self.fields["match"]
        if not isinstance(match, str):
            yield self.mistake("match", f"must be a topic pattern such as {example}, not {quote(match)}")
            return
        foreign = next((word for word in re.split(r"[./]", match) if word in FOREIGN_WILDCARDS), None)
        if foreign is not None:
            yield self.mistake(
                "match",
                f"must not be {quote(match)}: words are separated by dots, and {foreign} is no wildcard but "
                f"{FOREIGN_WILDCARDS[foreign]} (* is one word, ** any number)",
            )
        elif not is_pattern(match):
            yield self.mistake(
                "match",
                f"must be a topic pattern such as {example}, of at most {MAX_TOPIC_WORDS} words and "
                f"{MAX_TOPIC_BYTES} bytes, not {quote(match)}",
            )


def namespaces(value: str) -> tuple[Namespace, ...]:
    """match = "telemetry.**", and how much is kept: retention = "24h", most = 100000, or both."""
    return _read_all("namespaces", value, _namespace_mistakes, _find_hidden, _make_namespace)


def _find_hidden(tables: Sequence[_Table], sound: Mapping[int, str]) -> Iterator[Mistake]:
    """Namespaces that no topic belongs to; with `sound` patterns, by the table's number."""
    first_with: dict[str, int] = {}
    for number, match in sound.items():
        first_with.setdefault(match, number)
    for ignored, before in Namespaces.with_builtin(map(Namespace, first_with)).find_ignored():
        yield Mistake(
            f"must not be {ignored.match} behind {' and '.join(each.match for each in before)}, where no topic is left "
            "to it: put the narrower one first (users.** and messages.** come before all others, and are kept as a whole)",
            first_with[ignored.match],
            "match",
        )


def _namespace_mistakes(table: _Table) -> Iterator[Mistake]:
    yield from table.check_fields(NAMESPACE_FIELDS)
    pattern_mistakes = list(table.check_match("telemetry.**"))
    yield from pattern_mistakes
    match, retention, most = (table.fields.get(name) for name in ("match", "retention", "most"))
    if isinstance(match, str) and not pattern_mistakes:
        if match.startswith("_"):
            yield table.mistake(
                "match", f"must not be {quote(match)}: topics that begin with _ are the server's own"
            )
        for word in match.split("."):
            if re.fullmatch(r"\{.*\}", word):
                yield table.mistake(
                    "match", f"must not have {word}: variables mean something in rules only; here it is *"
                )
    if retention is not None:
        try:
            _read_retention(retention)
        except ValueError as error:
            yield table.mistake("retention", str(error))
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        yield table.mistake("most", f"must be a whole number from 1, not {quote(most)}")


def _make_namespace(fields: Mapping[str, Any]) -> Namespace:
    retention = fields.get("retention")
    return Namespace(
        fields["match"], None if retention is None else _read_retention(retention), fields.get("most")
    )


def _read_retention(value: object) -> float:
    seconds = _parse_retention(value if isinstance(value, str) else json.dumps(value))
    assert isinstance(seconds, float)
    return seconds


def rules(value: str) -> tuple[Rule, ...]:
    """match = "devices.{user}.**", and what it allows: allow = ["publish", "subscribe", "history"].

    Whom it is for, where that is not everybody: users = [ids], devices = [names of credentials].
    """
    return _read_all("rules", value, _rule_mistakes, _find_idle_rules, _make_rule, ("users", "devices"))


def _find_idle_rules(tables: Sequence[_Table], sound: Mapping[int, str]) -> Iterator[Mistake]:
    """More rules than can be had, and those whose history nobody may subscribe to; `sound` as above."""
    if len(tables) > MAX_RULES:
        yield Mistake(f"must be at most {MAX_RULES} rules, not {len(tables)}")
    patterns = {number: Rule(match, ()).index_pattern for number, match in sound.items()}
    # What is wrong may be about any topic, once it is right.
    subscribing = [patterns.get(table.number, "**") for table in tables if _may_allow_subscribe(table)]
    for table in tables:
        allow, pattern = table.fields.get("allow"), patterns.get(table.number)
        if pattern is None or not isinstance(allow, list) or HISTORY not in allow:
            continue
        if not any(overlaps(pattern, each) for each in subscribing):
            yield table.mistake(
                "allow",
                f"has {HISTORY}, which means nothing without {SUBSCRIBE}: no rule has that on topics of "
                f"{sound[table.number]}",
            )


def _may_allow_subscribe(table: _Table) -> bool:
    """Whether the rule has `subscribe`, or may have it once its mistakes are mended."""
    allow = table.fields.get("allow")
    verbs = [allow] if isinstance(allow, str) else allow
    return not isinstance(verbs, list) or any(verb == SUBSCRIBE or verb not in VERBS for verb in verbs)


def _rule_mistakes(table: _Table) -> Iterator[Mistake]:
    yield from table.check_fields(RULE_FIELDS)
    pattern_mistakes = list(table.check_match("devices.{user}.**"))
    yield from pattern_mistakes
    match, allow = table.fields.get("match"), table.fields.get("allow")
    if isinstance(match, str) and not pattern_mistakes and (problem := Rule(match, ()).find_problem()):
        yield table.mistake("match", f"must not be {match}: it {problem}")
    verbs = ", ".join(VERBS)
    if "allow" not in table.fields:
        yield table.mistake(None, f"has no allow: a list of some of {verbs}, or [] to close the topics")
    elif not isinstance(allow, list):
        yield table.mistake("allow", f"must be a list of some of {verbs}, not {quote(allow)}")
    else:
        for verb in allow:
            if verb not in VERBS:
                yield table.mistake("allow", f"holds {quote(verb)}, which is none of {verbs}")
    yield from _principal_mistakes(table, "users", is_uuid, "ids of users, in lower case")
    yield from _principal_mistakes(table, "devices", is_word, "names of credentials")


def _principal_mistakes(
    table: _Table, name: str, is_one: Callable[[str], bool], what: str
) -> Iterator[Mistake]:
    """Of the field `name`, which says whom a rule is for."""
    some = table.fields.get(name)
    if some is None:
        return
    wanted = f"must be a list of 1 to {MAX_RULE_PRINCIPALS} {what}"
    if not isinstance(some, list):
        yield table.mistake(name, f"{wanted}, not {quote(some)}")
    elif not 1 <= len(some) <= MAX_RULE_PRINCIPALS:
        yield table.mistake(name, f"{wanted}, not {len(some)}")
    else:
        for one in some:
            if not isinstance(one, str) or not is_one(one):
                yield table.mistake(name, f"holds {quote(one)}; it {wanted}")


def _make_rule(fields: Mapping[str, Any]) -> Rule:
    users, devices = (
        None if fields.get(name) is None else frozenset(fields[name]) for name in ("users", "devices")
    )
    return Rule(fields["match"], fields["allow"], users, devices)


def _read_all(
    name: str,
    value: str,
    find_mistakes: Callable[[_Table], Iterator[Mistake]],
    find_conflicts: Callable[[Sequence[_Table], Mapping[int, str]], Iterator[Mistake]],
    make: Callable[[Mapping[str, Any]], T],
    principals: Sequence[str] = (),
) -> tuple[T, ...]:
    """What `make` makes of each table.  Raises `Mistakes` with those of all.

    `find_conflicts` gets all tables, and the patterns of those without a mistake in theirs.
    A pattern may be there again where one of the fields `principals` differs.
    """
    tables, mistakes = _parse_tables(name, value)
    mistakes += [mistake for table in tables for mistake in find_mistakes(table)]
    unsound = {mistake.entry for mistake in mistakes if mistake.field == "match"}
    sound = {
        table.number: match
        for table in tables
        if table.number not in unsound and isinstance(match := table.fields.get("match"), str)
    }
    mistakes += [*_find_repeated(tables, principals), *find_conflicts(tables, sound)]
    if mistakes:
        raise Mistakes(sorted(mistakes, key=lambda mistake: mistake.entry or 0))
    return tuple(make(table.fields) for table in tables)


def _find_repeated(tables: Sequence[_Table], principals: Sequence[str]) -> Iterator[Mistake]:
    first_with: dict[object, int] = {}
    for table in tables:
        match = table.fields.get("match")
        key = (match, *(_as_set(table.fields.get(name)) for name in principals))
        if isinstance(match, str) and first_with.setdefault(key, table.number) != table.number:
            yield table.mistake(
                "match", f"is {quote(match)} again, as in entry {first_with[key]}: name each pattern once"
            )


def _as_set(value: object) -> object:
    """A list of principals as what it means; anything that can be compared for what is none."""
    return frozenset(map(str, value)) if isinstance(value, list) else str(value)


def _parse_tables(name: str, value: str) -> tuple[list[_Table], list[Mistake]]:
    """The tables, and a mistake for each entry that is none.  Raises `ValueError` for what is no list."""
    wanted = f"must be [[{name}]] tables, or a JSON array of objects"
    if not value.strip():  # an empty list in TOML
        return [], []
    try:
        # Objects become tuples, in which what is there twice stays, arrays lists.
        found = json.loads(value, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        why = (
            f"{error.msg} at character {error.pos + 1}"
            if isinstance(error, json.JSONDecodeError)
            else "unreadable"
        )
        raise ValueError(f"{wanted}; as JSON: {why}") from None
    if not isinstance(found, list):
        raise ValueError(wanted)
    tables = [_Table(number, each) for number, each in enumerate(found, 1) if isinstance(each, tuple)]
    mistakes = [
        Mistake(f"must be an object, not {quote(each)}", number)
        for number, each in enumerate(found, 1)
        if not isinstance(each, tuple)
    ]
    return tables, mistakes
