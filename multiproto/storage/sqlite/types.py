"""Values as parameters of SQLite's statements."""

from __future__ import annotations

from typing import Mapping

from ...base import strict_json


def encode_parameters(params: Mapping[str, object]) -> dict[str, object]:
    """`params` with lists (for `json_each`) and objects as JSON text."""
    return {
        name: strict_json.dumps(value).decode() if isinstance(value, (list, tuple, dict)) else value
        for name, value in params.items()
    }
