"""Every setting: its name, type, default, bounds and meaning (docs/configuration.md).

Parsing, `--help` and `.env.example` are made from this one table.  The defaults
are those of development; `production_default` is given where it differs.
All times are seconds, all sizes bytes, once they are read.
"""

from __future__ import annotations

from attrs import frozen

from ..base.client_network import parse_address
from ..core.pubsub.namespaces import Namespace
from ..core.pubsub.permissions import Rule
from ..core.ratelimit.token_bucket import Rate
from . import parsers, topic_tables
from .backends import RedisConfig, StorageConfig
from .edge import EdgeConfig
from .setting import setting

LOG_LEVELS = ("debug", "info", "warn", "error", "critical")
OTHER_LOG_LEVELS = {
    "trace": "debug",
    "warning": "warn",
    "fatal": "critical",
}  # names that other loggers have for them
PRODUCTION_ENVIRONMENTS = ("production", "staging")  # of which `production_default` is the default
EVERYONE, SELF = "everyone", "self"  # values of PROFILE_EMAIL
OPEN, CLOSED = "open", "closed"  # values of REGISTRATION
MAX_WORKERS = 128  # more than the cores of any machine that we know


@frozen
class HttpConfig:
    host: str = setting(
        "HOST",
        parsers.host,
        "127.0.0.1",
        "address of HTTP, WebSocket and GraphQL",
        production_default="0.0.0.0",
    )
    port: int = setting("PORT", parsers.port, 3000, "port of HTTP, WebSocket and GraphQL")
    origins: tuple[str, ...] | None = setting(  # None: any on localhost
        "CORS_ORIGINS",
        parsers.origins,
        None,
        "origins that browsers may call from, by commas, or *; null: pages opened as files; unset: any on localhost",
        production_default=(),
    )
    compression: bool = setting("COMPRESSION_ENABLED", parsers.boolean, True, "gzip for answers above 1 KiB")
    security_headers: bool = setting(
        "HELMET_ENABLED", parsers.boolean, True, "security headers on every answer"
    )


@frozen
class RateLimitConfig:
    window: float = setting(
        "RATE_LIMIT_WINDOW_MS",
        parsers.duration(1, 86400),
        900.0,
        "window of the next three limits",
    )
    max_requests: int = setting(
        "RATE_LIMIT_MAX",
        parsers.integer(1),
        10_000,
        "HTTP requests without a good token, of one address in a window",
        production_default=100,
    )
    max_user_requests: int = setting(
        "RATE_LIMIT_USER_MAX",
        parsers.integer(1),
        30_000,
        "HTTP requests of one user in a window, whatever their addresses",
        production_default=3000,
    )
    max_login_failures: int = setting(
        "LOGIN_RATE_MAX",
        parsers.integer(1),
        1000,
        "logins and registrations of one address that may fail in a window",
        production_default=20,
    )
    refresh_rate: Rate | None = setting(
        "REFRESH_RATE",
        parsers.rate,
        Rate(4 / 60, 60),
        "how often one session may be refreshed; none: any number of times",
    )
    connect_rate: Rate | None = setting(
        "CONNECT_RATE",
        parsers.rate,
        Rate(50, 200),
        "connections that one address may open, over HTTP and TCP each, until more wait for their turn; none: any number",
    )
    command_rate: Rate | None = setting(
        "COMMAND_RATE",
        parsers.rate,
        Rate(1000, 2000),
        "commands on one connection, WebSocket, TCP or GraphQL socket, which is read more slowly beyond; none: any number",
    )
    publish_rate: Rate | None = setting(
        "PUBLISH_RATE",
        parsers.rate,
        Rate(500, 1000),
        "publications and messages of one user, on all protocols together; none: any number",
    )
    credential_publish_rate: Rate | None = setting(
        "CREDENTIAL_PUBLISH_RATE",
        parsers.rate,
        Rate(400, 800),
        "the share of that for one credential, a login or a device; none: no limit of its own; unset: PUBLISH_RATE, where that is set",
        fallback="PUBLISH_RATE",
    )
    user_byte_rate: Rate | None = setting(
        "USER_BYTES_RATE",
        parsers.rate,
        None,
        "bytes that one user may publish, on all protocols together; none: no limit",
    )
    byte_rate: Rate | None = setting(
        "BYTE_RATE",
        parsers.rate,
        Rate(2**23, 2**24),
        "bytes read from one connection; none: no limit",
    )


@frozen
class WebSocketConfig:
    enabled: bool = setting("WEBSOCKET_ENABLED", parsers.boolean, True, "serve /ws")
    ping_interval: float = setting(
        "WEBSOCKET_PING_INTERVAL", parsers.duration(1), 30.0, "time between pings to each client"
    )
    ping_timeout: float = setting(
        "WEBSOCKET_PING_TIMEOUT",
        parsers.duration(1),
        60.0,
        "half of the silence after which a client is dropped",
    )
    max_connections_per_ip: int = setting(
        "WEBSOCKET_MAX_CONNECTIONS_PER_IP", parsers.integer(1), 100, "connections from one address"
    )
    max_message_size: int = setting(
        "WEBSOCKET_MAX_MESSAGE_SIZE", parsers.integer(1024), 1048576, "size of a client's message, bytes"
    )
    echo_enabled: bool = setting(
        "WEBSOCKET_ECHO_ENABLED", parsers.boolean, False, "serve /ws-echo, for conformance suites"
    )


@frozen
class TcpConfig:
    enabled: bool = setting("TCP_ENABLED", parsers.boolean, True, "serve framed TCP")
    host: str = setting(
        "TCP_HOST",
        parsers.host,
        "127.0.0.1",
        "address of framed TCP; unset: HOST",
        production_default="0.0.0.0",
        fallback="HOST",
    )
    port: int = setting("TCP_PORT", parsers.port, 3001, "port of framed TCP")
    max_connections: int | None = setting(
        "TCP_MAX_CONNECTIONS", parsers.integer(1), None, "connections in all; unset: no limit"
    )
    max_connections_per_ip: int = setting(
        "TCP_MAX_CONNECTIONS_PER_IP", parsers.integer(1), 100, "connections from one address"
    )
    max_frame_size: int = setting(
        "TCP_MAX_FRAME_SIZE",
        parsers.integer(1024, 2**32 - 1),
        1048576,
        "size of a frame without its length, bytes",
    )
    ping_interval: float = setting(
        "TCP_PING_INTERVAL", parsers.duration(1), 30.0, "time between pings to each client"
    )
    ping_timeout: float = setting(
        "TCP_PING_TIMEOUT", parsers.duration(1), 60.0, "half of the silence after which a client is dropped"
    )
    keep_alive_interval: float = setting(
        "TCP_KEEP_ALIVE_INTERVAL",
        parsers.duration(1),
        60.0,
        "idle time before the system's own keepalive probes",
    )


@frozen
class GraphQLConfig:
    enabled: bool = setting("GRAPHQL_ENABLED", parsers.boolean, True, "serve GraphQL")
    path: str = setting("GRAPHQL_PATH", parsers.url_path, "/graphql", "where GraphQL is served")
    playground: bool = setting(
        "GRAPHQL_PLAYGROUND_ENABLED",
        parsers.boolean,
        True,
        "GraphiQL for browsers on that path",
        production_default=False,
    )
    introspection: bool = setting(
        "GRAPHQL_INTROSPECTION_ENABLED", parsers.boolean, True, "let clients ask for the schema"
    )
    max_depth: int = setting(
        "GRAPHQL_MAX_DEPTH", parsers.integer(1, 100), 5, "levels of objects in an operation"
    )
    max_complexity: int = setting(
        "GRAPHQL_MAX_COMPLEXITY", parsers.integer(1), 1000, "objects that the answer to an operation may hold"
    )


@frozen
class AuthConfig:
    jwt_secret: str = setting(
        "JWT_SECRET",
        parsers.secret,
        "",
        "signs access tokens, at least 32 characters; unset: created at first start and kept in DATA_DIR",
    )
    private_key_file: str = setting(
        "JWT_PRIVATE_KEY_FILE",
        parsers.text,
        "",
        "Ed25519 or P-256 key in PEM that signs access tokens instead; JWT_SECRET, if set, still verifies",
        is_reloaded=True,
    )
    public_key_files: tuple[str, ...] = setting(
        "JWT_PUBLIC_KEY_FILES",
        parsers.file_paths,
        (),
        "public keys in PEM that also verify, such as the previous and the next one; several may be in one file",
        is_reloaded=True,
    )
    access_token_lifetime: float = setting(
        "JWT_EXPIRES_IN", parsers.duration(1, 30 * 86400), 900.0, "lifetime of an access token"
    )
    refresh_token_lifetime: float = setting(
        "JWT_REFRESH_EXPIRES_IN", parsers.duration(60), 7 * 86400.0, "lifetime of a refresh token"
    )
    bcrypt_rounds: int = setting(
        "BCRYPT_ROUNDS", parsers.integer(4, 31), 10, "cost of hashing a password; at least 10 in production"
    )
    registration: str = setting(
        "REGISTRATION",
        parsers.choice(OPEN, CLOSED),
        OPEN,
        "open: anybody may make an account; closed: only operators, by python -m multiproto user create",
    )
    profile_email: str = setting(
        "PROFILE_EMAIL",
        parsers.choice(EVERYONE, SELF),
        EVERYONE,
        "who sees a user's mailbox address: everyone who is logged in, or only the user (self)",
    )
    operators: tuple[str, ...] = setting(
        "OPERATORS",
        parsers.operators,
        (),
        "users who may read the whole audit log, by commas: ids, or addresses of accounts that exist at the first start with them",
    )
    audit_retention: float = setting(
        "AUDIT_RETENTION",
        parsers.duration(3600, 36_500 * 86400),
        90 * 86400.0,
        "how long entries of the audit log are kept",
    )
    auth_timeout: float = setting(
        "AUTH_TIMEOUT", parsers.duration(1, 3600), 10.0, "time that a new connection has to authenticate"
    )

    @property
    def is_registration_open(self) -> bool:
        """Whether anybody may make an account."""
        return self.registration == OPEN

    @property
    def shows_emails(self) -> bool:
        """Whether users see each other's mailbox addresses."""
        return self.profile_email == EVERYONE


@frozen
class LogConfig:
    level: str = setting(
        "LOG_LEVEL",
        parsers.choice(*LOG_LEVELS, also=OTHER_LOG_LEVELS),
        "info",
        f"least level shown: {', '.join(LOG_LEVELS)}",
    )
    pretty: bool | None = setting(
        "LOG_PRETTY", parsers.boolean, None, "lines for people instead of JSON; unset: on a terminal"
    )
    file_size: int = setting(
        "LOG_FILE_SIZE",
        parsers.integer(0),
        10_000_000,
        "size of a log file (twistd --logfile) before a new one is begun, bytes; 0: never",
    )
    kept_files: int = setting(
        "LOG_FILES_KEPT", parsers.integer(0, 1000), 10, "full log files that are kept beside the current one"
    )


@frozen
class MetricsConfig:
    enabled: bool = setting("METRICS_ENABLED", parsers.boolean, True, "serve metrics")
    host: str = setting("METRICS_HOST", parsers.host, "127.0.0.1", "address of the metrics port")
    port: int = setting(
        "METRICS_PORT", parsers.port, 9090, "port of metrics; each further worker has the next one"
    )

    @property
    def is_loopback_only(self) -> bool:
        """Whether only this machine can connect to it."""
        address = parse_address(self.host)
        return address is not None and address.is_loopback


@frozen
class Config:
    """All settings.  `Config()` has the defaults of development."""

    environment: str = setting(
        "APP_ENV",
        parsers.choice("development", "test", *PRODUCTION_ENVIRONMENTS),
        "development",
        "development, test or production, or staging, which is as production; unset: NODE_ENV",
        alias="NODE_ENV",
    )
    app_name: str = setting("APP_NAME", parsers.text, "multiproto", "name of the server in its answers")
    shutdown_timeout: float = setting(
        "SHUTDOWN_TIMEOUT",
        parsers.duration(1, 3600, zero=1.0),
        30.0,
        "time that the shutdown may take in all; 0 is as 1s",
    )
    workers: int = setting(
        "WORKERS",
        parsers.integer(1, MAX_WORKERS),
        1,
        "processes that serve, all on the same ports; more than one need PostgreSQL and Redis",
    )
    namespaces: tuple[Namespace, ...] = setting(
        "NAMESPACES",
        topic_tables.namespaces,
        (),
        "topics that the log keeps: in the file as [[namespaces]] with match, retention, most; else as JSON",
    )
    pruning_step: float | None = setting(
        "PRUNING_STEP",
        parsers.unless_none(parsers.duration(60)),
        3600.0,
        "how much of what has expired, by its age, is deleted each 30 s, the oldest first; none: all at once",
    )
    rules: tuple[Rule, ...] = setting(
        "RULES",
        topic_tables.rules,
        (),
        "who may do what on which topics: in the file as [[rules]] with match, allow, users, devices; else as JSON",
    )
    http: HttpConfig = HttpConfig()
    edge: EdgeConfig = EdgeConfig()
    rate_limits: RateLimitConfig = RateLimitConfig()
    websocket: WebSocketConfig = WebSocketConfig()
    tcp: TcpConfig = TcpConfig()
    graphql: GraphQLConfig = GraphQLConfig()
    auth: AuthConfig = AuthConfig()
    storage: StorageConfig = StorageConfig()
    redis: RedisConfig = RedisConfig()
    logs: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()

    @property
    def is_production(self) -> bool:
        return self.environment in PRODUCTION_ENVIRONMENTS

    @property
    def has_reloadable_files(self) -> bool:
        """Whether there are files that are read again on SIGHUP."""
        return bool(self.edge.certificate_file or self.auth.private_key_file or self.auth.public_key_files)
