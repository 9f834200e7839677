"""The address of a server that is given twice, as a URL and in parts: of the two, the URL wins."""

from __future__ import annotations

from typing import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from psycopg.conninfo import conninfo_to_dict

from .settings import Config
from .sources import RawSetting, SettingProblem

Parts = Mapping[str, object]  # by the name of the setting


def find_overridden(config: Config, given: Mapping[str, RawSetting]) -> Iterator[SettingProblem]:
    """Warnings of parts that a URL overrides with something else; where both say the same there is none."""
    storage, redis = config.storage, config.redis
    if storage.url:
        parts: Parts = {
            "DB_HOST": storage.host,
            "DB_PORT": storage.port,
            "DB_NAME": storage.name,
            "DB_USER": storage.user,
            "DB_PASSWORD": storage.password,
        }
        yield from _find_differences("DATABASE_URL", _postgresql_parts(storage.url), parts, given)
    if redis.url:
        parts = {
            "REDIS_HOST": redis.host,
            "REDIS_PORT": redis.port,
            "REDIS_USERNAME": redis.user,
            "REDIS_PASSWORD": redis.password,
            "REDIS_DB": redis.db,
        }
        yield from _find_differences("REDIS_URL", _redis_parts(redis.url), parts, given)


def _find_differences(
    url: str, used: Parts, ignored: Parts, given: Mapping[str, RawSetting]
) -> Iterator[SettingProblem]:
    for name, value in ignored.items():
        if name in given and _comparable(name, value) != _comparable(name, used[name]):
            yield given[name].problem(
                f"is ignored: {url} ({given[url].location}) says otherwise, and wins; take away one of the two"
            )


def _comparable(name: str, value: object) -> str:
    return str(value).lower() if name.endswith("_HOST") else str(value)


def _postgresql_parts(url: str) -> Parts:
    parts = conninfo_to_dict(url)
    return {
        "DB_HOST": parts.get("host"),
        "DB_PORT": parts.get("port", 5432),
        "DB_NAME": parts.get("dbname"),
        "DB_USER": parts.get("user"),
        "DB_PASSWORD": parts.get("password"),
    }


def _redis_parts(url: str) -> Parts:
    parts = urlsplit(url)
    return {
        "REDIS_HOST": parts.hostname,
        "REDIS_PORT": parts.port or 6379,
        "REDIS_USERNAME": unquote(parts.username or ""),
        "REDIS_PASSWORD": unquote(parts.password or ""),
        "REDIS_DB": parts.path.strip("/") or 0,
    }
