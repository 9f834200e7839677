"""What is risky about a configuration in production: valid settings that an operator may not have meant.

A new risk that one look at the `Config` shows is a row of `RISKS`.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from attrs import frozen
from psycopg.conninfo import conninfo_to_dict

from ..base.client_network import parse_address
from ..core.ratelimit.token_bucket import Rate
from .load import LoadedConfig, iter_settings
from .settings import Config, RateLimitConfig
from .sources import RawSetting, SettingProblem

MIN_DIFFERENT_CHARACTERS = 10  # of a secret; of 32 random hexadecimal digits, one in 9,000 has fewer
# In secrets that were copied from a page.
EXAMPLE_WORDS = ("secret", "change", "example", "password", "characters")


@frozen
class Risk:
    """A setting whose value may be one; `message` goes on behind its name and where it was found."""

    name: str
    is_taken: Callable[[Config], bool]
    message: str


def _is_local(host: str) -> bool:
    """Whether only this machine can connect to it."""
    address = parse_address(host)
    return host == "localhost" or host.startswith("/") or (address is not None and address.is_loopback)


def _no_limit(name: str, rate: Callable[[RateLimitConfig], Rate | None], who: str) -> Risk:
    return Risk(
        name, lambda config: rate(config.rate_limits) is None, f"is none: one {who} can take what all share"
    )


RISKS = (
    Risk(
        "TLS_CERT_FILE",
        lambda config: (
            not config.edge.certificate_file
            and not config.edge.trusted_proxies
            and not (_is_local(config.http.host) and _is_local(config.tcp.host))
        ),
        "is unset: passwords and tokens cross the network readable. Set it and TLS_KEY_FILE, or put a proxy that speaks "
        "TLS before the server and name it in TRUSTED_PROXIES",
    ),
    Risk(
        "TCP_HOST",
        lambda config: (
            config.tcp.enabled
            and not config.edge.certificate_file
            and bool(config.edge.trusted_proxies)
            and "tcp" not in config.edge.proxy_protocol_ports
            and not _is_local(config.tcp.host)
        ),
        "is open to the network without TLS: a proxy for HTTP does not cover TCP_PORT. Set TLS_CERT_FILE, let a proxy pass "
        "TCP on with PROXY_PROTOCOL, bind it to loopback, or set TCP_ENABLED=false",
    ),
    Risk(
        "TRUSTED_PROXIES",
        lambda config: any(network.prefixlen == 0 for network in config.edge.trusted_proxies),
        "trusts every address: any client can say that it is any other, and limits by address limit nobody",
    ),
    Risk(
        "METRICS_HOST",
        lambda config: config.metrics.enabled and not config.metrics.is_loopback_only,
        "opens the metrics port to the network, which asks nobody who they are: let only your own network reach it",
    ),
    Risk(
        "OPERATORS",
        lambda config: not config.auth.operators,
        "is unset: nobody can read the whole audit log, unless python -m multiproto user made operators",
    ),
    Risk(
        "OPERATORS",
        lambda config: any("@" in each for each in config.auth.operators),
        "names accounts by address: one that no account has yet makes nobody an operator, now or later. Name ids",
    ),
    Risk(
        "REGISTRATION",
        lambda config: config.auth.is_registration_open,
        "is open: anybody who reaches the server may make an account. REGISTRATION=closed leaves that to operators",
    ),
    Risk(
        "PROFILE_EMAIL",
        lambda config: config.auth.shows_emails,
        "shows the address of every account to everybody who has logged in: PROFILE_EMAIL=self shows it to its owner",
    ),
    Risk(
        "RULES",
        lambda config: not config.rules,
        "is unset: everybody who has logged in may publish and subscribe on all topics but the server's own",
    ),
    Risk(
        "CORS_ORIGINS",
        lambda config: "*" in (config.http.origins or ()),
        "lets every web page call: name the origins of yours",
    ),
    Risk(
        "CORS_ORIGINS",
        lambda config: any(
            each.startswith("http:") and not _is_local(urlsplit(each).hostname or "")
            for each in config.http.origins or ()
        ),
        "trusts pages that are loaded without TLS, which anybody on the way can change",
    ),
    Risk(
        "GRAPHQL_PLAYGROUND_ENABLED",
        lambda config: config.graphql.enabled and config.graphql.playground,
        "serves GraphiQL to everybody",
    ),
    Risk(
        "WEBSOCKET_ECHO_ENABLED",
        lambda config: config.websocket.enabled and config.websocket.echo_enabled,
        "serves /ws-echo, which returns to strangers what they send: it is for conformance suites",
    ),
    Risk(
        "HELMET_ENABLED",
        lambda config: not config.http.security_headers,
        "leaves out the security headers, Strict-Transport-Security among them",
    ),
    _no_limit("CONNECT_RATE", lambda limits: limits.connect_rate, "address"),
    _no_limit("COMMAND_RATE", lambda limits: limits.command_rate, "connection"),
    _no_limit("PUBLISH_RATE", lambda limits: limits.publish_rate, "user"),
    _no_limit("BYTE_RATE", lambda limits: limits.byte_rate, "connection"),
    Risk(
        "LOG_LEVEL",
        lambda config: config.logs.level == "debug",
        "writes a line for every frame and connection",
    ),
    Risk(
        "DATA_DIR",
        lambda config: config.storage.engine == "sqlite" and not Path(config.storage.directory).is_absolute(),
        "is relative: a start from another folder begins with an empty database. Give the whole path",
    ),
)


def find_risks(loaded: LoadedConfig) -> Iterator[SettingProblem]:
    """Each as the problem of a setting; none outside production."""
    if not loaded.config.is_production:
        return

    def given(name: str) -> RawSetting:
        return loaded.given.get(name) or RawSetting(name, "", "default")

    for risk in RISKS:
        if risk.is_taken(loaded.config):
            yield given(risk.name).problem(risk.message)
    yield from chain(
        _database_risks(loaded.config, given), _redis_risks(loaded.config, given), _secret_risks(loaded.given)
    )


def _database_risks(config: Config, given: Callable[[str], RawSetting]) -> Iterator[SettingProblem]:
    if config.storage.postgresql_dsn is None:
        return
    parts = conninfo_to_dict(config.storage.postgresql_dsn)
    hosts = str(parts.get("host") or "localhost").split(",")
    if not all(map(_is_local, hosts)) and parts.get("sslmode") not in ("require", "verify-ca", "verify-full"):
        yield given("DATABASE_URL" if config.storage.url else "DB_HOST").problem(
            "does not insist on TLS to another machine: give an address with ?sslmode=verify-full (and sslrootcert), or "
            "sslmode=require"
        )


def _redis_risks(config: Config, given: Callable[[str], RawSetting]) -> Iterator[SettingProblem]:
    for name, address in (
        ("REDIS_URL" if config.redis.url else "REDIS_HOST", config.redis.rate_limit_url),
        ("PUBSUB_REDIS_URL", config.redis.pubsub_url or None),
    ):
        if address is None or (name == "PUBSUB_REDIS_URL" and address == config.redis.rate_limit_url):
            continue
        url = urlsplit(address)
        if url.scheme == "redis" and not _is_local(url.hostname or ""):
            yield given(name).problem(
                "is without TLS to another machine: what is published crosses the network readable. Use rediss://"
            )
        if not url.password:
            yield given(name).problem(
                "has no password: whoever reaches this Redis can read what is published"
            )


def _secret_risks(given: Mapping[str, RawSetting]) -> Iterator[SettingProblem]:
    """Secrets that can be guessed, and those that stand where others can read them."""
    secret_names = {row.name for row, _ in iter_settings() if row.is_secret}
    for name, raw in given.items():
        if name not in secret_names:
            continue
        if raw.location == "flag":
            yield raw.problem(
                f"stands in the command line, which everybody on this machine can read: use the environment or {name}_FILE"
            )
        elif is_readable_by_others(raw.file):
            yield raw.problem("stands in a file that everybody on this machine can read: chmod o-r")
        lowered = raw.value.lower()
        if name in ("JWT_SECRET", "PUBSUB_REDIS_SECRET") and (
            len(set(raw.value)) < MIN_DIFFERENT_CHARACTERS or any(word in lowered for word in EXAMPLE_WORDS)
        ):
            yield raw.problem("looks as if it could be guessed: make one with openssl rand -base64 48")


def is_readable_by_others(file: Path | None) -> bool:
    """Whether every user of this machine may read the file, if there is one."""
    with suppress(OSError):
        return file is not None and bool(file.stat().st_mode & stat.S_IROTH)
    return False
