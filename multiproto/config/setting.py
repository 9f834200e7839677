"""What one row of the table of settings says."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from . import parsers
from .parsers import Parser

SAME_AS_DEVELOPMENT = object()  # as in development


@frozen
class Setting:
    """One row of the table."""

    name: str  # in the environment; lower-case in the TOML file
    parser: Parser
    description: str
    production: Any = SAME_AS_DEVELOPMENT  # default there
    follows: str | None = None  # the setting whose value is taken while this is unset
    also: str | None = None  # another name in the environment, of less weight

    @property
    def is_secret(self) -> bool:
        return self.parser in parsers.SECRET_PARSERS


def setting(name: str, kind: Parser, default: Any, meaning: str, **more: Any) -> Any:
    row = Setting(name, kind, meaning, **more)
    return field(default=default, metadata={"setting": row}, repr=not row.is_secret)
