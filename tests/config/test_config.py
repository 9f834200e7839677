"""Settings: where they come from, what they may be, and how faults are told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import Config, ConfigError, load_config, parsers
from multiproto.config.example import render_example
from multiproto.config.load import iter_settings
from multiproto.config.signing_secret import load_or_create_secret, signing_secret
from multiproto.core.addresses import AddressRules
from multiproto.core.identity import Identity
from multiproto.core.pubsub.namespaces import Namespace
from multiproto.core.pubsub.permissions import (
    HISTORY,
    MAX_RULE_PRINCIPALS,
    MAX_RULES,
    PUBLISH,
    SUBSCRIBE,
    VERBS,
    Rule,
)
from multiproto.core.pubsub.policy import Policy
from multiproto.core.ratelimit.token_bucket import Rate

SECRET = "0123456789abcdef0123456789abcdef"

# The names that docs/configuration.md promises not to change.
CONTRACT = """
NAMESPACES RULES APP_ENV APP_NAME WORKERS PORT HOST SHUTDOWN_TIMEOUT DATABASE_URL DB_HOST DB_PORT DB_NAME DB_USER DB_PASSWORD DB_POOL_MIN
DB_POOL_MAX DATA_DIR REDIS_URL REDIS_HOST REDIS_PORT REDIS_USERNAME REDIS_PASSWORD REDIS_DB REDIS_CA_FILE CACHE_TTL JWT_SECRET JWT_PRIVATE_KEY_FILE JWT_PUBLIC_KEY_FILES JWT_EXPIRES_IN
JWT_REFRESH_EXPIRES_IN BCRYPT_ROUNDS AUTH_TIMEOUT LOG_LEVEL LOG_PRETTY LOG_FILE_SIZE LOG_FILES_KEPT METRICS_ENABLED METRICS_PORT METRICS_HOST
RATE_LIMIT_WINDOW_MS RATE_LIMIT_MAX RATE_LIMIT_USER_MAX LOGIN_RATE_MAX REFRESH_RATE CONNECT_RATE COMMAND_RATE PUBLISH_RATE CREDENTIAL_PUBLISH_RATE USER_BYTES_RATE BYTE_RATE CORS_ORIGINS COMPRESSION_ENABLED HELMET_ENABLED WEBSOCKET_ENABLED
WEBSOCKET_PING_INTERVAL WEBSOCKET_PING_TIMEOUT WEBSOCKET_MAX_CONNECTIONS_PER_IP WEBSOCKET_MAX_MESSAGE_SIZE
WEBSOCKET_ECHO_ENABLED PUBSUB_ADAPTER PUBSUB_REDIS_URL PUBSUB_REDIS_PREFIX PUBSUB_REDIS_SECRET GRAPHQL_ENABLED GRAPHQL_PATH
GRAPHQL_PLAYGROUND_ENABLED GRAPHQL_MAX_DEPTH GRAPHQL_MAX_COMPLEXITY GRAPHQL_INTROSPECTION_ENABLED TCP_ENABLED
TCP_PORT TCP_HOST TCP_MAX_CONNECTIONS_PER_IP TCP_MAX_CONNECTIONS TCP_MAX_FRAME_SIZE TCP_PING_INTERVAL
TCP_PING_TIMEOUT TCP_KEEP_ALIVE_INTERVAL OPERATORS REGISTRATION PROFILE_EMAIL AUDIT_RETENTION PRUNING_STEP TLS_CERT_FILE TLS_KEY_FILE TRUSTED_PROXIES PROXY_PROTOCOL
ADDRESS_ALLOW ADDRESS_DENY
"""


class ConfigCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def file(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    def load(self, *toml: str, flags: dict[str, str] | None = None, **environ: str) -> Config:
        file = self.file("multiproto.toml", *toml) if toml else None
        return load_config(flags or {}, environ, file, self.folder).config

    def faults(self, *toml: str, flags: dict[str, str] | None = None, **environ: str) -> list[str]:
        bad = self.assertRaises(ConfigError, self.load, *toml, flags=flags, **environ)
        return [line.replace(f"{self.folder}/", "") for line in str(bad).splitlines()]


class SourcesTests(ConfigCase):
    def test_nothing_given_is_development(self) -> None:
        self.assertEqual(self.load(), Config())
        self.assertFalse(Config().is_production)

    def test_each_source_outranks_the_one_before(self) -> None:
        """Defaults, file, `.env`, environment, flags."""
        self.assertEqual(self.load().http.port, 3000)
        self.assertEqual(self.load("port = 1").http.port, 1)
        self.file(".env", "PORT=2")
        self.assertEqual(self.load("port = 1").http.port, 2)
        self.assertEqual(self.load("port = 1", PORT="3").http.port, 3)
        self.assertEqual(self.load("port = 1", PORT="3", flags={"PORT": "4"}).http.port, 4)

    def test_dotenv_is_for_development(self) -> None:
        self.file(".env", "PORT=2")
        for environment in ("production", "test"):
            self.assertEqual(self.load(APP_ENV=environment).http.port, 3000)

    def test_lines_of_dotenv(self) -> None:
        self.file(
            ".env",
            "# a comment",
            "",
            "APP_NAME = my server  # what it is called",
            "export PORT='4000'",
            'PUBSUB_REDIS_PREFIX="a # b" # quoted',
            "DATA_DIR=/srv/a#b",
            "HOST=",
            "HOME=/not/ours",
        )
        config = self.load()
        self.assertEqual(
            (
                config.app_name,
                config.http.port,
                config.redis.prefix,
                config.storage.directory,
                config.http.host,
            ),
            ("my server", 4000, "a # b", "/srv/a#b", "127.0.0.1"),
        )

    def test_values_of_toml(self) -> None:
        """Numbers, truth, lists and text, each as one would write it there."""
        config = self.load(
            "port = 4000",
            "metrics_enabled = false",
            'cors_origins = ["https://A.example", "http://b.example:8080"]',
            'jwt_expires_in = "1h"',
        )
        self.assertEqual((config.http.port, config.metrics.enabled), (4000, False))
        self.assertEqual(config.http.origins, ("https://a.example", "http://b.example:8080"))
        self.assertEqual(config.auth.access_token_lifetime, 3600.0)

    def test_rates(self) -> None:
        """Without a burst it is what a second gives, and at least one."""
        for text, rate in [
            ("500/s", Rate(500, 500)),
            ("30000/m", Rate(500, 500)),
            ("6/m", Rate(0.1, 1)),
            (" 500/S  burst 1000 ", Rate(500, 1000)),
            ("0", None),
            ("none", None),
        ]:
            self.assertEqual(self.load(PUBLISH_RATE=text).rate_limits.publish_rate, rate, text)
        self.assertEqual(self.load('byte_rate = "1000000/s"').rate_limits.byte_rate, Rate(1e6, 1e6))
        self.file(".env", "COMMAND_RATE=10/s burst 20")
        self.assertEqual(self.load().rate_limits.command_rate, Rate(10, 20))
        for text in ("500", "500/h", "0/s", "-1/s", "1.5/s", "500/s burst", "500/s burst 0", "many"):
            with self.assertRaises(ConfigError, msg=text):
                self.load(CONNECT_RATE=text)

    def test_limits_of_requests_in_development_and_production(self) -> None:
        for environment, limits in (("development", (10_000, 30_000, 1000)), ("production", (100, 3000, 20))):
            rates = self.load(APP_ENV=environment).rate_limits
            found = (rates.max_requests, rates.max_user_requests, rates.max_login_failures)
            self.assertEqual(found, limits, environment)

    def test_the_rate_of_a_credential(self) -> None:
        """Unset it follows that of its user, so that lifting the one lifts the other."""
        for settings, rate in (
            ({}, Rate(400, 800)),
            ({"PUBLISH_RATE": "none"}, None),
            ({"PUBLISH_RATE": "5000/s"}, Rate(5000, 5000)),
            ({"PUBLISH_RATE": "none", "CREDENTIAL_PUBLISH_RATE": "7/s"}, Rate(7, 7)),
        ):
            self.assertEqual(self.load(**settings).rate_limits.credential_publish_rate, rate, settings)

    def test_set_to_nothing_is_unset(self) -> None:
        self.assertEqual(self.load("port = 1", PORT="").http.port, 1)
        self.assertEqual(self.load("cors_origins = []").http.origins, ())

    def test_node_env_where_app_env_is_unset(self) -> None:
        self.assertTrue(self.load(NODE_ENV="production").is_production)
        self.assertFalse(self.load(NODE_ENV="production", APP_ENV="development").is_production)
        self.assertFalse(self.load('app_env = "test"', NODE_ENV="staging").is_production)

    def test_staging_is_as_production(self) -> None:
        for word in ("staging", "Staging", "PRODUCTION"):
            there = self.load(NODE_ENV=word)
            self.assertTrue(there.is_production, word)
            self.assertEqual(there.http, self.load(APP_ENV="production").http)

    def test_words_of_other_servers(self) -> None:
        for word, level in (
            ("trace", "debug"),
            ("fatal", "critical"),
            ("WARN", "warn"),
            ("warning", "warn"),
        ):
            self.assertEqual(self.load(LOG_LEVEL=word).logs.level, level)
        self.assertEqual(self.load(JWT_REFRESH_EXPIRES_IN="1w").auth.refresh_token_lifetime, 7 * 86400.0)
        for text, seconds in (("0", 1.0), ("0s", 1.0), ("1001", 1.001), ("1h", 3600.0)):
            self.assertEqual(self.load(SHUTDOWN_TIMEOUT=text).shutdown_timeout, seconds)

    def test_secrets_from_files(self) -> None:
        path = self.file("jwt", SECRET)
        self.assertEqual(self.load(JWT_SECRET_FILE=str(path)).auth.jwt_secret, SECRET)
        self.assertEqual(self.load(f'jwt_secret_file = "{path}"').auth.jwt_secret, SECRET)
        self.assertEqual(
            self.load(f'jwt_secret_file = "{path}"', JWT_SECRET=SECRET * 2).auth.jwt_secret, SECRET * 2
        )

    def test_the_same_for_another_process(self) -> None:
        """All that was given, whatever becomes of where it stood."""
        secret = self.file("jwt", SECRET)
        file = self.file("multiproto.toml", "cors_origins = []", f'jwt_secret_file = "{secret}"', "port = 1")
        self.file(".env", "APP_NAME=here", "TCP_PORT=2")
        loaded = load_config({"PORT": "3"}, {"NODE_ENV": "development", "HOME": "/root"}, file, self.folder)
        for path in (secret, file, self.folder / ".env"):
            path.write_text("PORT=4\nHOST=elsewhere\n")
        self.assertEqual(load_config(loaded.setting_texts, {}, folder=None).config, loaded.config)
        self.assertEqual((loaded.config.http.port, loaded.config.app_name), (3, "here"))
        self.assertNotIn(SECRET, repr(loaded))

    def test_one_default_follows_another(self) -> None:
        self.assertEqual(self.load(HOST="10.0.0.1").tcp.host, "10.0.0.1")
        self.assertEqual(self.load(HOST="10.0.0.1", TCP_HOST="10.0.0.2").tcp.host, "10.0.0.2")
        self.assertEqual(self.load(HOST="10.0.0.1").metrics.host, "127.0.0.1")

    def test_an_address_that_is_given_twice(self) -> None:
        """As a URL, which wins, and in parts: it is said where they differ, without what they are."""
        urls = {"DATABASE_URL": "postgresql://ann:p%40ss@Db/app", "REDIS_URL": "redis://:p%40ss@cache/2"}
        same = {"DB_HOST": "db", "DB_PORT": "5432", "DB_NAME": "app", "DB_USER": "ann", "DB_PASSWORD": "p@ss"}
        same |= {"REDIS_HOST": "CACHE", "REDIS_PORT": "6379", "REDIS_PASSWORD": "p@ss", "REDIS_DB": "2"}
        given = {**urls, **same, "JWT_SECRET": SECRET}
        self.assertEqual(self.warnings(**given), [])
        for name in (*same, "REDIS_USERNAME"):
            url = "REDIS_URL" if name in ("REDIS_USERNAME", *list(same)[5:]) else "DATABASE_URL"
            self.assertEqual(
                self.warnings(**{**given, name: "other" if name.endswith("_HOST") else "7777"}),
                [
                    f"{name} (environment) is ignored: {url} (environment) says otherwise, and wins; take away one of the two"
                ],
            )

    def test_a_rate_that_another_hides(self) -> None:
        why = "has no effect: PUBLISH_RATE, of all credentials of a user together, is below it"
        for rate, said in (
            ("501/s burst 1000", True),
            ("500/s burst 1001", True),
            ("500/s burst 1000", False),
            ("501/s burst 999", False),
            ("none", False),
        ):
            expected = [f"CREDENTIAL_PUBLISH_RATE (environment) {why}"] if said else []
            self.assertEqual(self.warnings(CREDENTIAL_PUBLISH_RATE=rate), expected, rate)
        self.assertEqual(self.warnings(PUBLISH_RATE="100/s"), [])

    def warnings(self, **environ: str) -> list[str]:
        return list(map(str, load_config({}, environ, None, self.folder).warnings))

    def test_what_differs_in_production(self) -> None:
        """Metrics are not on all interfaces, and the default CORS allows somebody.

        docs/predecessor-faults.md#fault-17, docs/predecessor-faults.md#fault-21
        """
        there = self.load(APP_ENV="production")
        self.assertEqual(
            (there.http.host, there.tcp.host, there.metrics.host), ("0.0.0.0", "0.0.0.0", "127.0.0.1")
        )
        self.assertEqual((there.http.origins, there.graphql.playground), ((), False))
        here = self.load()
        self.assertEqual(
            (here.http.host, here.http.origins, here.graphql.playground), ("127.0.0.1", None, True)
        )


class ProblemTests(ConfigCase):
    def test_all_at_once(self) -> None:
        """Each with its name, where it stands, and the nearest that there is."""
        self.assertEqual(
            self.faults(
                "prot = 1",
                "",
                'log_level = "loud"',
                "[tcp]",
                "port = 1",
                flags={"METRIC_PORT": "1", "PORT": "70000"},
                TCP_PORT="tcp",
                WEBSOCKET_PING_INTERVAL="999",
                HOMEBREW="not ours",
            ),
            [
                "prot (multiproto.toml:1) is no setting; the nearest is port",
                "tcp (multiproto.toml:4) is a table, and settings stand in none: write tcp_port = ... above all tables",
                "METRIC_PORT (flag) is no setting; the nearest is METRICS_PORT",
                "log_level (multiproto.toml:3) must be one of debug, info, warn, error, critical, not 'loud'",
                "WEBSOCKET_PING_INTERVAL (environment) must be a time from 1s to 366d, such as 30s, 15m, 12h or 7d, "
                "not '999 ms'",
                "TCP_PORT (environment) must be a whole number from 1 to 65535, not 'tcp'",
                "PORT (flag) must be a whole number from 1 to 65535, not '70000'",
            ],
        )

    def test_what_is_overruled_must_be_readable_too(self) -> None:
        self.assertEqual(
            self.faults('port = "x"', PORT="1"),
            ["port (multiproto.toml:1) must be a whole number from 1 to 65535, not 'x'"],
        )

    def test_files_that_can_not_be_read(self) -> None:
        self.file(".env", "PORT 1")
        self.assertEqual(
            self.faults("port = ", JWT_SECRET_FILE="/none/such"),
            [
                "--config (multiproto.toml) is no TOML: Invalid value (at line 1, column 8)",
                "JWT_SECRET_FILE (environment) names /none/such, which can't be read: No such file or directory",
                "line (.env:1) must be NAME=value",
            ],
        )
        self.file("multiproto.toml").write_bytes(b"\xff")
        bad = self.assertRaises(ConfigError, load_config, {}, {}, self.folder / "multiproto.toml")
        self.assertIn("it is not UTF-8", str(bad))

    def test_a_byte_order_mark_is_named(self) -> None:
        """Some editors put one in front: it would be part of the first name, or of a secret."""
        told = "can't be read: it begins with a byte order mark (EF BB BF): save it without one"
        self.file("secret").write_bytes(b"\xef\xbb\xbf" + SECRET.encode())
        self.assertIn(told, self.faults(JWT_SECRET_FILE=str(self.folder / "secret"))[0])
        for name in (".env", "multiproto.toml"):
            self.file(name).write_bytes(b"\xef\xbb\xbfPORT = 1000\n")
            file = self.folder / "multiproto.toml" if name != ".env" else None
            bad = self.assertRaises(ConfigError, load_config, {}, {}, file, self.folder)
            self.assertIn(told, str(bad))
            (self.folder / name).unlink()

    def test_secrets_too_short_to_keep(self) -> None:
        fault = "must have at least 32 characters"
        self.assertEqual(self.faults(JWT_SECRET=SECRET[:-1]), [f"JWT_SECRET (environment) {fault}"])
        path = self.file("jwt", "")
        self.assertEqual(
            self.faults(JWT_SECRET_FILE=str(path)), [f"JWT_SECRET (jwt, by environment) {fault}"]
        )

    def test_where_the_database_is(self) -> None:
        self.assertIsNone(self.load().storage.postgresql_dsn)
        url = "postgresql://ada:pw@db/app?sslmode=require"
        self.assertEqual(self.load(DATABASE_URL=url, JWT_SECRET=SECRET).storage.postgresql_dsn, url)
        parts = self.load(DB_HOST="db", DB_PASSWORD="p w'", DB_NAME="app", JWT_SECRET=SECRET).storage
        self.assertEqual(
            parts.postgresql_dsn, "host=db port=5432 dbname=app user=multiproto password='p w\\''"
        )
        self.assertEqual(parts.display_name, "PostgreSQL app on db")
        both = self.load(DB_HOST="other", DATABASE_URL=url, JWT_SECRET=SECRET).storage
        self.assertEqual((both.postgresql_dsn, both.display_name), (url, "PostgreSQL app on db"))

    def test_where_redis_is(self) -> None:
        self.assertIsNone(self.load().redis.broker_url)
        parts = self.load(REDIS_HOST="::1", REDIS_PASSWORD="a/b", REDIS_DB="3", JWT_SECRET=SECRET).redis
        self.assertEqual(parts.broker_url, "redis://:a%2Fb@[::1]:6379/3")
        url = "rediss://u:p@cache:6380/1"
        self.assertEqual(self.load(REDIS_URL=url, JWT_SECRET=SECRET).redis.broker_url, url)
        self.assertEqual(self.load(PUBSUB_REDIS_URL=url, JWT_SECRET=SECRET).redis.broker_url, url)
        self.assertIsNone(self.load(REDIS_URL=url, PUBSUB_ADAPTER="memory").redis.broker_url)

    def test_addresses_that_cannot_be_used(self) -> None:
        """One line each, and nothing of what may be a password."""
        postgresql = "must be an address such as postgresql://user:password@host:5432/name"
        for bad in (
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgresql://u:hunter2@[h/d",
            "postgresql://h/d?hunter2=1",
        ):
            self.assertEqual(self.faults(DATABASE_URL=bad), [f"DATABASE_URL (environment) {postgresql}"], bad)
        redis = "must be an address such as redis://user:password@host:6379/0"
        for bad in (
            "http://u:hunter2@h",
            "redis://",
            "redis://h:hunter2",
            "redis://h/hunter2",
            "redis://h/0?x=1",
        ):
            self.assertEqual(self.faults(REDIS_URL=bad), [f"REDIS_URL (environment) {redis}"], bad)

    def test_what_says_nothing_alone(self) -> None:
        self.assertEqual(
            self.faults('pubsub_adapter = "redis"', DB_NAME="app", REDIS_DB="2"),
            [
                "DB_NAME (environment) says nothing without DB_HOST",
                "REDIS_DB (environment) says nothing without REDIS_HOST",
                "pubsub_adapter (multiproto.toml:1) needs the address of a Redis: set REDIS_URL",
            ],
        )

    def test_tls_takes_two_files(self) -> None:
        for alone, missing in (("TLS_CERT_FILE", "TLS_KEY_FILE"), ("TLS_KEY_FILE", "TLS_CERT_FILE")):
            fault = f"{alone} (environment) says nothing without {missing}"
            self.assertEqual(self.faults(**{alone: "a.pem"}), [fault])
        edge = self.load(TLS_CERT_FILE="a.pem", TLS_KEY_FILE="b.pem").edge
        self.assertEqual((edge.certificate_file, edge.key_file), ("a.pem", "b.pem"))

    def test_networks(self) -> None:
        edge = self.load(
            'address_deny = ["10.1.0.0/16", "::1"]',
            TRUSTED_PROXIES="10.0.0.1, 2001:db8::/32",
            PROXY_PROTOCOL="on",
        ).edge
        self.assertEqual([str(each) for each in edge.trusted_proxies], ["10.0.0.1/32", "2001:db8::/32"])
        self.assertEqual([str(each) for each in edge.deny], ["10.1.0.0/16", "::1/128"])
        self.assertEqual(
            (edge.proxy_protocol_ports, edge.address_rules),
            (("http", "tcp"), AddressRules((), edge.deny, edge.trusted_proxies)),
        )
        for bad in ("10.0.0.1/8", "10.0.0", "example.org", "10.0.0.0/33", "10.0.0.1 10.0.0.2"):
            self.assertEqual(
                self.faults(ADDRESS_ALLOW=f"10.0.0.1, {bad}"),
                [f"ADDRESS_ALLOW (environment) holds {bad!r}, which is no network such as 10.0.0.0/8 or ::1"],
            )

    def test_the_proxy_protocol_is_for_proxies(self) -> None:
        fault = "PROXY_PROTOCOL (environment) needs to know who may use it: set TRUSTED_PROXIES"
        self.assertEqual(self.faults(PROXY_PROTOCOL="true"), [fault])
        self.load(PROXY_PROTOCOL="false")

    def test_whether_metrics_stay_inside(self) -> None:
        inside = {
            host: self.load(METRICS_HOST=host).metrics.is_loopback_only
            for host in ("127.0.0.9", "::1", "0.0.0.0", "::")
        }
        self.assertEqual(inside, {"127.0.0.9": True, "::1": True, "0.0.0.0": False, "::": False})

    def test_instances_must_share_the_secret(self) -> None:
        fault = "JWT_SECRET (default) must be set where instances share PostgreSQL or Redis"
        self.assertEqual(self.faults(DATABASE_URL="postgresql://h/d"), [fault])
        self.assertEqual(self.faults(REDIS_HOST="cache"), [fault])

    def test_or_the_key(self) -> None:
        """A private key is shared as well as a secret is; what Redis carries is signed with a secret, though."""
        key = {"JWT_PRIVATE_KEY_FILE": "/keys/signing.pem"}
        self.load(DATABASE_URL="postgresql://h/d", **key)
        [fault] = self.faults(REDIS_HOST="cache", **key)
        self.assertIn(
            "PUBSUB_REDIS_SECRET (default) must be set where instances share Redis and no JWT", fault
        )
        self.load(REDIS_HOST="cache", JWT_SECRET=SECRET, **key)
        self.assertEqual(
            self.load(REDIS_HOST="cache", PUBSUB_REDIS_SECRET=SECRET, **key).redis.pubsub_secret, SECRET
        )
        self.assertEqual(
            self.faults(PUBSUB_REDIS_SECRET=SECRET[:-1]),
            ["PUBSUB_REDIS_SECRET (environment) must have at least 32 characters"],
        )

    def test_files_of_public_keys(self) -> None:
        files = ("/keys/old.pem", "/keys/next.pem")
        self.assertEqual(self.load(JWT_PUBLIC_KEY_FILES=", ".join(files)).auth.public_key_files, files)
        self.assertEqual(
            self.load(f'jwt_public_key_files = ["{files[0]}", "{files[1]}"]').auth.public_key_files, files
        )
        self.assertEqual(self.load().auth.public_key_files, ())

    def test_workers_need_what_processes_can_share(self) -> None:
        """One fault for each; one process needs neither."""
        self.assertEqual(self.load(WORKERS="1").workers, 1)
        database = "needs a database that 2 processes can share: set DATABASE_URL"
        redis = "needs a Redis that 2 processes can share: set"
        self.assertEqual(
            self.faults(flags={"WORKERS": "2"}),
            [f"WORKERS (flag) {database}", f"WORKERS (flag) {redis} REDIS_URL"],
        )
        both = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "JWT_SECRET": SECRET}
        self.assertEqual(
            self.faults(WORKERS="2", PUBSUB_ADAPTER="memory", **both),
            [f"WORKERS (environment) {redis} PUBSUB_ADAPTER=redis"],
        )
        self.assertEqual(self.load(WORKERS="128", **both).workers, 128)
        for bad in ("0", "129", "two"):
            self.assertEqual(
                self.faults(WORKERS=bad),
                [f"WORKERS (environment) must be a whole number from 1 to 128, not {bad!r}"],
            )

    def test_workers_have_a_port_of_metrics_each(self) -> None:
        both = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "JWT_SECRET": SECRET}
        self.assertEqual(self.load(WORKERS="3", METRICS_PORT="65533", **both).metrics.port, 65533)
        self.assertEqual(
            self.faults(WORKERS="3", METRICS_PORT="65534", **both),
            ["METRICS_PORT (environment) must be at most 65533: each further worker has the next port"],
        )
        alone = self.load(WORKERS="3", METRICS_PORT="65535", METRICS_ENABLED="false", **both)
        self.assertEqual(alone.metrics.port, 65535)
        self.assertEqual(self.load(METRICS_PORT="65535").metrics.port, 65535)

    def test_one_connection_would_only_write(self) -> None:
        given = {"DATABASE_URL": "postgresql://h/d", "JWT_SECRET": SECRET, "DB_POOL_MIN": "1"}
        fault = "DB_POOL_MAX (environment) must be at least 2: one connection writes, the others read"
        self.assertEqual(self.faults(DB_POOL_MAX="1", **given), [fault])
        self.assertEqual(self.load(DB_POOL_MAX="2", **given).storage.pool_max, 2)

    def test_bounds_between_settings(self) -> None:
        self.assertEqual(
            self.faults(APP_ENV="production", BCRYPT_ROUNDS="9", DB_POOL_MIN="21"),
            [
                "DB_POOL_MIN (environment) must not be above DB_POOL_MAX, which is 20, and is 21",
                "BCRYPT_ROUNDS (environment) must be at least 10 in production",
            ],
        )
        self.assertEqual(self.load(BCRYPT_ROUNDS="4").auth.bcrypt_rounds, 4)

    def test_bad_environment(self) -> None:
        self.assertEqual(
            self.faults(NODE_ENV="prod"),
            ["NODE_ENV (environment) must be one of development, test, production, staging, not 'prod'"],
        )

    def test_no_secret_is_shown(self) -> None:
        """Not in a fault, not in a representation (docs/predecessor-faults.md#fault-14)."""
        self.assertNotIn("hunter2", "".join(self.faults(JWT_SECRET="hunter2", DATABASE_URL="hunter2")))
        config = self.load(JWT_SECRET=SECRET)
        self.assertNotIn(SECRET, repr(config))


# Of each, the last has no topic left.
IGNORED = (
    ("messages.user.**",),
    ("users.*",),
    ("a.**", "a.b"),
    ("a.**", "b", "a.*.c.**"),
    ("a", "a.*.**", "a.**"),
    ("**", "*"),
)


def kept_apart(matches: Sequence[str]) -> str:
    """Namespaces with retentions of their own, as JSON."""
    return json.dumps([{"match": match, "retention": f"{n + 1}h"} for n, match in enumerate(matches)])


class NamespacesTests(ConfigCase):
    def test_tables_of_the_file(self) -> None:
        config = self.load(
            "[[namespaces]]",
            'match = "telemetry.**"',
            'retention = "24h"',
            "[[namespaces]]",
            'match = "chat.*"',
            "most = 1000",
        )
        kept = (Namespace("telemetry.**", retention=86400.0), Namespace("chat.*", max_events=1000))
        self.assertEqual(config.namespaces, kept)

    def test_json_elsewhere(self) -> None:
        self.assertEqual(
            self.load(NAMESPACES='[{"match": "a", "retention": 60000}]').namespaces,
            (Namespace("a", retention=60.0),),
        )
        self.assertEqual(self.load(NAMESPACES="[]").namespaces, ())

    def test_what_is_none(self) -> None:
        for text in (
            "telemetry.**",
            "{}",
            "[1]",
            "[{}]",
            '[{"match": "us*rs"}]',
            '[{"match": "_own"}]',
            '[{"match": 1}]',
            '[{"match": "a", "retention": "soon"}]',
            '[{"match": "a", "retention": "10ms"}]',
            '[{"match": "a", "most": 0}]',
            '[{"match": "a", "most": true}]',
            '[{"match": "a", "most": "many"}]',
            '[{"match": "a", "max": 1}]',
            '[{"match": "a"}, {"match": "a"}]',
            *map(kept_apart, IGNORED),
        ):
            [fault] = self.faults(NAMESPACES=text)
            self.assertTrue(fault.startswith("NAMESPACES "), fault)

    def test_one_that_no_topic_belongs_to_is_named(self) -> None:
        for matches in IGNORED:
            [fault] = self.faults(NAMESPACES=kept_apart(matches))
            self.assertIn(f"must not be {matches[-1]} behind ", fault)

    def test_the_narrower_first(self) -> None:
        for matches in (("a.b.**", "a.**"), ("a.*", "a.b.c", "a.**"), ("a.*.c", "a.b.**"), ("**",)):
            found = self.load(NAMESPACES=kept_apart(matches)).namespaces
            self.assertEqual(tuple(each.match for each in found), matches)


class TableTests(SynchronousTestCase):
    def test_every_name_of_the_contract(self) -> None:
        """And none that it does not have."""
        self.assertEqual({row.name for row, _ in iter_settings()}, set(CONTRACT.split()))

    def test_the_example_is_the_table(self) -> None:
        """`python -m multiproto.config.example > .env.example` makes it so."""
        path = Path(__file__).parents[2] / ".env.example"
        self.assertEqual(path.read_text("utf-8"), render_example())

    def test_defaults_can_be_given(self) -> None:
        """What the example shows as the default reads as just that."""
        for name, shown in re.findall(r"^#([A-Z_]+)=(.+)$", render_example(), re.M):
            ((row, default),) = [(row, default) for row, default in iter_settings() if row.name == name]
            self.assertEqual(row.parser(shown), default, name)


class ParserTests(SynchronousTestCase):
    GOOD = (
        (parsers.boolean, "YES", True),
        (parsers.boolean, "off", False),
        (parsers.proxied_ports, "True", ("http", "tcp")),
        (parsers.proxied_ports, "off", ()),
        (parsers.proxied_ports, "tcp", ("tcp",)),
        (parsers.proxied_ports, "TCP, metrics,http", ("http", "metrics", "tcp")),
        (parsers.port, " 65535 ", 65535),
        (parsers.duration(0), "500ms", 0.5),
        (parsers.duration(0), "1500", 1.5),
        (parsers.duration(0), "1.5 h", 5400.0),
        (parsers.duration(0), "7D", 604800.0),
        (parsers.duration(0, bare="s"), "300", 300.0),
        (parsers.origins, " https://a.example , * ,", ("https://a.example", "*")),
        (
            parsers.origins,
            "https://A.example/,http://a:80/,https://a:8443",
            ("https://a.example", "http://a", "https://a:8443"),
        ),
        (
            parsers.origins,
            "capacitor://localhost,tauri://localhost/,chrome-extension://abcdefghijklmnop,null,file://,http://[::1]:80",
            (
                "capacitor://localhost",
                "tauri://localhost",
                "chrome-extension://abcdefghijklmnop",
                "null",
                "file://",
                "http://[::1]",
            ),
        ),
        (
            parsers.operators,
            "Ann@Example.org, 01A2055D-524A-7000-A3D1-DFD42086FED8,",
            ("ann@example.org", "01a2055d-524a-7000-a3d1-dfd42086fed8"),
        ),
        (parsers.url_path, "/api-v2/graphql", "/api-v2/graphql"),
        (parsers.port, " 80\x1f", 80),
    )
    BAD = (
        (parsers.boolean, "maybe"),
        (parsers.proxied_ports, "https"),
        (parsers.proxied_ports, "true,tcp"),
        (parsers.port, "0"),
        (parsers.port, "65536"),
        (parsers.port, "3000.5"),
        (parsers.port, "９"),
        (parsers.integer(1), "-1"),
        (parsers.duration(1), "0"),
        (parsers.duration(0), "-1s"),
        (parsers.duration(0), "soon"),
        (parsers.duration(0), "999999999999d"),
        (parsers.origins, "https://a.example/path"),
        (parsers.origins, "a.example"),
        (parsers.origins, "https://"),
        (parsers.origins, "https://*.example"),
        (parsers.origins, "https://ann@a.example"),
        (parsers.origins, "1app://localhost"),
        (parsers.url_path, "graphql"),
        (parsers.url_path, "/"),
        (parsers.url_path, "/ws"),
        (parsers.url_path, "/api/v1"),
        (parsers.url_path, "/.well-known/graphql"),
    )

    def test_good(self) -> None:
        for kind, text, value in self.GOOD:
            self.assertEqual(kind(text), value, text)

    def test_bad(self) -> None:
        for kind, text in self.BAD:
            self.assertRaises(ValueError, kind, text)

    @given(st.text())
    def test_nothing_but_a_value_or_what_is_wanted(self, text: str) -> None:
        for kind in (
            parsers.boolean,
            parsers.port,
            parsers.duration(0),
            parsers.origins,
            parsers.operators,
            parsers.url_path,
            parsers.choice("a"),
        ):
            try:
                kind(text)
            except ValueError as error:
                self.assertTrue(str(error).startswith(("must", "is", "holds")), error)

    @given(st.integers(1, 30 * 86400 * 1000))
    def test_times_as_they_are_written(self, milliseconds: int) -> None:
        seconds = milliseconds / 1000
        self.assertEqual(parsers.duration(0)(parsers.format_duration(seconds)), seconds)

    def test_the_largest_unit(self) -> None:
        self.assertEqual(
            [parsers.format_duration(each) for each in (0, 0.5, 1, 90, 900, 604800)],
            ["0s", "500ms", "1s", "90s", "15m", "7d"],
        )


class SecretTests(ConfigCase):
    def test_made_once_and_kept(self) -> None:
        """For its owner only; every start reads the same."""
        path = self.folder / "jwt-secret"
        first = load_or_create_secret(path)
        self.assertGreaterEqual(len(first), 32)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(load_or_create_secret(path), first)
        self.assertEqual([each.name for each in self.folder.iterdir()], ["jwt-secret"])

    def test_not_where_something_else_signs(self) -> None:
        """None is made that nobody would ever look at."""
        config = self.load(DATA_DIR=str(self.folder), JWT_PRIVATE_KEY_FILE="/keys/signing.pem")
        self.assertEqual((signing_secret(config), list(self.folder.iterdir())), ("", []))
        config = self.load(DATA_DIR=str(self.folder), JWT_SECRET=SECRET)
        self.assertEqual((signing_secret(config), list(self.folder.iterdir())), (SECRET, []))
        made = signing_secret(self.load(DATA_DIR=str(self.folder)))
        self.assertEqual((self.folder / "jwt-secret").read_text(), made)

    def test_something_else_in_its_place(self) -> None:
        path = self.file("jwt-secret", "short")
        self.assertIn(str(path), str(self.assertRaises(ValueError, load_or_create_secret, path)))


class RulesTests(ConfigCase):
    def test_tables_of_the_file(self) -> None:
        config = self.load(
            "[[rules]]",
            'match = "devices.{user}.**"',
            'allow = ["publish", "subscribe"]',
            "[[rules]]",
            'match = "closed.**"',
            "allow = []",
        )
        self.assertEqual(
            config.rules, (Rule("devices.{user}.**", [PUBLISH, SUBSCRIBE]), Rule("closed.**", []))
        )

    def test_json_elsewhere(self) -> None:
        rules = self.load(RULES='[{"match": "{user}.{device}.*", "allow": ["publish"]}]').rules
        self.assertEqual(rules, (Rule("{user}.{device}.*", [PUBLISH]),))
        self.assertEqual(self.load(RULES="[]").rules, ())

    def test_how_many(self) -> None:
        def text(count: int) -> str:
            return json.dumps([{"match": f"a{n}", "allow": []} for n in range(count)])

        self.assertEqual(len(self.load(RULES=text(MAX_RULES)).rules), MAX_RULES)
        [fault] = self.faults(RULES=text(MAX_RULES + 1))
        self.assertEqual(fault, f"RULES (environment) must be at most {MAX_RULES} rules, not {MAX_RULES + 1}")

    def test_what_is_the_servers_stays_so(self) -> None:
        """A rule for it is a mistake that is told, not one that is ignored."""
        for match in (
            *("users", "users.**", "messages", "messages.**", "messages.*.c", "messages.channels.c"),
            *("messages.user.{user}", "messages.user.*", "_sessions", "_a.*"),
        ):
            self.assertEqual(
                self.faults("[[rules]]", f'match = "{match}"', 'allow = ["subscribe"]'),
                [
                    f"rules entry 1, match (multiproto.toml:2) must not be {match}: it is about topics of the"
                    " server's own, which rules neither open nor close, but for channels: messages.channel.<id>"
                ],
            )

    def test_channels(self) -> None:
        for match in ("c", "*", "**", "{user}", "{device}", "a%2Eb", "caf\u00e9", "100%25"):
            rules = self.load(RULES=json.dumps([{"match": f"messages.channel.{match}", "allow": []}])).rules
            self.assertEqual(rules, (Rule(f"messages.channel.{match}", []),))
        for match, problem in (
            (
                "messages.channel",
                "it is about no channel: that is messages.channel.<id>, where the id is one word",
            ),
            (
                "messages.channel.a.b",
                "it is about no channel: that is messages.channel.<id>, where the id is one",
            ),
            ("messages.channel.*.*", "it is about no channel"),
            (
                "messages.channel.a%2eb",
                "has a%2eb, which no channel's topic has: the channel 'a.b' is a%2Eb there",
            ),
            (
                "messages.channel.100%",
                "has 100%, which no channel's topic has: the channel '100%' is 100%25 there",
            ),
            ("messages.channel.team-*", "must be a topic pattern such as"),
        ):
            [fault] = self.faults(RULES=json.dumps([{"match": match, "allow": []}]))
            self.assertIn(problem, fault)

    def test_whom_a_rule_is_for(self) -> None:
        one = "01a2055d-524a-7000-a3d1-dfd42086fed8"
        table = {"match": "a", "allow": ["publish"]}
        rules = self.load(
            RULES=json.dumps([table, {**table, "users": [one]}, {**table, "devices": ["x"]}])
        ).rules
        self.assertEqual(
            rules,
            (
                Rule("a", [PUBLISH]),
                Rule("a", [PUBLISH], frozenset([one])),
                Rule("a", [PUBLISH], None, frozenset(["x"])),
            ),
        )
        names = [f"d{n}" for n in range(MAX_RULE_PRINCIPALS + 1)]
        self.load(RULES=json.dumps([{**table, "devices": names[1:]}]))
        [fault] = self.faults(RULES=json.dumps([{**table, "devices": names}]))
        self.assertIn("must be a list of 1 to 1000 names of credentials, not 1001", fault)


class WorkedExamplesTests(ConfigCase):
    """The examples of docs/configuration.md do what is said of them there."""

    def policies(self) -> list[Policy]:
        page = (Path(__file__).parents[2] / "docs/configuration.md").read_text("utf-8")
        section = page[page.index("## Who may use which topics") :]
        blocks = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
        return [Policy(self.load(*block.splitlines()).rules) for block in blocks]

    def test_all(self) -> None:
        ann, bob = Identity("ann", "s", 0.0), Identity("bob", "s", 0.0)
        pump = Identity("ann", "s", 0.0, "pump")
        drill = "fleet.ann.drill.command"
        hub = Identity("ann", "s", 0.0, "hub")
        member, ops = (
            Identity(f"01a2055d-524a-7000-a3d1-{end}", "s", 0.0) for end in ("dfd42086fed8", "0c5be4a1a7f3")
        )
        status, board, inbox, fleet = self.policies()
        for policy, who, topic, verbs in (
            (status, ann, "status.ann", (PUBLISH, SUBSCRIBE)),
            (status, bob, "status.ann", (SUBSCRIBE,)),
            (status, bob, "status.ann.more", ()),
            (status, bob, "room.1", VERBS),
            (inbox, ann, "inbox.ann.from.bob", (SUBSCRIBE, HISTORY)),
            (inbox, bob, "inbox.ann.from.bob", (PUBLISH,)),
            (inbox, bob, "inbox.ann.from.ann", ()),
            (board, member, "messages.channel.board", VERBS),
            (board, ops, "messages.channel.board", VERBS),
            (board, ann, "messages.channel.board", ()),
            (board, ann, "messages.channel.announcements", (SUBSCRIBE, HISTORY)),
            (board, ops, "messages.channel.announcements", VERBS),
            (board, ann, "messages.channel.general", VERBS),
            (fleet, pump, drill, (SUBSCRIBE, HISTORY)),
            (fleet, ann, drill, VERBS),
            (fleet, hub, drill, VERBS),
            (fleet, bob, drill, ()),
            (fleet, pump, "fleet.ann.pump.report", VERBS),
            (fleet, ann, "fleet.ann.pump.report", (SUBSCRIBE, HISTORY)),
            (fleet, pump, "fleet.ann.drill.report", (SUBSCRIBE, HISTORY)),
            (fleet, bob, "fleet.ann.pump.report", ()),
            (fleet, ann, "fleet.ann.pump.command", (PUBLISH, SUBSCRIBE, HISTORY)),
            (fleet, ann, "room.1", ()),
            (fleet, ann, "users", (SUBSCRIBE, HISTORY)),
        ):
            found = tuple(verb for verb in VERBS if policy.decide(who, verb, topic).allowed)
            self.assertEqual(found, verbs, (who.user_id, who.device_name, topic))
