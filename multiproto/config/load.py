"""From what was given to a `Config`, or to all that is wrong with it at once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, TypeVar

from attrs import Attribute, Factory, define, field, fields, frozen

from . import sources
from .setting import SAME, Setting
from .settings import Config
from .sources import Fault, Given, Unreadable

Layer = Mapping[str, Given]  # by the setting's name
T = TypeVar("T")

# Which settings mean nothing without one of which others.
LONELY = (
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
SECRET_LENGTH = 32  # characters at least
LAST_PORT = 65535
ROUNDS_IN_PRODUCTION = 10  # bcrypt's cost at least


class BadConfig(Exception):
    """The server can't start with this; `faults` is all that is wrong, `str()` one line for each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


@frozen
class Loaded:
    """What was read, and the texts that it was read from: flags of another process that is to have the same."""

    config: Config
    texts: Mapping[str, str] = field(repr=False)  # by the setting's name; some are secrets


def load(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    file: Path | None = None,
    folder: Path = Path(),
) -> Config:
    """Settings from defaults, then `file`, `.env` in `folder` in development, `environ`, `flags`.

    Raises `BadConfig`.
    """
    return read(flags, environ, file, folder).config


def read(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    file: Path | None = None,
    folder: Path | None = Path(),
) -> Loaded:
    """Like `load`; without a `folder`, there is no `.env`."""
    reading = Reading()
    written = reading.strict(lambda: sources.from_toml(file)) if file else {}
    surrounding = reading.lenient(lambda: sources.from_environment(environ))
    said = reading.strict(lambda: sources.from_flags(flags))
    layers: list[Layer] = [written, surrounding, said]
    if folder is not None and _environment(layers) == "development":
        dotenv = folder / ".env"
        layers.insert(1, reading.lenient(lambda: sources.from_dotenv(dotenv)))
    config = reading.settle(layers)
    reading.faults += _contradictions(config, reading.given)
    if reading.faults:
        raise BadConfig(reading.faults)
    return Loaded(config, {name: found.value for name, found in reading.given.items()})


def table(of: type = Config) -> Iterator[tuple[Setting, object]]:
    """Every setting with its default in development, in order."""
    for attribute in fields(of):
        if "setting" in attribute.metadata:
            yield attribute.metadata["setting"], attribute.default
        else:
            yield from table(type(attribute.default))


def _environment(layers: Iterable[Layer]) -> str:
    named = [layer[name].value for name in ("NODE_ENV", "APP_ENV") for layer in layers if name in layer]
    return named[-1] if named else Config().environment


@define(eq=False, repr=False)
class Reading:
    """One reading of all sources: collects the faults instead of stopping at the first."""

    faults: list[Fault] = Factory(list)
    given: dict[str, Given] = Factory(dict)  # of all sources, the one that counts
    _rows: dict[str, Setting] = Factory(lambda: {row.name: row for row, _ in table()})

    # Sources.

    def strict(self, source: Callable[[], list[Given]]) -> Layer:
        """A source that is all ours: what we don't know in it is a slip of the pen."""
        found = self._read(source)
        self.faults += [self._unknown(given) for given in found if not self._knows(given)]
        return self._layer(found)

    def lenient(self, source: Callable[[], list[Given]]) -> Layer:
        """A source that we share with other programs."""
        return self._layer(self._read(source))

    def _read(self, source: Callable[[], list[Given]]) -> list[Given]:
        try:
            return source()
        except Unreadable as unreadable:
            self.faults.append(unreadable.fault)
            return []

    def _layer(self, found: list[Given]) -> Layer:
        layer = {}
        for given in filter(self._knows, found):
            if self._names_a_file(given):
                for inside in self._read(lambda given=given: [sources.from_secret_file(given)]):  # type: ignore[misc]
                    layer[inside.name.upper()] = inside
            else:
                layer[given.name.upper()] = given
        return layer

    def _knows(self, given: Given) -> bool:
        names = {*self._rows, *(row.also for row in self._rows.values())}
        return given.name.upper() in names or self._names_a_file(given)

    def _names_a_file(self, given: Given) -> bool:
        row = self._rows.get(given.name.upper().removesuffix("_FILE"))
        return row is not None and row.secret and given.name.upper().endswith("_FILE")

    def _unknown(self, given: Given) -> Fault:
        near = difflib.get_close_matches(given.name.upper(), self._rows, 1, cutoff=0)[0]
        near = near.lower() if given.name.islower() else near
        return Fault(given.name, given.origin, f"is no setting; the nearest is {near}")

    # Values.

    def settle(self, layers: list[Layer]) -> Config:
        """What counts of all layers, later ones first.  What is overruled must be readable too."""
        for layer in layers:
            self.given |= layer
            for row in filter(lambda row: row.name in layer, self._rows.values()):
                self._parsed(row, layer[row.name], None)
        return self._fill(Config, production=_environment(layers) == "production")

    def _fill(self, group: type[T], production: bool) -> T:
        return group(**{each.name: self._value(each, production) for each in fields(group)})  # type: ignore[arg-type]

    def _value(self, attribute: Attribute[object], production: bool) -> object:
        if "setting" not in attribute.metadata:
            return self._fill(type(attribute.default), production)
        row: Setting = attribute.metadata["setting"]
        default = row.production if production and row.production is not SAME else attribute.default
        for name in (row.name, row.follows, row.also):
            if name in self.given:
                return self._parsed(row, self.given[name], default)
        return default

    def _parsed(self, row: Setting, given: Given, otherwise: object) -> object:
        try:
            return row.kind(given.value)
        except ValueError as error:
            fault = Fault(given.name, given.origin, str(error))
            self.faults += [fault] if fault not in self.faults else []
            return otherwise


def _contradictions(config: Config, given: Mapping[str, Given]) -> Iterator[Fault]:
    """What is wrong only together with something else."""

    def fault(name: str, problem: str) -> Fault:
        found = given.get(name) or Given(name, "", "default")
        return Fault(found.name, found.origin, problem)

    for alone, needed, names in LONELY:
        if not any(each in given for each in needed):
            for name in filter(given.__contains__, names):
                yield fault(name, f"says nothing without {alone}")
    if config.redis.adapter == "redis" and not config.redis.pubsub:
        yield fault("PUBSUB_ADAPTER", "needs the address of a Redis: set REDIS_URL")
    if config.edge.proxy_protocol and not config.edge.proxies:
        yield fault("PROXY_PROTOCOL", "needs to know who may use it: set TRUSTED_PROXIES")
    if config.workers > 1:
        together = f"needs a %s that {config.workers} processes can share: set %s"
        if not config.storage.postgresql:
            yield fault("WORKERS", together % ("database", "DATABASE_URL"))
        if not config.redis.pubsub and config.redis.adapter != "redis":
            memory = config.redis.adapter == "memory"
            yield fault("WORKERS", together % ("Redis", "PUBSUB_ADAPTER=redis" if memory else "REDIS_URL"))
        highest = LAST_PORT - config.workers + 1
        if config.metrics.enabled and config.metrics.port > highest:
            yield fault("METRICS_PORT", f"must be at most {highest}: each further worker has the next port")
    secrets = {"JWT_SECRET": config.auth.secret, "PUBSUB_REDIS_SECRET": config.redis.secret}
    shared = config.storage.postgresql or config.redis.pubsub
    if shared and not config.auth.secret and not config.auth.private_key_file:
        yield fault("JWT_SECRET", "must be set where instances share PostgreSQL or Redis")
    elif config.redis.pubsub and not any(secrets.values()):
        yield fault("PUBSUB_REDIS_SECRET", "must be set where instances share Redis and no JWT_SECRET")
    for name, secret in secrets.items():
        if name in given and len(secret) < SECRET_LENGTH:
            yield fault(name, f"must have at least {SECRET_LENGTH} characters")
    if config.storage.pool_min > config.storage.pool_max:
        yield fault("DB_POOL_MIN", "must not be above DB_POOL_MAX")
    if config.storage.postgresql and config.storage.pool_max < 2:
        yield fault("DB_POOL_MAX", "must be at least 2: one connection writes, the others read")
    if config.production and config.auth.bcrypt_rounds < ROUNDS_IN_PRODUCTION:
        yield fault("BCRYPT_ROUNDS", f"must be at least {ROUNDS_IN_PRODUCTION} in production")
