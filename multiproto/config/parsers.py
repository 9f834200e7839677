"""Functions that turn a setting's text into a value, within bounds.

A parser raises `ValueError` with what is wrong, as the end of the sentence
"PORT ...".
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Callable
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from ..core.addresses import IPNetwork
from ..core.errors import Refusal
from ..core.pubsub.namespaces import Namespace, Namespaces
from ..core.pubsub.permissions import MAX_RULE_PRINCIPALS, MAX_RULES, VERBS, Rule
from ..core.pubsub.topics import check_pattern, is_word
from ..core.ratelimit.token_bucket import Rate
from ..core.validation import is_email, is_uuid

Parser = Callable[[str], object]

UNIT_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TRUE_WORDS, _FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def text(value: str) -> str:
    return value


def secret(value: str) -> str:
    """Like `text`, but never shown; also read from the file that NAME_FILE names."""
    return value


def postgresql_url(value: str) -> str:
    """A URI for libpq; a secret, for it may hold a password."""
    try:
        readable = value.startswith(("postgresql://", "postgres://")) and conninfo_to_dict(value) is not None
    except ProgrammingError:
        readable = False
    if not readable:
        raise ValueError("must be an address such as postgresql://user:password@host:5432/name")
    return value


def redis_url(value: str) -> str:
    """A redis:// URL, or rediss:// for TLS; a secret, for it may hold a password."""
    try:
        url = urlsplit(value)
        readable = url.scheme in ("redis", "rediss") and bool(url.hostname) and url.port != 0
    except ValueError:
        readable = False
    if not readable or not re.fullmatch(r"/?[0-9]{0,4}", url.path) or url.query or url.fragment:
        raise ValueError("must be an address such as redis://user:password@host:6379/0")
    return value


SECRET_PARSERS = (secret, postgresql_url, redis_url)


def boolean(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered not in _TRUE_WORDS + _FALSE_WORDS:
        raise ValueError("must be true or false")
    return lowered in _TRUE_WORDS


def choice(*words: str) -> Parser:
    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return read


def integer(low: int, high: int | None = None) -> Parser:
    """A whole number within `low` and `high`, both included."""
    wanted = f"must be a whole number from {low} to {high}" if high else f"must be a whole number from {low}"

    def read(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
            raise ValueError(wanted)
        number = int(value.strip())  # `strip` removes more kinds of blanks than `int` does
        if number < low or (high is not None and number > high):
            raise ValueError(wanted)
        return number

    return read


port = integer(1, 65535)


def duration(low: float, high: float = 366 * 86400.0, bare: str = "ms") -> Parser:
    """Seconds, from `15m` and the like; a bare number is in the unit `bare`."""
    wanted = f"must be a time from {format_duration(low)} to {format_duration(high)}, such as 500ms, 30s, 15m, 12h or 7d"

    def read(value: str) -> float:
        found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d)?", value.strip().lower())
        if not found:
            raise ValueError(wanted)
        seconds = float(found[1]) * UNIT_MILLISECONDS[found[2] or bare] / 1000
        if not low <= seconds <= high:
            raise ValueError(wanted)
        return seconds

    return read


def rate(value: str) -> Rate | None:
    """`500/s` or `30000/m`, either followed by a burst: `500/s burst 1000`; `none` or 0 for no limit.

    The default burst is the number of one second.
    """
    if value.strip().lower() in ("0", "none", "off"):
        return None
    found = re.fullmatch(r"([0-9]{1,12})/(s|m)(?:\s+burst\s+([0-9]{1,12}))?", value.strip().lower())
    per_second = int(found[1]) / (1 if found[2] == "s" else 60) if found else 0.0
    burst = float(found[3]) if found and found[3] else max(1.0, per_second)
    if per_second <= 0 or burst < 1:
        raise ValueError("must be a rate such as 500/s, 30000/m or 500/s burst 1000, or none")
    return Rate(per_second, burst)


def format_duration(seconds: float) -> str:
    """`seconds` as `duration` reads it, in the largest unit that makes it a whole number."""
    milliseconds = round(seconds * 1000)
    fitting = [unit for unit, size in UNIT_MILLISECONDS.items() if milliseconds % size == 0]
    unit = fitting[-1] if milliseconds else "s"
    return f"{milliseconds // UNIT_MILLISECONDS[unit]}{unit}"


def origins(value: str) -> tuple[str, ...]:
    """Exact origins (RFC 6454), separated by commas, or `*`."""
    found = tuple(origin.strip() for origin in value.split(",") if origin.strip())
    for origin in found:
        if origin != "*" and not re.fullmatch(r"https?://[^/?#@\s*]+", origin):
            raise ValueError(f"holds {origin!r}, which is no origin such as https://app.example.org")
    return tuple(origin.lower() for origin in found)


def file_paths(value: str) -> tuple[str, ...]:
    """Paths of files, separated by commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip())


def operators(value: str) -> tuple[str, ...]:
    """Users, each by id or by address, separated by commas; in lower case, as both are compared."""
    found = tuple(word.strip().lower() for word in value.split(",") if word.strip())
    for word in found:
        if not is_uuid(word) and not is_email(word):
            raise ValueError(f"holds {word!r}, which is neither a user's id nor an email address")
    return found


def networks(value: str) -> tuple[IPNetwork, ...]:
    """Addresses and networks in CIDR notation, separated by commas; bits after the prefix must be 0."""
    found: list[IPNetwork] = []
    for each in filter(None, map(str.strip, value.split(","))):
        try:
            found.append(ip_network(each))
        except ValueError:
            raise ValueError(f"holds {each!r}, which is no network such as 10.0.0.0/8 or ::1") from None
    return tuple(found)


def url_path(value: str) -> str:
    """An absolute path of a URL that no other resource is served on."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise ValueError("must be a path such as /graphql")
    if value.split("/")[1] in ("ws", "ws-echo", "api", "health", "docs", "openapi.json", ".well-known"):
        raise ValueError("is a path that something else is served on")
    return value


def namespaces(value: str) -> tuple[Namespace, ...]:
    """`[[namespaces]]` tables of the TOML file, or the same as a JSON array."""
    found = tuple(map(_parse_namespace, _parse_tables("namespaces", value)))
    if len({each.match for each in found}) < len(found):
        raise ValueError("must name each pattern once")
    ignored = Namespaces.with_builtin(found).first_ignored()
    if ignored is not None:
        namespace, before = ignored
        names = " and ".join(each.match for each in before)
        raise ValueError(
            f"must not have {namespace.match} behind {names}, where no topic is left to it: put the narrower one "
            "first (users.** and messages.** come before all others, and are kept as a whole)"
        )
    return found


def _parse_tables(name: str, value: str) -> list[dict[str, object]]:
    try:
        tables = json.loads(value)
    except ValueError:
        tables = None
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ValueError(f"must be [[{name}]] tables, or a JSON array of objects")
    return tables


def _parse_namespace(table: dict[str, object]) -> Namespace:
    """match = "telemetry.**", and how much is kept: retention = "24h", most = 100000, or both."""
    unknown = set(table) - {"match", "retention", "most"}
    match, retention, most = (table.get(name) for name in ("match", "retention", "most"))
    if unknown:
        raise ValueError(f"must not have {', '.join(sorted(unknown))}: only match, retention and most")
    try:
        check_pattern(str(match))
    except Refusal:
        match = None
    if not isinstance(match, str) or match.startswith("_"):
        raise ValueError("must each have a match, which is a topic pattern such as telemetry.**")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise ValueError(f"must have a whole number from 1 as most ({match})")
    kept = None if retention is None else duration(1.0, 36_500 * 86_400.0)(str(retention))
    return Namespace(match, kept if isinstance(kept, float) else None, most)


def rules(value: str) -> tuple[Rule, ...]:
    """`[[rules]]` tables of the TOML file, or the same as a JSON array."""
    found = tuple(map(_parse_rule, _parse_tables("rules", value)))
    if len(found) > MAX_RULES:
        raise ValueError(f"must be at most {MAX_RULES} rules")
    if len({(each.match, each.users, each.devices) for each in found}) < len(found):
        raise ValueError("must name each pattern once for the same users and devices")
    return found


def _parse_principals(
    table: dict[str, object], match: str, name: str, is_one: Callable[[str], bool], what: str
) -> frozenset[str] | None:
    """Whom the rule about `match` is for, under `name`; `None` where it does not say."""
    some = table.get(name)
    if some is None:
        return None
    if not isinstance(some, list) or not 1 <= len(some) <= MAX_RULE_PRINCIPALS:
        raise ValueError(f"must have a list of 1 to {MAX_RULE_PRINCIPALS} {what} as {name} ({match})")
    for one in some:
        if not isinstance(one, str) or not is_one(one):
            raise ValueError(f"must have only {what} as {name}, not {one!r} ({match})")
    return frozenset(some)


def _parse_rule(table: dict[str, object]) -> Rule:
    """match = "devices.{user}.**", and what it allows: allow = ["publish", "subscribe", "history"].

    Whom it is for, where that is not everybody: users = [ids], devices = [names of credentials].
    """
    unknown = set(table) - {"match", "allow", "users", "devices"}
    match, allow = table.get("match"), table.get("allow")
    if unknown:
        raise ValueError(f"must not have {', '.join(sorted(unknown))}: only match, allow, users and devices")
    try:
        check_pattern(str(match))
    except Refusal:
        match = None
    if not isinstance(match, str):
        raise ValueError("must each have a match, which is a topic pattern such as devices.{user}.**")
    if not isinstance(allow, list) or not all(verb in VERBS for verb in allow):
        raise ValueError(f"must have a list of some of {', '.join(VERBS)} as allow ({match})")
    rule = Rule(
        match,
        allow,
        _parse_principals(table, match, "users", is_uuid, "ids of users, in lower case"),
        _parse_principals(table, match, "devices", is_word, "names of credentials"),
    )
    if (problem := rule.find_problem()) is not None:
        raise ValueError(f"must not have {match}: it {problem}")
    return rule
