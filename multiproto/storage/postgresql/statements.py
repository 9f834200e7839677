"""The named statements as PostgreSQL prepares them: `:named` parameters become `$1`, `$2`, …"""

from __future__ import annotations

import re
from typing import Mapping

from attrs import define, field

from ..statements import Statements
from .values import Decode

_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")  # not the `::` of a cast


@define(eq=False)
class Statement:
    name: str
    text: bytes  # with `$n`
    params: tuple[str, ...] = ()  # the names of `$1`, `$2`, …
    columns: tuple[tuple[str, Decode], ...] | None = field(default=None, repr=False)  # once it gave rows


def prepared(statements: Statements) -> Mapping[str, Statement]:
    return {name: _prepared(name, text) for name, text in statements.items()} | {
        command.lower(): Statement(command.lower(), command.encode())
        for command in ("BEGIN", "COMMIT", "ROLLBACK")
    }


def _prepared(name: str, text: str) -> Statement:
    params = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    numbered = _PARAMETER.sub(lambda match: f"${params.index(match[1]) + 1}", text)
    return Statement(name, numbered.encode(), params)
