"""What a stored value must look like, whatever the engine, for `python -m multiproto check-data`."""

from __future__ import annotations

from typing import Iterator, Mapping

from attrs import define

from ..base import strict_json

# By table, the columns whose texts are JSON.
JSON_COLUMNS: Mapping[str, frozenset[str]] = {
    "events": frozenset(("topics", "content", "metadata")),
    "audit": frozenset(("details",)),
}


@define(eq=False, repr=False)
class RowsRead:
    """How much has been read so far."""

    tables: int = 0
    rows: int = 0


def row_problems(table: str, name: object, row: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with `row`, which operators find by `name`; nothing of what is in it."""
    for column, value in row.items():
        try:
            text = value.decode() if isinstance(value, bytes) else value
            if isinstance(text, str) and column in JSON_COLUMNS.get(table, ()):
                strict_json.loads_trusted(text)
        except UnicodeDecodeError:
            yield f"{table}, row {name}: {column} is not UTF-8"
        except ValueError:
            yield f"{table}, row {name}: {column} is no JSON"
