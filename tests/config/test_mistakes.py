"""Deliberate mistakes in a configuration, and the lines that an operator is told for them."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import combinations, takewhile
from pathlib import Path
from typing import Mapping

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import Config, ConfigError, LoadedConfig, load_config
from multiproto.config.load import iter_settings

SECRET = "0123456789abcdef0123456789abcdef"
HIDDEN = "hunter2"  # stands in what may be a secret, and in no line
SHARED = {"DATABASE_URL": "postgresql://h/d", "JWT_SECRET": SECRET}
TIME = "must be a time from {} to {}, such as {}"
NEARLY = (
    "is no setting, and is ignored; if {0} is meant, correct it, and if it is another program's, set {0}, too, "
    "if to nothing"
)


@frozen
class Mistake:
    lines: tuple[str, ...]  # that are told
    toml: tuple[str, ...] = ()  # lines of the file
    dotenv: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(factory=dict)
    environ: Mapping[str, str] = field(factory=dict)


def in_environment(*lines: str, **environ: str) -> Mistake:
    return Mistake(lines, environ=environ)


def in_toml(toml: str, *lines: str, **environ: str) -> Mistake:
    return Mistake(lines, tuple(toml.split("\n")), environ=environ)


MISTAKES = (
    # Names.
    in_toml("prot = 3000", "prot (m.toml:1) is no setting; the nearest is port"),
    in_toml("LOG_LEVL = 'info'", "LOG_LEVL (m.toml:1) is no setting; the nearest is LOG_LEVEL"),
    in_toml("[[rule]]\nmatch = 'a'", "rule (m.toml:1) is no setting; the nearest is rules"),
    Mistake(("METRIC_PORT (flag) is no setting; the nearest is METRICS_PORT",), flags={"METRIC_PORT": "1"}),
    # The form of a file.
    in_toml("port = ", "--config (m.toml) is no TOML: Invalid value (at line 1, column 8)"),
    in_toml("port = 1\nhost = '::'\nport = 2", "port (m.toml:3) is there twice: it is in line 1, too"),
    in_toml(
        "port = 1\nPORT = 2", "PORT (m.toml:2) gives PORT a second time, which is there already (m.toml:1)"
    ),
    in_toml(
        "[[rules]]\nmatch = 'a'\nallow = []\n[[rules]]\nmatch = 'b'\nallow = []\nmatch = 'c'",
        "match (m.toml:7) is there twice: it is in line 5, too",
    ),
    in_toml(
        "[server]\nport = 80\nhost = '::'",
        "server (m.toml:1) is a table, and settings stand in none: write port = ..., host = ... above all tables",
    ),
    in_toml(
        f"[jwt]\nsecret = '{HIDDEN}'",
        "jwt (m.toml:1) is a table, and settings stand in none: write jwt_secret = ... above all tables",
    ),
    in_toml(
        "[logging]\nsinks = 3",
        "logging (m.toml:1) is a table, and settings stand in none: only [[namespaces]] and [[rules]] are tables",
    ),
    in_toml(
        "[rules]\nmatch = 'a'\nallow = []",
        "rules (m.toml:1) is one table, [rules]: each of them is written [[rules]]",
    ),
    in_toml(
        "port = {http = 80}",
        "port (m.toml:1) is a table, and settings stand in none: only [[namespaces]] and [[rules]] are tables",
    ),
    Mistake(
        ("line (.env:1) must be NAME=value", "line (.env:3) must be NAME=value"),
        dotenv=("PORT 1", "HOST=::1", "= 2"),
    ),
    Mistake(
        (
            "line (.env:2) must be NAME=value",
            "line (.env:3) must be NAME=value",
            "LOG_LEVEL (.env:1) must be one of debug, info, warn, error, critical, not 'loud'",
        ),
        dotenv=("LOG_LEVEL=loud", "HOST ::", "= 2"),
    ),
    Mistake(
        ("PORT (.env:2) gives PORT a second time, which is there already (.env:1)",),
        dotenv=("PORT=1", "PORT=2"),
    ),
    in_environment(
        "JWT_SECRET_FILE (environment) names /nope, which can't be read: No such file or directory",
        JWT_SECRET_FILE="/nope",
    ),
    in_environment(
        "DATABASE_URL_FILE (environment) names /, which can't be read: Is a directory",
        DATABASE_URL_FILE="/",
        JWT_SECRET=SECRET,
    ),
    in_toml(
        "redis_url_file = '/nope'",
        "redis_url_file (m.toml:1) names /nope, which can't be read: No such file or directory",
    ),
    # Values.
    in_environment("PORT (environment) must be a whole number from 1 to 65535, not '70000'", PORT="70000"),
    in_toml("port = 3000.5", "port (m.toml:1) must be a whole number from 1 to 65535, not '3000.5'"),
    in_environment(
        "REDIS_PORT (environment) must be a whole number from 1 to 65535, not 'tcp://10.0.0.3:6379': Kubernetes sets "
        "it so for a service of that name, unless enableServiceLinks is false",
        REDIS_PORT="tcp://10.0.0.3:6379",
        REDIS_HOST="redis",
        JWT_SECRET=SECRET,
    ),
    in_environment("METRICS_ENABLED (environment) must be true or false, not 'ja'", METRICS_ENABLED="ja"),
    in_environment(
        "LOG_LEVEL (environment) must be one of debug, info, warn, error, critical, not 'loud'",
        LOG_LEVEL="loud",
    ),
    in_toml(
        "jwt_expires_in = 900",
        f"jwt_expires_in (m.toml:1) {TIME.format('1s', '30d', '30s, 15m, 12h or 7d')}, not '900 ms'",
    ),
    in_environment(
        f"AUTH_TIMEOUT (environment) {TIME.format('1s', '1h', '30s or 15m')}, not 'soon'", AUTH_TIMEOUT="soon"
    ),
    in_environment(
        "PUBLISH_RATE (environment) must be a rate such as 500/s, 30000/m or 500/s burst 1000, or none, not '500'",
        PUBLISH_RATE="500",
    ),
    in_environment(
        "HOST (environment) must be an address or a name such as 127.0.0.1, :: or db.example.org, without a port, not "
        "'0.0.0.0:80'",
        HOST="0.0.0.0:80",
    ),
    in_environment(
        "DB_HOST (environment) must be an address or a name such as 127.0.0.1, :: or db.example.org, without a port, "
        "not 'postgresql://...@h/d'",
        DB_HOST=f"postgresql://u:{HIDDEN}@h/d",
    ),
    *(
        in_environment(
            "DB_HOST (environment) must be an address or a name such as 127.0.0.1, :: or db.example.org, without a port, "
            f"not '{shown}'",
            DB_HOST=address,
        )
        for shown, address in (
            ("postgresql://...@h/d", f"postgresql://u:a,{HIDDEN}/b@c@h/d"),
            ("...@h", f"u:{HIDDEN}@h"),
            ("host=h password=...", f"host=h password={HIDDEN}"),
        )
    ),
    in_environment(
        "JWT_SECRET_FILE (environment) names a relative path (not shown: it may be the secret itself), which can't be "
        "read: No such file or directory",
        JWT_SECRET_FILE=HIDDEN,
    ),
    in_environment(
        "CORS_ORIGINS (environment) holds 'https://...@h/d', which is no origin such as https://app.example.org or "
        "capacitor://localhost",
        CORS_ORIGINS=f"https://u:{HIDDEN}@h/d",
    ),
    # Each entry of a list.
    in_environment(
        *(
            f"CORS_ORIGINS (environment) holds '{bad}', which is no origin such as https://app.example.org or "
            "capacitor://localhost"
            for bad in ("app.example.org", "https://b/c")
        ),
        CORS_ORIGINS="https://a, app.example.org, https://b/c",
    ),
    in_environment(
        *(
            f"PROXY_PROTOCOL (environment) holds '{bad}', which is none of the ports http, tcp and metrics, or true or "
            "false alone"
            for bad in ("true", "websocket")
        ),
        PROXY_PROTOCOL="http, websocket, true",
        TRUSTED_PROXIES="::1",
    ),
    in_environment(
        *(
            f"TRUSTED_PROXIES (environment) holds '{bad}', which is no network such as 10.0.0.0/8 or ::1"
            for bad in ("10.0.0.1/8", "proxy")
        ),
        TRUSTED_PROXIES="10.0.0.1/8, ::1, proxy",
    ),
    in_environment(
        *(
            f"OPERATORS (environment) holds '{bad}', which is neither a user's id nor an email address"
            for bad in ("ann", "@example.org")
        ),
        OPERATORS="ann, bob@example.org, @example.org",
    ),
    in_environment(
        "GRAPHQL_PATH (environment) must be a path such as /graphql, not 'graphql'", GRAPHQL_PATH="graphql"
    ),
    in_environment(
        "GRAPHQL_PATH (environment) is /ws, a path that something else is served on", GRAPHQL_PATH="/ws"
    ),
    in_environment(
        "DATABASE_URL (environment) must be an address such as postgresql://user:password@host:5432/name",
        DATABASE_URL=f"mysql://u:{HIDDEN}@h/d",
    ),
    in_environment(
        "REDIS_URL (environment) must be an address such as redis://user:password@host:6379/0",
        REDIS_URL=f"http://:{HIDDEN}@h",
    ),
    in_environment("JWT_SECRET (environment) must have at least 32 characters", JWT_SECRET=HIDDEN),
    Mistake(
        (
            "trusted_proxies (m.toml:1) holds '10.0.0.1/8', which is no network such as 10.0.0.0/8 or ::1",
            "trusted_proxies (m.toml:1) holds 'lb', which is no network such as 10.0.0.0/8 or ::1",
        ),
        toml=("trusted_proxies = ['10.0.0.1/8', '::1', 'lb']",),
    ),
    Mistake(
        (
            "OPERATORS (flag) holds 'root', which is neither a user's id nor an email address",
            "OPERATORS (flag) holds '7', which is neither a user's id nor an email address",
        ),
        flags={"OPERATORS": "root,ann@example.org,7"},
    ),
    # Rules and namespaces.
    in_environment(
        "RULES (environment) must be [[rules]] tables, or a JSON array of objects; as JSON: Expecting value at "
        "character 1",
        RULES="devices.**",
    ),
    in_environment("RULES (environment) must be [[rules]] tables, or a JSON array of objects", RULES="{}"),
    in_environment(
        "RULES entry 1 (environment) must be an object, not 1",
        "RULES entry 3 (environment) must be an object, not 'x'",
        RULES='[1, {"match": "a", "allow": []}, "x"]',
    ),
    in_environment(
        "NAMESPACES entry 1, match (environment) is given twice",
        NAMESPACES='[{"match": "a", "match": "a"}]',
    ),
    in_toml(
        "[[rules]]\nmatch = 'a'\nallow = ['read', 'publish', 'write']\n\n[[namespaces]]\nmatch = 'b'\nmost = 0\n"
        "[[rules]]\nmatch = 'us*rs'\nallow = 'publish'\n[[namespaces]]\nretention = 'soon'\n",
        "namespaces entry 1, most (m.toml:7) must be a whole number from 1, not 0",
        "namespaces entry 2 (m.toml:11) has no match: a topic pattern such as telemetry.**",
        f"namespaces entry 2, retention (m.toml:12) {TIME.format('1s', '36500d', '30s, 15m, 12h or 7d')}, not 'soon'",
        "rules entry 1, allow (m.toml:3) holds 'read', which is none of publish, subscribe, history",
        "rules entry 1, allow (m.toml:3) holds 'write', which is none of publish, subscribe, history",
        "rules entry 2, match (m.toml:9) must be a topic pattern such as devices.{user}.**, of at most 16 words and "
        "255 bytes, not 'us*rs'",
        "rules entry 2, allow (m.toml:10) must be a list of some of publish, subscribe, history, not 'publish'",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a'\nallow = []\nport = 80",
        "rules entry 1, port (m.toml:4) is none of its fields, match, allow, users, devices: a setting stands above all tables",
    ),
    in_toml(
        "[[namespaces]]\nmatch = 'a'\nretenton = '1h'",
        "namespaces entry 1, retenton (m.toml:3) is none of its fields, match, retention, most; the nearest is retention",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a'",
        "rules entry 1 (m.toml:1) has no allow: a list of some of publish, subscribe, history, or [] to close the "
        "topics",
    ),
    in_toml(
        "[[namespaces]]\nmatch = 'sensors.+.temperature'",
        "namespaces entry 1, match (m.toml:2) must not be 'sensors.+.temperature': words are separated by dots, and + "
        "is no wildcard but * (* is one word, ** any number)",
    ),
    in_toml(
        "[[rules]]\nmatch = 'sensors/#'\nallow = []",
        "rules entry 1, match (m.toml:2) must not be 'sensors/#': words are separated by dots, and # is no wildcard "
        "but ** (* is one word, ** any number)",
    ),
    in_toml(
        "[[namespaces]]\nmatch = 'inbox.{user}.**'",
        "namespaces entry 1, match (m.toml:2) must not have {user}: variables mean something in rules only; here it is "
        "*",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a.x{user}'\nallow = []",
        "rules entry 1, match (m.toml:2) must not be a.x{user}: it has x{user}, which is none of {user}, {device}",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a.**.{user}'\nallow = []",
        "rules entry 1, match (m.toml:2) must not be a.**.{user}: it has {user} behind **, where it could be any word",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a.*'\nallow = ['history']\n[[rules]]\nmatch = 'b.*'\nallow = ['subscribe']",
        "rules entry 1, allow (m.toml:3) has history, which means nothing without subscribe: no rule has that on topics "
        "of a.*",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a'\nallow = []\n[[rules]]\nmatch = 'a'\nallow = []",
        "rules entry 2, match (m.toml:5) is 'a' again, as in entry 1: name each pattern once",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a'\nallow = []\nusers = ['ann', 7]\ndevices = ['a.b']",
        "rules entry 1, users (m.toml:4) holds 'ann'; it must be a list of 1 to 1000 ids of users, in lower case",
        "rules entry 1, users (m.toml:4) holds 7; it must be a list of 1 to 1000 ids of users, in lower case",
        "rules entry 1, devices (m.toml:5) holds 'a.b'; it must be a list of 1 to 1000 names of credentials",
    ),
    in_toml(
        "[[rules]]\nmatch = 'a'\nallow = []\nusers = []\ndevices = 'pump'",
        "rules entry 1, users (m.toml:4) must be a list of 1 to 1000 ids of users, in lower case, not 0",
        "rules entry 1, devices (m.toml:5) must be a list of 1 to 1000 names of credentials, not 'pump'",
    ),
    in_toml(
        "[[Rules]]\nMatch = 'a'\nALLOW = []",
        "Rules entry 1, Match (m.toml:2) is none of its fields, match, allow, users, devices; the nearest is match",
        "Rules entry 1, ALLOW (m.toml:3) is none of its fields, match, allow, users, devices; the nearest is allow",
        "Rules entry 1 (m.toml:1) has no match: a topic pattern such as devices.{user}.**",
        "Rules entry 1 (m.toml:1) has no allow: a list of some of publish, subscribe, history, or [] to close the "
        "topics",
    ),
    in_toml("[[Rule]]\nmatch = 'a'", "Rule (m.toml:1) is no setting; the nearest is rules"),
    in_toml(
        "[[rules]]\nmatch = 'a.*'\nallow = ['history']\n[[rules]]\nmatch = 'a.*.b'\nallow = ['Subscribe']\n"
        "[[namespaces]]\nmatch = 'a.**'\n[[namespaces]]\nmatch = 'a.b'\nmost = 0",
        "namespaces entry 2, most (m.toml:11) must be a whole number from 1, not 0",
        "namespaces entry 2, match (m.toml:10) must not be a.b behind a.**, where no topic is left to it: put the "
        "narrower one first (users.** and messages.** come before all others, and are kept as a whole)",
        "rules entry 1, allow (m.toml:3) has history, which means nothing without subscribe: no rule has that on topics "
        "of a.*",
        "rules entry 2, allow (m.toml:6) holds 'Subscribe', which is none of publish, subscribe, history",
    ),
    in_environment(
        "RULES entry 1 (environment) must be an object, not 1",
        "RULES entry 2, allow (environment) holds 'x', which is none of publish, subscribe, history",
        RULES='[1, {"match": "a", "allow": ["x"]}]',
    ),
    in_toml(
        "[[namespaces]]\nmatch = '_own'",
        "namespaces entry 1, match (m.toml:2) must not be '_own': topics that begin with _ are the server's own",
    ),
    in_toml(
        "[[namespaces]]\nmatch = 'a.**'\n[[namespaces]]\nmatch = 'a.b'\n[[namespaces]]\nmatch = 'a.c'",
        *(
            f"namespaces entry {entry}, match (m.toml:{line}) must not be {match} behind a.**, where no topic is left to "
            "it: put the narrower one first (users.** and messages.** come before all others, and are kept as a whole)"
            for entry, line, match in ((2, 4, "a.b"), (3, 6, "a.c"))
        ),
    ),
    # Settings that contradict each other.
    Mistake(
        ("TCP_PORT (flag) must not be that of PORT, too, 3000: one port has one listener",),
        flags={"TCP_PORT": "3000"},
    ),
    in_environment(
        "METRICS_PORT (environment) must not be that of TCP_PORT, too, 3001: one port has one listener",
        METRICS_PORT="2999",
        WORKERS="4",
        PORT="4000",
        REDIS_URL="redis://h",
        **SHARED,
    ),
    # Of two, the one that somebody has set is named.
    in_environment(
        "PORT (environment) must not be that of TCP_PORT, too, 3001: one port has one listener", PORT="3001"
    ),
    in_toml(
        "port = 9090",
        "port (m.toml:1) must not be that of METRICS_PORT, too, 9090: one port has one listener",
    ),
    in_environment(
        "DB_POOL_MAX (environment) must not be below DB_POOL_MIN, which is 2, and is 1", DB_POOL_MAX="1"
    ),
    in_environment(
        "DB_POOL_MAX (environment) must be at least 2: one connection writes, the others read",
        DB_POOL_MAX="1",
        **SHARED,
    ),
    in_environment(
        "DB_POOL_MAX (environment) must be at least 2: one connection writes, the others read",
        DB_POOL_MAX="1",
        DB_POOL_MIN="0",
        **SHARED,
    ),
    in_environment(
        "DB_POOL_MIN (environment) must not be above DB_POOL_MAX, which is 1, and is 5",
        "DB_POOL_MAX (environment) must be at least 2: one connection writes, the others read",
        DB_POOL_MAX="1",
        DB_POOL_MIN="5",
        **SHARED,
    ),
    in_environment(
        "DB_POOL_MIN (environment) must not be above DB_POOL_MAX, which is 20, and is 21", DB_POOL_MIN="21"
    ),
    # A bare number is milliseconds, also where seconds were meant.
    *(
        in_environment(
            f"SHUTDOWN_TIMEOUT (environment) must be a time from 1s to 1h, such as 30s or 15m, or 0, not {shown}",
            SHUTDOWN_TIMEOUT=value,
        )
        for value, shown in (("30", "'30 ms'"), ("500ms", "'500ms'"))
    ),
    in_environment(
        "HOST (environment) must be an address or a name such as 127.0.0.1, :: or db.example.org, without a port, "
        "not '999.1.1.1'",
        HOST="999.1.1.1",
    ),
    in_environment(
        "TCP_MAX_FRAME_SIZE (environment) must be a whole number from 1024 to 4294967295, not '4294967296'",
        TCP_MAX_FRAME_SIZE="4294967296",
    ),
    in_environment(
        "WEBSOCKET_PING_TIMEOUT (environment) must be above half of WEBSOCKET_PING_INTERVAL, or clients that are alive "
        "are dropped between two pings",
        WEBSOCKET_PING_TIMEOUT="15s",
    ),
    in_environment(
        "JWT_EXPIRES_IN (environment) must not be above JWT_REFRESH_EXPIRES_IN: that is to outlive the access token",
        JWT_EXPIRES_IN="8d",
    ),
    in_environment("TLS_CERT_FILE (environment) says nothing without TLS_KEY_FILE", TLS_CERT_FILE="a.pem"),
    in_environment("DB_NAME (environment) says nothing without DB_HOST", DB_NAME="app"),
    in_environment(
        "REDIS_CA_FILE (environment) says nothing without TLS: a REDIS_URL that begins with rediss://",
        REDIS_CA_FILE="ca.pem",
        REDIS_URL="redis://h",
        JWT_SECRET=SECRET,
    ),
    in_environment(
        "TCP_PING_INTERVAL (environment) must be below two times TCP_PING_TIMEOUT, or clients that are alive are dropped "
        "between two pings",
        TCP_PING_INTERVAL="2m",
    ),
    in_environment(
        "JWT_REFRESH_EXPIRES_IN (environment) must not be below JWT_EXPIRES_IN: it is to outlive the access token",
        JWT_REFRESH_EXPIRES_IN="10m",
    ),
    in_environment(
        "PROXY_PROTOCOL (environment) needs to know who may use it: set TRUSTED_PROXIES",
        PROXY_PROTOCOL="true",
    ),
    in_environment(
        "JWT_SECRET (default) must be set where instances share PostgreSQL or Redis",
        DATABASE_URL=f"postgresql://u:{HIDDEN}@h/d",
    ),
    in_environment(
        "WORKERS (environment) needs a database that 2 processes can share: set DATABASE_URL",
        "WORKERS (environment) needs a Redis that 2 processes can share: set REDIS_URL",
        WORKERS="2",
    ),
    in_environment(
        "WORKERS (environment) needs a Redis that 2 processes can share: set PUBSUB_ADAPTER=redis",
        WORKERS="2",
        PUBSUB_ADAPTER="memory",
        **SHARED,
    ),
    in_environment(
        "BCRYPT_ROUNDS (environment) must be at least 10 in production", APP_ENV="staging", BCRYPT_ROUNDS="9"
    ),
)

# What is ignored, with a warning: the environment belongs to other programs, too.
IGNORED = (
    in_environment(f"JWT_SECERT (environment) {NEARLY.format('JWT_SECRET')}", JWT_SECERT=HIDDEN),
    in_environment(f"REDIS_ULR (environment) {NEARLY.format('REDIS_URL')}", REDIS_ULR=HIDDEN),
    in_environment(f"DATABASE_URI (environment) {NEARLY.format('DATABASE_URL')}", DATABASE_URI=HIDDEN),
    in_environment(f"CORS_ORIGIN (environment) {NEARLY.format('CORS_ORIGINS')}", CORS_ORIGIN="*"),
    in_environment(f"PROT (environment) {NEARLY.format('PORT')}", PROT="80"),
    in_environment(f"JWT_SECRET_FIEL (environment) {NEARLY.format('JWT_SECRET_FILE')}", JWT_SECRET_FIEL="/a"),
    in_environment(f"NODE_EVN (environment) {NEARLY.format('NODE_ENV')}", NODE_EVN="production"),
    in_environment(
        f"GRAPHQL_PLAYGROND_ENABLE (environment) {NEARLY.format('GRAPHQL_PLAYGROUND_ENABLED')}",
        GRAPHQL_PLAYGROND_ENABLE="false",
    ),
    Mistake((f"DATADIR (.env:2) {NEARLY.format('DATA_DIR')}",), dotenv=("HOME=/root", "DATADIR=/srv")),
    in_environment(f"API_ENV (environment) {NEARLY.format('APP_ENV')}", API_ENV="test"),
    in_environment(f"REDIS_HOSTS (environment) {NEARLY.format('REDIS_HOST')}", REDIS_HOSTS="a:1,b:2"),
    in_environment(f"DBHOST (environment) {NEARLY.format('DB_HOST')}", DBHOST="db"),
)


class MistakesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def load(self, given: Mistake) -> LoadedConfig:
        file = self.folder / "m.toml"
        file.write_text("\n".join(given.toml) + "\n")
        (self.folder / ".env").write_text("\n".join(given.dotenv) + "\n")
        return load_config(given.flags, given.environ, file, self.folder)

    def test_each_that_is_ignored_is_warned_of(self) -> None:
        """Once, and with all settings as they are without it."""
        for given in IGNORED:
            loaded = self.load(given)
            self.assertEqual([str(warning) for warning in loaded.warnings], list(given.lines))
            self.assertNotIn(HIDDEN, str(loaded.warnings))
            self.assertEqual(loaded.config, Config())

    def test_what_is_missing_may_be_what_is_ignored(self) -> None:
        """The line that stops the start comes with the warning."""
        lines = (
            "JWT_SECRET (default) must be set where instances share PostgreSQL or Redis",
            f"JWT_SECERT (environment) {NEARLY.format('JWT_SECRET')}",
        )
        environ = {"DATABASE_URL": "postgresql://h/d", "JWT_SECERT": HIDDEN}
        bad = self.assertRaises(ConfigError, self.load, Mistake((), environ=environ))
        self.assertEqual(tuple(str(bad).splitlines()), lines)

    def test_each_stops_with_its_lines(self) -> None:
        for given in MISTAKES:
            bad = self.assertRaises(ConfigError, self.load, given)
            lines = str(bad).replace(f"{self.folder}/", "").splitlines()
            self.assertEqual(lines, list(given.lines))
            self.assertNotIn(HIDDEN, str(bad))

    def test_a_history_that_another_rule_may_go_with_is_not_told(self) -> None:
        """Once that rule is right: it says subscribe, or nobody knows what it says, on topics of the same pattern."""
        history = {"match": "a.*", "allow": ["history"]}
        for other, is_told in (
            ({"match": "us*rs", "allow": ["subscribe"]}, False),
            ({"match": "a.b", "allow": ["subscribe", "x"]}, False),
            ({"match": "a.b", "allow": ["read"]}, False),
            ({"match": "a.b"}, False),
            ({"allow": "subscribe"}, False),
            ({"match": "us*rs", "allow": ["publish"]}, True),
            ({"match": "b.*", "allow": ["read"]}, True),
            ({"match": "a.b", "allow": "publish"}, True),
        ):
            given = {"RULES": json.dumps([history, other])}
            bad = self.assertRaises(ConfigError, self.load, Mistake((), environ=given))
            told = ["has history" in str(problem) for problem in bad.problems]
            self.assertEqual((any(told), all(told)), (is_told, False), other)

    def test_there_are_enough_of_each_source(self) -> None:
        self.assertGreater(len(MISTAKES), 60)
        for source in ("toml", "dotenv", "flags", "environ"):
            self.assertGreater(sum(bool(getattr(each, source)) for each in (*MISTAKES, *IGNORED)), 2, source)

    def test_all_sources_at_once(self) -> None:
        """What one of them has wrong hides nothing of the others."""
        given = Mistake((), ("prot = 1",), ("PORT=x",), {"TCP_PORT": "y"}, {"METRICS_PORT": "z"})
        bad = self.assertRaises(ConfigError, self.load, given)
        self.assertEqual(
            [problem.name for problem in bad.problems], ["prot", "PORT", "METRICS_PORT", "TCP_PORT"]
        )


# A line about several settings, which need not be told where one of them is set or unreadable in another mistake.
CONFLICT = re.compile(
    r"must not be (that of|above|below)|must (be|have) (set|below|above|at least)|needs|says nothing without"
)
# Beside those that it names.
ALSO_CONCERNED = {
    "DB_NAME": {"DATABASE_URL"},
    "DB_POOL_MAX": {"DATABASE_URL"},
    "JWT_SECRET": {"JWT_SECRET_FILE"},
    "WORKERS": {"DATABASE_URL_FILE", "REDIS_URL_FILE", "REDIS_HOST"},
    "REDIS_CA_FILE": {"REDIS_URL_FILE"},
}
NAMES = {row.name for row, _ in iter_settings()}
UNREADABLE = re.compile(r"is no TOML|is there twice|must be NAME=value")


def settings_of(given: Mistake) -> set[str]:
    """Those that it sets, in upper case."""
    lines = [line.partition("=")[0].strip() for line in (*given.toml, *given.dotenv)]
    return {name.upper() for name in (*lines, *given.environ, *given.flags)}


def together(one: Mistake, other: Mistake) -> Mistake | None:
    """Both in one configuration; `None` where they can't be."""
    if any(one.environ.get(name, value) != value for name, value in other.environ.items()):
        return None
    if one.flags.keys() & other.flags.keys():
        return None
    parts = [list(takewhile(lambda line: not line.startswith("["), each.toml)) for each in (one, other)]
    tables = [each.toml[len(part) :] for each, part in zip((one, other), parts)]
    toml = (*parts[0], *parts[1], *tables[0], *tables[1])
    if one.toml and other.toml:
        try:
            names = list(tomllib.loads("\n".join(toml)))
        except tomllib.TOMLDecodeError:
            return None  # it hides all else in its file
        if len({name.upper() for name in names}) < len(names):
            return None  # one of the two counts, and a line says so
    lines = tuple(map(without_places, (*one.lines, *other.lines)))
    return Mistake(
        lines, toml, one.dotenv + other.dotenv, {**one.flags, **other.flags}, {**one.environ, **other.environ}
    )


def without_places(line: str) -> str:
    """A line without numbers of lines and entries, which depend on what is around them."""
    return re.sub(r"(?<=\.toml:)\d+|(?<=\.env:)\d+|(?<=entry )\d+|(?<=in line )\d+", "N", line)


def is_told_later(line: str, one: Mistake, other: Mistake) -> bool:
    """Whether `line`, of the mistake `one`, need not be told beside `other`."""
    if ".env:" in line and "APP_ENV" in settings_of(other):
        return True  # it is read in development only
    if CONFLICT.search(line) is None:
        return False
    name = line.split()[0].upper()
    concerned = {name, *re.findall("[A-Z][A-Z_]+", line)} & NAMES | ALSO_CONCERNED.get(name, set())
    if concerned & settings_of(other):
        return True
    return any(map(UNREADABLE.search, other.lines)) and not concerned <= {*one.environ, *one.flags}


class PairsTests(SynchronousTestCase):
    def test_any_two_mistakes_are_told_in_one_round(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        file, tried = folder / "m.toml", 0
        for one, other in combinations(MISTAKES, 2):
            given = together(one, other)
            if given is None:
                continue
            tried += 1
            file.write_text("\n".join(given.toml) + "\n")
            (folder / ".env").write_text("\n".join(given.dotenv) + "\n")
            told: set[str] = set()
            try:
                load_config(given.flags, given.environ, file, folder)
            except ConfigError as bad:  # but two that are no mistake together
                told = set(map(without_places, str(bad).replace(f"{folder}/", "").splitlines()))
            for mine, its in ((one, other), (other, one)):
                for line in set(map(without_places, mine.lines)) - told:
                    self.assertTrue(is_told_later(line, mine, its), f"{line}\nbeside\n{its.lines}")
        self.assertGreater(tried, 2000)


class NotMistakenTests(SynchronousTestCase):
    """What looks like one of them and is none."""

    def load(self, *toml: str, **environ: str) -> None:
        file = Path(self.mktemp())
        file.write_text("\n".join(toml))
        self.assertEqual(load_config({}, environ, file, None).warnings, ())

    def test_names_of_other_programs(self) -> None:
        """Also those that Kubernetes gives every container for a service `multiproto`, and those near a short name."""
        for name in (
            *(
                "HOSTNAME",
                "HOSTTYPE",
                "HOSTS",
                "POST",
                "SORT",
                "PATH",
                "ROLES",
                "TOOLS",
                "HOST_IP",
                "HOME",
                "USER",
            ),
            *(
                "MULTIPROTO_PORT",
                "MULTIPROTO_SERVICE_HOST",
                "MULTIPROTO_PORT_3000_TCP",
                "MULTIPROTO_TEST_WITHOUT",
            ),
            *(
                "REDIS_CERT",
                "REDIS_SERVICE_HOST",
                "DB_TYPE",
                "DB_PATH",
                "DB_SSL",
                "UDP_PORT",
                "HTTP_PORT",
                "APP_KEY",
            ),
            *(
                "PGHOST",
                "PGPORT",
                "JAVA_HOME",
                "XDG_DATA_DIRS",
                "LC_ALL",
                "METRICS_PATH",
                "SERVER_PORT",
                "LOG_FORMAT",
            ),
        ):
            self.load(**{name: "x"})

    def test_names_that_differ_by_more_than_a_slip(self) -> None:
        for name in ("FTP_PORT", "FTP_HOST", "DB_HOST2", "DB2_HOST", "REDIS_URL_2", "DATABASE_URL_RO"):
            self.load(**{name: "x"})

    def test_ports_that_kubernetes_sets_for_services_that_are_reached_by_an_address(self) -> None:
        """Services named redis and db gave every container these; the server did not start."""
        self.load(REDIS_PORT="tcp://10.0.0.3:6379", REDIS_URL="redis://redis:6379/0", JWT_SECRET=SECRET)
        self.load(DB_PORT="tcp://10.0.0.4:5432", DATABASE_URL="postgresql://u@db/d", JWT_SECRET=SECRET)
        self.load(DB_PORT="tcp://10.0.0.4:5432", REDIS_PORT="tcp://10.0.0.3:6379")

    def test_ports_that_kubernetes_sets_for_services_named_as_ours(self) -> None:
        """The server listens where it would without them; a port that is set in the container has its place."""
        for scheme in ("tcp", "udp", "sctp"):
            link = f"{scheme}://10.0.0.5:80"
            self.load(PORT=link, TCP_PORT=link, METRICS_PORT=link, TCPS_PORT=link)
        environ = {"TCP_PORT": "tcp://10.0.0.5:80", "METRICS_PORT": "4"}
        config = load_config({}, environ, None, None).config
        self.assertEqual((config.tcp.port, config.metrics.port), (3001, 4))

    def test_a_near_name_beside_the_right_one(self) -> None:
        self.load(LOGLEVEL="x", LOG_LEVEL="info")
        self.load(LOGLEVEL="x", LOG_LEVEL="")
        self.load(LOGLEVEL="")

    def test_ports_of_different_addresses_or_of_nobody(self) -> None:
        self.load(PORT="1", TCP_PORT="1", HOST="10.0.0.1", TCP_HOST="10.0.0.2")
        self.load(PORT="1", TCP_PORT="1", TCP_ENABLED="false")
        self.load(PORT="1", METRICS_PORT="1", METRICS_ENABLED="false")

    def test_history_with_subscribe_of_another_rule(self) -> None:
        self.load(
            *("[[rules]]", "match = 'a.**'", "allow = ['subscribe']"),
            *("[[rules]]", "match = 'a.{user}'", "allow = ['history']"),
        )

    def test_wildcards_of_others_within_a_word(self) -> None:
        self.load("[[namespaces]]", "match = 'c++.a#b'", "[[namespaces]]", "match = '{a.b}'")

    def test_hosts(self) -> None:
        for host in ("::", "fe80::1%eth0", "localhost", "db_1", "10.0.0.1", "bücher.example"):
            self.load(HOST=host)
        for host in ("/var/run/postgresql", "db1,db2", "::1"):
            self.load(DB_HOST=host, JWT_SECRET=SECRET)
        self.load(DATABASE_URL="postgresql://h/d", JWT_SECRET_FILE=self.file(SECRET))

    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_none_at_all(self) -> None:
        self.load("rules = []", "namespaces = []")
