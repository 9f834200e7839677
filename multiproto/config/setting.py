"""One row of the table of settings."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from . import parsers
from .parsers import Parser

SAME_AS_DEVELOPMENT = object()  # the production default is the development default


@frozen
class Setting:
    """The name, type and meaning of a setting; its default in development is that of the attribute."""

    name: str  # in the environment; lower-case in the TOML file
    parser: Parser
    description: str
    production_default: Any = SAME_AS_DEVELOPMENT
    fallback: str | None = None  # the setting whose value counts while this one is unset
    alias: str | None = None  # another name of it, which counts while the name is unset
    is_reloaded: bool = False  # whether SIGHUP makes the server read again the files that it names

    @property
    def is_secret(self) -> bool:
        return self.parser in parsers.SECRET_PARSERS


def setting(name: str, parser: Parser, default: Any, description: str, **options: Any) -> Any:
    """An attribute of a group of settings; `options` are the other attributes of `Setting`."""
    row = Setting(name, parser, description, **options)
    return field(default=default, metadata={"setting": row}, repr=not row.is_secret)
