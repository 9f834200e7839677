"""The sources of settings: TOML file, `.env`, environment, flags and files of secrets.

Every source becomes a list of `RawSetting`, all as text; `parsers` turns the
text into a value, and `load` decides which source wins.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Mapping

from attrs import field, frozen


@frozen
class RawSetting:
    """A setting as a source has it."""

    name: str  # in upper or lower case; may be unknown
    value: str = field(repr=False)  # may be a secret
    location: str  # where it was found, for people


@frozen
class SettingProblem:
    """One thing that is wrong, as one line for people."""

    name: str
    location: str
    message: str

    def __str__(self) -> str:
        return f"{self.name} ({self.location}) {self.message}"


class UnreadableSource(Exception):
    """A source can't be read; `problem` says why."""

    def __init__(self, problem: SettingProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def from_environment(environ: Mapping[str, str]) -> list[RawSetting]:
    """The variables that are not empty: `NAME=${NAME:-}` gives an empty one for an unset one."""
    return [RawSetting(name, value, "environment") for name, value in environ.items() if value]


def from_flags(flags: Mapping[str, str]) -> list[RawSetting]:
    return [RawSetting(name, value, "flag") for name, value in flags.items()]


_DOTENV_LINE = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
        (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^#]*?(?:\#\S[^#]*?)*))\s*(?:\s\#.*|\#)?""",
    re.VERBOSE,
)


def from_dotenv(path: Path) -> list[RawSetting]:
    """`NAME=value` lines; values may be quoted, comments begin with ` #`.  A missing file gives nothing."""
    found = []
    for number, line in enumerate(_read_text(path).splitlines() if path.exists() else (), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _DOTENV_LINE.fullmatch(line)
        origin = f"{path.name}:{number}"
        if match is None:
            raise UnreadableSource(SettingProblem("line", origin, "must be NAME=value"))
        value = match["double"] or match["single"] or match["bare"]
        if value:
            found.append(RawSetting(match["name"], value, origin))
    return found


def from_toml(path: Path) -> list[RawSetting]:
    """The keys of a TOML file; lists become text with commas, lists of tables become JSON."""
    content = _read_text(path)
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableSource(SettingProblem("file", str(path), f"is no TOML: {error}")) from None
    found = []
    for key, value in table.items():
        line = re.search(rf"^\s*[\"']?{re.escape(key)}[\"']?\s*=|^\s*\[+\s*{re.escape(key)}\b", content, re.M)
        number = content.count("\n", 0, line.end()) + 1 if line else 1
        found.append(RawSetting(key, _as_text(value), f"{path}:{number}"))
    return found


def _as_text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case [dict(), *_]:
            return json.dumps(value, default=str)
        case list():
            return ",".join(map(_as_text, value))
    return str(value)


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UnreadableSource(SettingProblem("file", str(path), f"can't be read: {why}")) from None


def from_secret_file(given: RawSetting) -> RawSetting:
    """The setting `NAME`, from the file that `NAME_FILE` names."""
    content = _read_text(Path(given.value)).strip()
    return RawSetting(given.name[: -len("_FILE")], content, f"{given.value}, by {given.location}")
