"""What one row of the table of settings says."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from . import kinds
from .kinds import Kind

SAME = object()  # as in development


@frozen
class Setting:
    """One row of the table."""

    name: str  # in the environment; lower-case in the TOML file
    kind: Kind
    meaning: str
    production: Any = SAME  # default there
    follows: str | None = None  # the setting whose value is taken while this is unset
    also: str | None = None  # another name in the environment, of less weight

    @property
    def secret(self) -> bool:
        return self.kind in kinds.SECRETS


def setting(name: str, kind: Kind, default: Any, meaning: str, **more: Any) -> Any:
    row = Setting(name, kind, meaning, **more)
    return field(default=default, metadata={"setting": row}, repr=not row.secret)
