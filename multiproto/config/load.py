"""Makes a `Config` of all sources of settings, or reports everything that is wrong with them at once."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, TypeVar

from attrs import Attribute, Factory, define, evolve, field, fields, frozen

from ..base.spelling import edit_distance, nearest
from ..core.ratelimit.token_bucket import Rate
from . import sources
from .addresses import find_overridden
from .parsers import Mistake, Mistakes
from .setting import SAME_AS_DEVELOPMENT, Setting
from .settings import PRODUCTION_ENVIRONMENTS, Config
from .sources import RawSetting, SettingProblem, UnreadableSource

Layer = Mapping[str, RawSetting]  # by the setting's name
T = TypeVar("T")

# (the setting to name, those of which one must be set, the settings that mean nothing without).
DEPENDENT_SETTINGS = (
    (
        "DB_HOST",
        ("DB_HOST", "DATABASE_URL"),
        ("DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"),
    ),
    (
        "REDIS_HOST",
        ("REDIS_HOST", "REDIS_URL"),
        ("REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB"),
    ),
    ("TLS_KEY_FILE", ("TLS_KEY_FILE",), ("TLS_CERT_FILE",)),
    ("TLS_CERT_FILE", ("TLS_CERT_FILE",), ("TLS_KEY_FILE",)),
)
MIN_SECRET_LENGTH = 32  # characters
MAX_PORT = 65535
MIN_PRODUCTION_BCRYPT_ROUNDS = 10  # bcrypt's cost
MIN_LENGTH_OF_NEAR_NAMES = 6  # characters; shorter ones are near too many words
LETTERS_PER_EDIT = 15  # of a name: of so many letters, two may be wrong
WILDCARD_ADDRESSES = ("0.0.0.0", "::")

_NAME = re.compile("[A-Z][A-Z_]+")  # of a setting, in a text


class ConfigError(Exception):
    """The settings can't be used; `problems` has all that is wrong, `str()` one line for each, and for each warning."""

    def __init__(
        self, problems: Iterable[SettingProblem], warnings: Iterable[SettingProblem], readable: Config
    ) -> None:
        """`warnings` may say why something is missing; `readable` has what can be read, and defaults for the rest."""
        self.problems, self.warnings = tuple(problems), tuple(warnings)
        self.readable = readable
        super().__init__("\n".join(map(str, (*self.problems, *self.warnings))))


@frozen
class LoadedConfig:
    """The configuration, and what it was parsed from."""

    config: Config
    given: Mapping[str, RawSetting] = field(repr=False)  # by the setting's name; those that some source has
    warnings: tuple[SettingProblem, ...] = ()  # of what was ignored, and may have been meant otherwise

    @property
    def setting_texts(self) -> Mapping[str, str]:
        """By the setting's name; some are secrets.  As flags, they give another process the same configuration."""
        return {name: raw.value for name, raw in self.given.items()}


def load_config(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    file: Path | None = None,
    folder: Path | None = Path(),
) -> LoadedConfig:
    """Settings from defaults, then `file`, `.env` in `folder` in development, `environ`, `flags`.

    Later sources override earlier ones; without a `folder`, there is no `.env`.
    Raises `ConfigError`.
    """
    reader = ConfigReader()
    from_file = reader.read_strict(lambda: sources.from_toml(file)) if file else {}
    from_environment = reader.read_lenient(lambda: sources.from_environment(environ), set(environ))
    from_flags = reader.read_strict(lambda: sources.from_flags(flags))
    layers: list[Layer] = [from_file, from_environment, from_flags]
    if folder is not None and _app_environment(layers) == "development":
        dotenv = folder / ".env"
        layers.insert(1, reader.read_lenient(lambda: sources.from_dotenv(dotenv)))
    config = reader.resolve(layers)
    wrong = {_setting_of(problem.name) for problem in reader.problems}
    for conflict in _find_conflicts(config, reader.effective):
        concerned = {_setting_of(conflict.name), *map(_setting_of, _NAME.findall(conflict.message))}
        if not wrong & concerned and not reader.may_be_unread(concerned):
            reader.problems.append(conflict)
    if reader.problems:
        raise ConfigError(reader.problems, reader.warnings, config)
    warnings = (*reader.warnings, *_find_ignored(config, reader.effective))
    return LoadedConfig(config, reader.effective, warnings)


def iter_settings(of: type = Config) -> Iterator[tuple[Setting, object]]:
    """Every setting with its default in development, in the order of the table."""
    for attribute in fields(of):
        if "setting" in attribute.metadata:
            yield attribute.metadata["setting"], attribute.default
        else:
            yield from iter_settings(type(attribute.default))


def _iter_names() -> Iterator[str]:
    """All names that mean something in a source."""
    for row, _ in iter_settings():
        yield row.name
        if row.alias is not None:
            yield row.alias
        if row.is_secret:
            yield f"{row.name}_FILE"


def _app_environment(layers: Iterable[Layer]) -> str:
    named = [layer[name].value for name in ("NODE_ENV", "APP_ENV") for layer in layers if name in layer]
    return named[-1].strip().lower() if named else Config().environment


def _setting_of(name: str) -> str:
    """The setting that is meant by the name of a part of it, or of the file that it is in."""
    return name.partition(" ")[0].upper().removesuffix("_FILE")


@define(eq=False, repr=False)
class ConfigReader:
    """Reads all sources once, and collects the problems instead of stopping at the first."""

    problems: list[SettingProblem] = Factory(list)
    warnings: list[SettingProblem] = Factory(list)
    has_unreadable_source: bool = False  # so that what seems to be missing may stand in it
    # By the setting's name, from the last source that has it.
    effective: dict[str, RawSetting] = Factory(dict)
    _settings_by_name: dict[str, Setting] = Factory(lambda: {row.name: row for row, _ in iter_settings()})
    # Those of settings, their aliases, and those of files with secrets.
    _known_names: tuple[str, ...] = Factory(lambda: tuple(_iter_names()))

    # Sources.

    def read_strict(self, source: Callable[[], list[RawSetting]]) -> Layer:
        """Read a source that is for this server alone: an unknown name in it is a mistake."""
        found = self._read_source(source)
        self.problems += [
            self._unknown_setting(given)
            for given in found
            if given.keys is not None or not self._is_known(given)
        ]
        return self._to_layer(found)

    def read_lenient(self, source: Callable[[], list[RawSetting]], names: set[str] | None = None) -> Layer:
        """Read a source that other programs use, too: unknown names are ignored, with a warning of near misses.

        `names` are all of the source, also those that are set to nothing: who gives the right name, too, means another
        thing by the wrong one.
        """
        found = self._read_source(source)
        names = names or {given.name for given in found}
        for given in found:
            near = None if self._is_known(given) else self._find_near_miss(given.name)
            if near is not None and near not in names:
                self.warnings.append(
                    given.problem(
                        f"is no setting, and is ignored; if {near} is meant, correct it, "
                        f"and if it is another program's, set {near}, too, if to nothing"
                    )
                )
        return self._to_layer(found)

    def _read_source(self, source: Callable[[], list[RawSetting]]) -> list[RawSetting]:
        try:
            return source()
        except UnreadableSource as unreadable:
            self.problems += unreadable.problems
            self.has_unreadable_source = True
            return list(unreadable.readable)

    def _to_layer(self, found: list[RawSetting]) -> Layer:
        layer: dict[str, RawSetting] = {}
        for given in filter(self._is_known, found):
            if given.keys is not None:
                continue  # it was told of already
            try:
                setting = sources.from_secret_file(given) if self._is_secret_file(given) else given
            except UnreadableSource as unreadable:
                self.problems += unreadable.problems
                continue
            name = setting.name.upper()
            if name in layer:
                first = layer[name].location
                where = f" ({first})" if first != given.location else ""
                self.problems.append(
                    given.problem(f"gives {name} a second time, which is there already{where}")
                )
            layer[name] = setting
        return layer

    def _is_known(self, given: RawSetting) -> bool:
        return given.name.upper() in self._known_names

    def _is_secret_file(self, given: RawSetting) -> bool:
        name = given.name.upper()
        return name not in self._settings_by_name and name in self._known_names and name.endswith("_FILE")

    def _find_near_miss(self, name: str) -> str | None:
        """The name of ours that `name` is with a letter too much, too few, wrong or swapped with the next.

        One with a number is another of the same kind, as DB_HOST_2.
        """
        if re.search("[0-9]", name):
            return None
        if len(name) < MIN_LENGTH_OF_NEAR_NAMES:
            return next((known for known in self._known_names if sorted(known) == sorted(name)), None)
        edits = 1 + len(name) // LETTERS_PER_EDIT
        cutoff = 1 - edits / len(name) - 1e-9  # of difflib's ratio, which counts a letter in both
        # Quickly; also FTP_PORT, of TCP_PORT.
        near = difflib.get_close_matches(name, self._known_names, 3, cutoff)
        return next((known for known in near if edit_distance(name, known) <= edits), None)

    def _unknown_setting(self, given: RawSetting) -> SettingProblem:
        if given.keys is not None:
            return self._misplaced_table(given)
        near = nearest(given.name, self._settings_by_name)
        near = near if given.name.isupper() else near.lower()
        return given.problem(f"is no setting; the nearest is {near}")

    def _misplaced_table(self, given: RawSetting) -> SettingProblem:
        """A table of the file that is none of a list: its keys may be meant as settings."""
        if given.name.upper() in ("NAMESPACES", "RULES"):
            return given.problem(f"is one table, [{given.name}]: each of them is written [[{given.name}]]")
        meant = [
            next((name for name in (f"{given.name}_{key}", key) if name.upper() in self._known_names), None)
            for key in given.keys or ()
        ]
        instead = ", ".join(f"{name} = ..." for name in meant if name is not None)
        return given.problem(
            "is a table, and settings stand in none: "
            + (
                f"write {instead} above all tables"
                if instead
                else "only [[namespaces]] and [[rules]] are tables"
            )
        )

    def may_be_unread(self, names: set[str]) -> bool:
        """Whether one of these settings may stand in a source that could not be read.

        The environment and flags override every file, so what they give is known.
        """
        return self.has_unreadable_source and any(
            name not in self.effective or self.effective[name].file is not None
            for name in names & self._settings_by_name.keys()
        )

    # Values.

    def resolve(self, layers: list[Layer]) -> Config:
        """The configuration of all layers; later ones win.  Overridden values must be valid, too."""
        for layer in layers:
            self.effective |= layer
            for row in filter(lambda row: row.name in layer, self._settings_by_name.values()):
                self._parse_value(row, layer[row.name], None)
        return self._build_group(Config, production=_app_environment(layers) in PRODUCTION_ENVIRONMENTS)

    def _build_group(self, group: type[T], production: bool) -> T:
        return group(**{each.name: self._resolve_value(each, production) for each in fields(group)})  # type: ignore[arg-type]

    def _resolve_value(self, attribute: Attribute[object], production: bool) -> object:
        if "setting" not in attribute.metadata:
            return self._build_group(type(attribute.default), production)
        row: Setting = attribute.metadata["setting"]
        default = (
            row.production_default
            if production and row.production_default is not SAME_AS_DEVELOPMENT
            else attribute.default
        )
        for name in (row.name, row.fallback, row.alias):
            if name in self.effective:
                return self._parse_value(row, self.effective[name], default)
        return default

    def _parse_value(self, row: Setting, given: RawSetting, otherwise: object) -> object:
        try:
            return row.parser(given.value)
        except ValueError as error:
            mistakes = error.found if isinstance(error, Mistakes) else (Mistake(str(error)),)
            for problem in map(given.problem_of, map(self._with_advice, mistakes)):
                self.problems += [problem] if problem not in self.problems else []
            return otherwise

    def _with_advice(self, mistake: Mistake) -> Mistake:
        """In TOML, all that stands below the first table belongs to one: also a setting that was added at the end."""
        if mistake.field is None or mistake.field.upper() not in self._known_names:
            return mistake
        return evolve(mistake, message=f"{mistake.message}: a setting stands above all tables")


def _find_conflicts(config: Config, given: Mapping[str, RawSetting]) -> Iterator[SettingProblem]:
    """The problems of settings that contradict each other."""

    def problem(name: str, message: str) -> SettingProblem:
        return (given.get(name) or RawSetting(name, "", "default")).problem(message)

    def is_cause(name: str, other: str) -> bool:
        """Whether of two settings that contradict each other somebody has set `name`, and `other` has its default."""
        return name in given and other not in given

    for alone, needed, names in DEPENDENT_SETTINGS:
        if not any(each in given for each in needed):
            for name in filter(given.__contains__, names):
                yield problem(name, f"says nothing without {alone}")
    for name, other, port in _find_equal_ports(config):
        name, other = (other, name) if is_cause(other, name) else (name, other)
        yield problem(name, f"must not be that of {other}, too, {port}: one port has one listener")
    for protocol in ("WEBSOCKET", "TCP"):
        settings = config.websocket if protocol == "WEBSOCKET" else config.tcp
        interval, timeout = f"{protocol}_PING_INTERVAL", f"{protocol}_PING_TIMEOUT"
        if settings.ping_interval >= 2 * settings.ping_timeout:
            name, bound = (
                (timeout, f"above half of {interval}")
                if is_cause(timeout, interval)
                else (interval, f"below two times {timeout}")
            )
            yield problem(name, f"must be {bound}, or clients that are alive are dropped between two pings")
    if config.auth.refresh_token_lifetime < config.auth.access_token_lifetime:
        if is_cause("JWT_EXPIRES_IN", "JWT_REFRESH_EXPIRES_IN"):
            why = "must not be above JWT_REFRESH_EXPIRES_IN: that is to outlive the access token"
            yield problem("JWT_EXPIRES_IN", why)
        else:
            why = "must not be below JWT_EXPIRES_IN: it is to outlive the access token"
            yield problem("JWT_REFRESH_EXPIRES_IN", why)
    if config.redis.ca_file and not any(
        (url or "").startswith("rediss:") for url in (config.redis.rate_limit_url, config.redis.broker_url)
    ):
        yield problem("REDIS_CA_FILE", "says nothing without TLS: a REDIS_URL that begins with rediss://")
    if config.redis.adapter == "redis" and not config.redis.broker_url:
        yield problem("PUBSUB_ADAPTER", "needs the address of a Redis: set REDIS_URL")
    if config.edge.proxy_protocol_ports and not config.edge.trusted_proxies:
        yield problem("PROXY_PROTOCOL", "needs to know who may use it: set TRUSTED_PROXIES")
    if config.workers > 1:
        together = f"needs a %s that {config.workers} processes can share: set %s"
        if not config.storage.postgresql_dsn:
            yield problem("WORKERS", together % ("database", "DATABASE_URL"))
        if not config.redis.broker_url and config.redis.adapter != "redis":
            memory = config.redis.adapter == "memory"
            yield problem("WORKERS", together % ("Redis", "PUBSUB_ADAPTER=redis" if memory else "REDIS_URL"))
        highest = MAX_PORT - config.workers + 1
        if config.metrics.enabled and config.metrics.port > highest:
            yield problem("METRICS_PORT", f"must be at most {highest}: each further worker has the next port")
    secrets = {"JWT_SECRET": config.auth.jwt_secret, "PUBSUB_REDIS_SECRET": config.redis.pubsub_secret}
    shared = config.storage.postgresql_dsn or config.redis.broker_url
    if shared and not config.auth.jwt_secret and not config.auth.private_key_file:
        yield problem("JWT_SECRET", "must be set where instances share PostgreSQL or Redis")
    elif config.redis.broker_url and not any(secrets.values()):
        yield problem(
            "PUBSUB_REDIS_SECRET",
            "must be set where instances share Redis and no JWT_SECRET; where that was taken away, to what it was",
        )
    for name, secret in secrets.items():
        if name in given and len(secret) < MIN_SECRET_LENGTH:
            yield problem(name, f"must have at least {MIN_SECRET_LENGTH} characters")
    pool = config.storage
    lacks_readers = pool.postgresql_dsn and pool.pool_max < 2
    if pool.pool_min > pool.pool_max:
        if not is_cause("DB_POOL_MAX", "DB_POOL_MIN"):
            why = f"must not be above DB_POOL_MAX, which is {pool.pool_max}, and is {pool.pool_min}"
            yield problem("DB_POOL_MIN", why)
        elif not lacks_readers:
            yield problem(
                "DB_POOL_MAX",
                f"must not be below DB_POOL_MIN, which is {pool.pool_min}, and is {pool.pool_max}",
            )
    if lacks_readers:
        yield problem("DB_POOL_MAX", "must be at least 2: one connection writes, the others read")
    if config.is_production and config.auth.bcrypt_rounds < MIN_PRODUCTION_BCRYPT_ROUNDS:
        yield problem("BCRYPT_ROUNDS", f"must be at least {MIN_PRODUCTION_BCRYPT_ROUNDS} in production")


def _find_ignored(config: Config, given: Mapping[str, RawSetting]) -> Iterator[SettingProblem]:
    """Warnings of settings that have no effect beside others."""
    yield from find_overridden(config, given)
    rates, name = config.rate_limits, "CREDENTIAL_PUBLISH_RATE"
    if name in given and _hides(rates.publish_rate, rates.credential_publish_rate):
        yield given[name].problem(
            "has no effect: PUBLISH_RATE, of all credentials of a user together, is below it"
        )


def _hides(lower: Rate | None, higher: Rate | None) -> bool:
    """Whether `lower` is below `higher`, in its rate or its burst, and above in neither."""
    return (
        lower is not None
        and higher is not None
        and lower != higher
        and lower.per_second <= higher.per_second
        and lower.burst <= higher.burst
    )


def _find_equal_ports(config: Config) -> Iterator[tuple[str, str, int]]:
    """(name, other name, port) of those that listen on one port of an address; with workers, each has a port of metrics."""
    listening = [("PORT", config.http.host, config.http.port)]
    if config.tcp.enabled:
        listening.append(("TCP_PORT", config.tcp.host, config.tcp.port))
    if config.metrics.enabled:
        ports = range(config.metrics.port, config.metrics.port + config.workers)
        listening += [("METRICS_PORT", config.metrics.host, port) for port in ports]
    for index, (name, host, port) in enumerate(listening):
        for other_name, other_host, other_port in listening[:index]:
            one_address = host == other_host or {host, other_host} & set(WILDCARD_ADDRESSES)
            if port == other_port and one_address:
                yield name, other_name, port
