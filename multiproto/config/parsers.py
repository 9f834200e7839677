"""Functions that turn a setting's text into a value, within bounds.

A parser raises `ValueError` with what is wrong, as the end of the sentence
"PORT ...", or `Mistakes` with several such ends.  Those for secrets quote nothing.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from attrs import frozen
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from ..base.client_network import parse_address
from ..core.addresses import IPNetwork
from ..core.mailbox import is_mailbox, normalize_mailbox
from ..core.ratelimit.token_bucket import Rate
from ..core.validation import is_uuid

Parser = Callable[[str], object]

UNIT_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
MAX_QUOTED = 60  # characters of a value that are shown
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._~%:\[\]-]+)/?")
_SPECIAL_ORIGINS = ("*", "null", "file://")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
CLIENT_PORTS, METRICS_PORT = ("http", "tcp"), "metrics"
NONE = ("none", "off")  # words for no limit
_TRUE_WORDS, _FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@frozen
class Mistake:
    """One of several things that are wrong with a value; `message` as a parser's `ValueError` has it."""

    message: str
    entry: int | None = None  # of a list of tables, which of them, from 1
    field: str | None = None  # of that table


class Mistakes(ValueError):
    """All that is wrong with a value of several parts."""

    def __init__(self, found: Iterable[Mistake]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(each.message for each in self.found))


def quote(value: object) -> str:
    """A wrong value as the operator is shown it: not all of a long one, and not the password of an address.

    That may be any text, wherever it ends: it is not escaped where somebody did not know that it must be.
    """
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    shown = (
        re.sub(r"(?s)//.*@", "//...@", shown) if "//" in shown else re.sub(r"(?s)^[^@]*:.*@", "...@", shown)
    )
    shown = re.sub(r"(?i)(password|secret)\s*=.*", r"\1=...", shown)
    shown = shown if len(shown) <= MAX_QUOTED else f"{shown[:MAX_QUOTED]}..."
    return repr(shown) if isinstance(value, str) else shown


def unexpected(wanted: str, value: object) -> ValueError:
    return ValueError(f"{wanted}, not {quote(value)}")


def _check_each(found: Iterable[str], find_problem: Callable[[str], str | None]) -> None:
    """Raises `Mistakes` with the problem of each part that has one."""
    problems = [(part, problem) for part in found if (problem := find_problem(part)) is not None]
    if problems:
        raise Mistakes(Mistake(f"holds {quote(part)}, which {problem}") for part, problem in problems)


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
        raise unexpected("must be true or false", value)
    return lowered in _TRUE_WORDS


def choice(*words: str, also: Mapping[str, str] | None = None) -> Parser:
    """One of `words`, in any case; `also` has other words for some of them."""
    meanings = {**{word: word for word in words}, **(also or {})}

    def read(value: str) -> str:
        try:
            return meanings[value.strip().lower()]
        except KeyError:
            raise unexpected(f"must be one of {', '.join(words)}", value) from None

    return read


def integer(low: int, high: int | None = None) -> Parser:
    """A whole number within `low` and `high`, both included."""
    wanted = f"must be a whole number from {low} to {high}" if high else f"must be a whole number from {low}"

    def read(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
            raise unexpected(wanted, value)
        number = int(value.strip())  # `strip` removes more kinds of blanks than `int` does
        if number < low or (high is not None and number > high):
            raise unexpected(wanted, value)
        return number

    return read


_HOST_WANTED = "must be an address or a name such as 127.0.0.1, :: or db.example.org, without a port"
_port_number = integer(1, 65535)


def port(value: str) -> int:
    try:
        return _port_number(value)  # type: ignore[return-value]
    except ValueError as error:
        if is_service_link(value):
            raise ValueError(
                f"{error}: Kubernetes sets it so for a service of that name, unless enableServiceLinks is false"
            ) from None
        raise


def is_service_link(value: str) -> bool:
    """Whether Kubernetes sets NAME_PORT so, for a service of that name.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    return re.match("(tcp|udp|sctp)://", value) is not None


def host(value: str) -> str:
    """An IP address or the name of a host, without a port."""
    if not _is_host(value):
        raise unexpected(_HOST_WANTED, value)
    return value


def _is_host(value: str) -> bool:
    """A name whose last word is a number is none, but an address with a mistake (RFC 1123, section 2.1)."""
    is_name = re.fullmatch(r"[\w.-]+", value) and not value.rstrip(".").rpartition(".")[2].isdecimal()
    return parse_address(value) is not None or bool(is_name)


def postgresql_host(value: str) -> str:
    """As libpq has it: hosts separated by commas, each also the directory of a socket."""
    if not all(each.startswith("/") or _is_host(each) for each in value.split(",")):
        raise unexpected(_HOST_WANTED, value)  # as a whole: a comma may be one of a password
    return value


def duration(low: float, high: float = 366 * 86400.0, bare: str = "ms", zero: float | None = None) -> Parser:
    """Seconds, from `15m` and the like; a bare number is in the unit `bare`, and 0 is `zero` seconds, if that is given."""
    wanted = f"must be a time from {format_duration(low)} to {format_duration(high)}, such as {_example_times(low, high)}"
    if zero is not None:
        wanted += ", or 0"

    def read(value: str) -> float:
        found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d|w)?", value.strip().lower())
        if not found:
            raise unexpected(wanted, value)
        seconds = float(found[1]) * UNIT_MILLISECONDS[found[2] or bare] / 1000
        if seconds == 0 and zero is not None:
            return zero
        if not low <= seconds <= high:
            raise unexpected(wanted, value if found[2] else f"{found[1]} {bare}")
        return seconds

    return read


def _example_times(low: float, high: float) -> str:
    """Some that are within the bounds, each in another unit."""
    examples = {"500ms": 0.5, "30s": 30.0, "15m": 900.0, "12h": 43_200.0, "7d": 604_800.0}
    fitting = [text for text, seconds in examples.items() if low <= seconds <= high]
    *most, last = fitting or [format_duration(high)]
    return f"{', '.join(most)} or {last}" if most else last


def unless_none(parser: Parser) -> Parser:
    """As `parser`, but `none` is `None`."""

    def read(value: str) -> object:
        return None if value.strip().lower() in NONE else parser(value)

    return read


def rate(value: str) -> Rate | None:
    """`500/s` or `30000/m`, either followed by a burst: `500/s burst 1000`; `none` or 0 for no limit.

    The default burst is the number of one second.
    """
    if value.strip().lower() in ("0", *NONE):
        return None
    found = re.fullmatch(r"([0-9]{1,12})/(s|m)(?:\s+burst\s+([0-9]{1,12}))?", value.strip().lower())
    per_second = int(found[1]) / (1 if found[2] == "s" else 60) if found else 0.0
    burst = float(found[3]) if found and found[3] else max(1.0, per_second)
    if per_second <= 0 or burst < 1:
        raise unexpected("must be a rate such as 500/s, 30000/m or 500/s burst 1000, or none", value)
    return Rate(per_second, burst)


def format_duration(seconds: float) -> str:
    """`seconds` as `duration` reads it, in the largest unit up to days that makes it a whole number."""
    milliseconds = round(seconds * 1000)
    fitting = [unit for unit, size in UNIT_MILLISECONDS.items() if milliseconds % size == 0 and unit != "w"]
    unit = fitting[-1] if milliseconds else "s"
    return f"{milliseconds // UNIT_MILLISECONDS[unit]}{unit}"


def origins(value: str) -> tuple[str, ...]:
    """Exact origins as browsers send them (RFC 6454), separated by commas, or `*`.

    Apps have schemes of their own, and a page opened as a file has the origin `null`.
    """
    found = tuple(filter(None, map(str.strip, value.split(","))))
    _check_each(found, _origin_problem)
    return tuple(map(_normalize_origin, found))


def _origin_problem(text: str) -> str | None:
    if text.lower() in _SPECIAL_ORIGINS or _ORIGIN.fullmatch(text.lower()):
        return None
    return "is no origin such as https://app.example.org or capacitor://localhost"


def _normalize_origin(value: str) -> str:
    """As a browser spells it: in lower case, without a trailing slash or a port that goes without saying."""
    lowered = value.lower()
    found = _ORIGIN.fullmatch(lowered)
    if found is None:
        return lowered
    default = f":{_DEFAULT_PORTS.get(found['scheme'], '')}"
    return f"{found['scheme']}://{found['host'].removesuffix(default)}"


def proxied_ports(value: str) -> tuple[str, ...]:
    """Names of ports, separated by commas; `true` stands for those of clients, `false` for none."""
    names = {each.strip().lower() for each in value.split(",") if each.strip()}
    if names <= {*_FALSE_WORDS}:
        return ()
    if names <= {*_TRUE_WORDS}:
        return CLIENT_PORTS
    _check_each(
        sorted(names - {*CLIENT_PORTS, METRICS_PORT}),
        lambda _: "is none of the ports http, tcp and metrics, or true or false alone",
    )
    return tuple(sorted(names))


def file_paths(value: str) -> tuple[str, ...]:
    """Paths of files, separated by commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip())


def operators(value: str) -> tuple[str, ...]:
    """Users, each by id or by address, separated by commas; in lower case, as both are compared."""
    found = tuple(normalize_mailbox(word).lower() for word in value.split(",") if word.strip())
    _check_each(
        found,
        lambda word: (
            None if is_uuid(word) or is_mailbox(word) else "is neither a user's id nor an email address"
        ),
    )
    return found


def networks(value: str) -> tuple[IPNetwork, ...]:
    """Addresses and networks in CIDR notation, separated by commas; bits after the prefix must be 0."""
    found = tuple(filter(None, map(str.strip, value.split(","))))
    _check_each(found, _network_problem)
    return tuple(map(ip_network, found))


def _network_problem(text: str) -> str | None:
    try:
        ip_network(text)
    except ValueError:
        return "is no network such as 10.0.0.0/8 or ::1"
    return None


def url_path(value: str) -> str:
    """An absolute path of a URL that no other resource is served on."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise unexpected("must be a path such as /graphql", value)
    if value.split("/")[1] in ("ws", "ws-echo", "api", "health", "docs", "openapi.json", ".well-known"):
        raise ValueError(f"is {value}, a path that something else is served on")
    return value
