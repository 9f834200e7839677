"""Makes a `Config` of all sources of settings, or reports everything that is wrong with them at once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, TypeVar

from attrs import Attribute, Factory, define, field, fields, frozen

from . import sources
from .setting import SAME_AS_DEVELOPMENT, Setting
from .settings import Config
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


class ConfigError(Exception):
    """The settings can't be used; `problems` has all that is wrong, `str()` one line for each."""

    def __init__(self, problems: Iterable[SettingProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@frozen
class LoadedConfig:
    """The configuration, and the texts that it was parsed from: as flags, they give another process the same one."""

    config: Config
    setting_texts: Mapping[str, str] = field(repr=False)  # by the setting's name; some are secrets


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
    from_environment = reader.read_lenient(lambda: sources.from_environment(environ))
    from_flags = reader.read_strict(lambda: sources.from_flags(flags))
    layers: list[Layer] = [from_file, from_environment, from_flags]
    if folder is not None and _app_environment(layers) == "development":
        dotenv = folder / ".env"
        layers.insert(1, reader.read_lenient(lambda: sources.from_dotenv(dotenv)))
    config = reader.resolve(layers)
    reader.problems += _find_conflicts(config, reader.effective)
    if reader.problems:
        raise ConfigError(reader.problems)
    return LoadedConfig(config, {name: raw.value for name, raw in reader.effective.items()})


def iter_settings(of: type = Config) -> Iterator[tuple[Setting, object]]:
    """Every setting with its default in development, in the order of the table."""
    for attribute in fields(of):
        if "setting" in attribute.metadata:
            yield attribute.metadata["setting"], attribute.default
        else:
            yield from iter_settings(type(attribute.default))


def _app_environment(layers: Iterable[Layer]) -> str:
    named = [layer[name].value for name in ("NODE_ENV", "APP_ENV") for layer in layers if name in layer]
    return named[-1] if named else Config().environment


@define(eq=False, repr=False)
class ConfigReader:
    """Reads all sources once, and collects the problems instead of stopping at the first."""

    problems: list[SettingProblem] = Factory(list)
    # By the setting's name, from the last source that has it.
    effective: dict[str, RawSetting] = Factory(dict)
    _settings_by_name: dict[str, Setting] = Factory(lambda: {row.name: row for row, _ in iter_settings()})

    # Sources.

    def read_strict(self, source: Callable[[], list[RawSetting]]) -> Layer:
        """Read a source that is for this server alone: an unknown name in it is a mistake."""
        found = self._read_source(source)
        self.problems += [self._unknown_setting(given) for given in found if not self._is_known(given)]
        return self._to_layer(found)

    def read_lenient(self, source: Callable[[], list[RawSetting]]) -> Layer:
        """Read a source that other programs use, too: unknown names are ignored."""
        return self._to_layer(self._read_source(source))

    def _read_source(self, source: Callable[[], list[RawSetting]]) -> list[RawSetting]:
        try:
            return source()
        except UnreadableSource as unreadable:
            self.problems.append(unreadable.problem)
            return []

    def _to_layer(self, found: list[RawSetting]) -> Layer:
        layer = {}
        for given in filter(self._is_known, found):
            if self._is_secret_file(given):
                for inside in self._read_source(lambda given=given: [sources.from_secret_file(given)]):  # type: ignore[misc]
                    layer[inside.name.upper()] = inside
            else:
                layer[given.name.upper()] = given
        return layer

    def _is_known(self, given: RawSetting) -> bool:
        names = {*self._settings_by_name, *(row.alias for row in self._settings_by_name.values())}
        return given.name.upper() in names or self._is_secret_file(given)

    def _is_secret_file(self, given: RawSetting) -> bool:
        row = self._settings_by_name.get(given.name.upper().removesuffix("_FILE"))
        return row is not None and row.is_secret and given.name.upper().endswith("_FILE")

    def _unknown_setting(self, given: RawSetting) -> SettingProblem:
        near = difflib.get_close_matches(given.name.upper(), self._settings_by_name, 1, cutoff=0)[0]
        near = near.lower() if given.name.islower() else near
        return SettingProblem(given.name, given.location, f"is no setting; the nearest is {near}")

    # Values.

    def resolve(self, layers: list[Layer]) -> Config:
        """The configuration of all layers; later ones win.  Overridden values must be valid, too."""
        for layer in layers:
            self.effective |= layer
            for row in filter(lambda row: row.name in layer, self._settings_by_name.values()):
                self._parse_value(row, layer[row.name], None)
        return self._build_group(Config, production=_app_environment(layers) == "production")

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
            problem = SettingProblem(given.name, given.location, str(error))
            self.problems += [problem] if problem not in self.problems else []
            return otherwise


def _find_conflicts(config: Config, given: Mapping[str, RawSetting]) -> Iterator[SettingProblem]:
    """The problems of settings that contradict each other."""

    def problem(name: str, message: str) -> SettingProblem:
        found = given.get(name) or RawSetting(name, "", "default")
        return SettingProblem(found.name, found.location, message)

    for alone, needed, names in DEPENDENT_SETTINGS:
        if not any(each in given for each in needed):
            for name in filter(given.__contains__, names):
                yield problem(name, f"says nothing without {alone}")
    if config.redis.adapter == "redis" and not config.redis.broker_url:
        yield problem("PUBSUB_ADAPTER", "needs the address of a Redis: set REDIS_URL")
    if config.edge.proxy_protocol and not config.edge.trusted_proxies:
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
        yield problem("PUBSUB_REDIS_SECRET", "must be set where instances share Redis and no JWT_SECRET")
    for name, secret in secrets.items():
        if name in given and len(secret) < MIN_SECRET_LENGTH:
            yield problem(name, f"must have at least {MIN_SECRET_LENGTH} characters")
    if config.storage.pool_min > config.storage.pool_max:
        yield problem("DB_POOL_MIN", "must not be above DB_POOL_MAX")
    if config.storage.postgresql_dsn and config.storage.pool_max < 2:
        yield problem("DB_POOL_MAX", "must be at least 2: one connection writes, the others read")
    if config.is_production and config.auth.bcrypt_rounds < MIN_PRODUCTION_BCRYPT_ROUNDS:
        yield problem("BCRYPT_ROUNDS", f"must be at least {MIN_PRODUCTION_BCRYPT_ROUNDS} in production")
