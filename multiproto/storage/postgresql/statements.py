"""The named statements as PostgreSQL prepares them: `:named` parameters become `$1`, `$2`, …"""

from __future__ import annotations

import re
from typing import Mapping

from attrs import define, field

from ..statements import Statements
from .types import ColumnDecoder

_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")  # not the `::` of a cast


@define(eq=False)
class PreparedStatement:
    name: str
    text: bytes  # with `$n`
    parameter_names: tuple[str, ...] = ()  # the names of `$1`, `$2`, …
    # Known once it has returned rows.
    columns: tuple[tuple[str, ColumnDecoder], ...] | None = field(default=None, repr=False)


def to_prepared_statements(statements: Statements) -> Mapping[str, PreparedStatement]:
    return {name: _to_prepared_statement(name, text) for name, text in statements.items()} | {
        command.lower(): PreparedStatement(command.lower(), command.encode())
        for command in ("BEGIN", "COMMIT", "ROLLBACK")
    }


def _to_prepared_statement(name: str, text: str) -> PreparedStatement:
    params = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    numbered = _PARAMETER.sub(lambda match: f"${params.index(match[1]) + 1}", text)
    return PreparedStatement(name, numbered.encode(), params)
