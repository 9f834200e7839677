"""Finds the SQL files of an engine and reads the named statements in them.

A file of `sql/<engine>/queries` holds any number of

    -- name: user_by_id
    -- What it gives or does, in one or more comment lines.
    SELECT ... ;

each of one statement.  A file may begin with comments of its own.

A page of a list has a twin that is read in the other direction, from the same rows
with the same rights, so it is not written twice: a line `-- mirror: NAME` below the
name gives the statement with `>` for `<` before `:bound`, and ASC for DESC.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping

_NAME_LINE = re.compile(r"^-- name: (.*)$", re.MULTILINE)
_MIRROR_LINE = re.compile(r"^\n-- mirror: (.*)$", re.MULTILINE)

Statements = Mapping[str, str]  # name -> SQL with `:named` parameters

_PACKAGE = Path(__file__).parent.parent


class BadStatementFile(ValueError):
    """A file of statements is malformed: a bug of ours."""


def sql_directory(engine: str, package: Path = _PACKAGE) -> Path:
    """The directory with the SQL of `engine`: inside an installed `package`, or beside it in a checkout."""
    inside = package / "sql" / engine
    return inside if inside.is_dir() else package.parent / "sql" / engine


def load_statements(directory: Path) -> Statements:
    """All statements in the files of `directory`; a name must be unique among them."""
    found: dict[str, str] = {}
    for path in sorted(directory.glob("*.sql")):
        for name, text in parse_statements(path.read_text("utf-8"), path.name).items():
            if name in found:
                raise BadStatementFile(f"{path.name}: {name} has been named before")
            found[name] = text
    return found


def parse_statements(text: str, origin: str) -> Statements:
    """The statements of one file.  Raises `BadStatementFile`, naming `origin`."""
    opening, *parts = _NAME_LINE.split(text)
    if _strip_comments(opening):
        raise BadStatementFile(f"{origin}: a statement before the first name")
    found: dict[str, str] = {}

    def add(name: str, statement: str) -> None:
        if not name.isidentifier() or name in found:
            raise BadStatementFile(f"{origin}: {name!r} is no name, or has been named before")
        found[name] = statement

    for name, part in zip(parts[::2], parts[1::2]):
        mirror = _MIRROR_LINE.match(part)
        part = part[mirror.end() :] if mirror else part
        if not part.lstrip().startswith("-- "):
            raise BadStatementFile(f"{origin}: {name} says nothing of its meaning")
        statement = _strip_comments(part)
        if statement.count(";") != 1 or not statement.endswith(";"):
            raise BadStatementFile(f"{origin}: {name} is not one statement ended by a semicolon")
        add(name, statement)
        if mirror:
            add(mirror[1], _mirror(statement))
            if found[mirror[1]] == statement:
                raise BadStatementFile(f"{origin}: {name} has no < :bound and no DESC to mirror")
    return found


def _mirror(statement: str) -> str:
    """The same list from the other end."""
    return statement.replace("< :bound", "> :bound").replace(" DESC", " ASC")


def _strip_comments(text: str) -> str:
    """`text` without lines that are only comments; comments after code stay."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
