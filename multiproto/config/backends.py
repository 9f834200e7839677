"""The settings of storage and Redis."""

from __future__ import annotations

from urllib.parse import quote

from attrs import frozen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from . import parsers
from .setting import setting


@frozen
class StorageConfig:
    """Settings of the database: a directory for SQLite, or PostgreSQL."""

    directory: str = setting(
        "DATA_DIR", parsers.text, "./data", "directory of the embedded database and secret"
    )
    url: str = setting(
        "DATABASE_URL",
        parsers.postgresql_url,
        "",
        "PostgreSQL instead of the embedded database, for many instances",
    )
    host: str = setting(
        "DB_HOST",
        parsers.postgresql_host,
        "",
        "host of PostgreSQL, as an alternative to DATABASE_URL, which wins where both are set",
    )
    port: int = setting("DB_PORT", parsers.port, 5432, "port of DB_HOST")
    name: str = setting("DB_NAME", parsers.text, "multiproto", "name of the database on DB_HOST")
    user: str = setting("DB_USER", parsers.text, "multiproto", "user on DB_HOST")
    password: str = setting("DB_PASSWORD", parsers.secret, "", "password of DB_USER")
    pool_min: int = setting("DB_POOL_MIN", parsers.integer(0), 2, "connections kept open to PostgreSQL")
    pool_max: int = setting(
        "DB_POOL_MAX", parsers.integer(1), 20, "connections to PostgreSQL at most; one of them writes"
    )

    @property
    def engine(self) -> str:
        """Which store keeps everything: a key of `storage.wiring.STORE_FACTORIES`."""
        return "sqlite" if self.postgresql_dsn is None else "postgresql"

    @property
    def postgresql_dsn(self) -> str | None:
        """The connection string for libpq, password included; `None` for the embedded database."""
        if self.url or not self.host:
            return self.url or None
        password = self.password or None
        return make_conninfo(
            "", host=self.host, port=self.port, dbname=self.name, user=self.user, password=password
        )

    @property
    def display_name(self) -> str:
        """Where data is kept, for people: without a password."""
        if self.postgresql_dsn is None:
            return self.directory.removeprefix("./")
        parts = conninfo_to_dict(self.postgresql_dsn)
        return f"PostgreSQL {parts.get('dbname', '')} on {parts.get('host', 'localhost')}"


@frozen
class RedisConfig:
    """Settings of the connection to Redis."""

    url: str = setting(
        "REDIS_URL",
        parsers.redis_url,
        "",
        "Redis, which carries live topics between instances; rediss:// for TLS",
    )
    host: str = setting(
        "REDIS_HOST",
        parsers.host,
        "",
        "host of Redis, as an alternative to REDIS_URL, which wins where both are set",
    )
    port: int = setting("REDIS_PORT", parsers.port, 6379, "port of REDIS_HOST")
    user: str = setting("REDIS_USERNAME", parsers.text, "", "user on REDIS_HOST; unset: the default user")
    password: str = setting("REDIS_PASSWORD", parsers.secret, "", "password of REDIS_USERNAME")
    db: int = setting("REDIS_DB", parsers.integer(0), 0, "number of the database on REDIS_HOST")
    ca_file: str = setting(
        "REDIS_CA_FILE",
        parsers.text,
        "",
        "certificates of the authorities to trust in Redis; unset: the system's",
    )
    cache_ttl: float = setting(
        "CACHE_TTL",
        parsers.duration(0, bare="s"),
        300.0,
        "how long a cached value is valid; a bare number is seconds",
    )
    adapter: str | None = setting(
        "PUBSUB_ADAPTER",
        parsers.choice("memory", "redis"),
        None,
        "what carries live topics: memory, within one instance, or redis; unset: redis where it is set",
    )
    pubsub_url: str = setting(
        "PUBSUB_REDIS_URL",
        parsers.redis_url,
        "",
        "Redis for live topics; unset: REDIS_URL",
        fallback="REDIS_URL",
    )
    pubsub_secret: str = setting(
        "PUBSUB_REDIS_SECRET",
        parsers.secret,
        "",
        "signs the messages between instances, at least 32 characters; unset: JWT_SECRET",
    )
    prefix: str = setting(
        "PUBSUB_REDIS_PREFIX", parsers.text, "pubsub:", "prefix of the channels and keys in Redis"
    )

    @property
    def rate_limit_url(self) -> str | None:
        """The URL of the Redis for shared rate limits, password included; `None` for none."""
        return self._server_url or self.pubsub_url or None

    @property
    def broker_url(self) -> str | None:
        """The URL of the Redis that carries live topics, password included; `None` for none."""
        return None if self.adapter == "memory" else self.pubsub_url or self._server_url

    @property
    def _server_url(self) -> str | None:
        if self.url or not self.host:
            return self.url or None
        user = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{user if self.user or self.password else ''}{host}:{self.port}/{self.db}"
