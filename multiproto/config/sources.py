"""The sources of settings: TOML file, `.env`, environment, flags and files of secrets.

Every source becomes a list of `RawSetting`, all as text; `parsers` turns the
text into a value, and `load` decides which source wins.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Iterable, Mapping, Sequence

from attrs import field, frozen

from ..base.byte_order_mark import BOM_PROBLEM, has_bom
from .parsers import Mistake, is_service_link

CONFIG_OPTION = "--config"  # what names the TOML file


@frozen
class RawSetting:
    """A setting as a source has it."""

    name: str  # in upper or lower case; may be unknown
    value: str = field(repr=False)  # may be a secret
    location: str  # where it was found, for people
    file: Path | None = None  # that it stands in, if it does
    keys: tuple[str, ...] | None = None  # of the table that it is in TOML
    # Where the tables of a list and their fields are, where that is known: (number from 1, field) -> location.
    entry_locations: Mapping[tuple[int, str | None], str] = field(factory=dict, repr=False)

    def problem(self, message: str) -> SettingProblem:
        return SettingProblem(self.name, self.location, message)

    def problem_of(self, mistake: Mistake) -> SettingProblem:
        """The problem of a part of the value."""
        if mistake.entry is None:
            return self.problem(mistake.message)
        name = f"{self.name} entry {mistake.entry}" + (f", {mistake.field}" if mistake.field else "")
        near = ((mistake.entry, mistake.field), (mistake.entry, None))
        location = next(
            (self.entry_locations[each] for each in near if each in self.entry_locations), self.location
        )
        return SettingProblem(name, location, mistake.message)


@frozen
class SettingProblem:
    """One thing that is wrong, as one line for people."""

    name: str
    location: str
    message: str

    def __str__(self) -> str:
        return f"{self.name} ({self.location}) {self.message}"


class UnreadableSource(Exception):
    """A source, or some of it, can't be read; `problems` say why, and `readable` is what can be."""

    def __init__(self, *problems: SettingProblem, readable: Sequence[RawSetting] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems, self.readable = problems, readable


def from_environment(environ: Mapping[str, str]) -> list[RawSetting]:
    """The variables that are not empty: `NAME=${NAME:-}` gives an empty one for an unset one."""
    return [
        RawSetting(name, value, "environment")
        for name, value in environ.items()
        if value and not _is_unused_service_link(name, value, environ)
    ]


def _is_unused_service_link(name: str, value: str, environ: Mapping[str, str]) -> bool:
    """Whether Kubernetes has set it, for a service `db` or `redis` that is not reached by its port, or for any other.

    A service `tcp` or `metrics` says nothing of where this server is to listen, nor does TCPS_PORT resemble a setting.
    """
    if not (name.endswith("PORT") and is_service_link(value)):
        return False
    return name not in ("DB_PORT", "REDIS_PORT") or not environ.get(name.replace("PORT", "HOST"))


def from_flags(flags: Mapping[str, str]) -> list[RawSetting]:
    return [RawSetting(name, value, "flag") for name, value in flags.items()]


_DOTENV_LINE = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
        (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^#]*?(?:\#\S[^#]*?)*))\s*(?:\s\#.*|\#)?""",
    re.VERBOSE,
)


def from_dotenv(path: Path) -> list[RawSetting]:
    """`NAME=value` lines; values may be quoted, comments begin with ` #`.  A missing file gives nothing."""
    found, problems = [], []
    for number, line in enumerate(_read_text(path, "file").splitlines() if path.exists() else (), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _DOTENV_LINE.fullmatch(line)
        origin = f"{path.name}:{number}"
        if match is None:
            problems.append(SettingProblem("line", origin, "must be NAME=value"))
        elif value := match["double"] or match["single"] or match["bare"]:
            found.append(RawSetting(match["name"], value, origin, path))
    if problems:
        raise UnreadableSource(*problems, readable=found)
    return found


def from_toml(path: Path) -> list[RawSetting]:
    """The keys of a TOML file; lists become text with commas, tables and lists of them JSON."""
    content = _read_text(path, CONFIG_OPTION)
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableSource(_toml_problem(path, content.splitlines(), str(error))) from None
    lines = content.splitlines()
    found = []
    for key, value in table.items():
        line = next(
            (n for n, line in enumerate(lines, 1) if _key_of(line) == key or _header_of(line, key)), 1
        )
        found.append(
            RawSetting(
                key,
                _as_text(value),
                f"{path}:{line}",
                path,
                tuple(value) if isinstance(value, dict) else None,
                {entry: f"{path}:{line}" for entry, line in _entry_lines(lines, key)},
            )
        )
    return found


def _key_of(line: str) -> str | None:
    """The key that begins in a line of TOML; `None` for lines of another kind."""
    found = re.match(r"""\s*(["']?)([\w-]+)\1\s*=""", line)
    return found[2] if found else None


def _header_of(line: str, key: str) -> bool:
    """Whether the line begins a table `key`, or one in it, or one of a list."""
    return re.match(rf"""\s*\[\[?\s*["']?{re.escape(key)}["']?\s*[\].]""", line) is not None


def _entry_lines(lines: Iterable[str], key: str) -> Iterable[tuple[tuple[int, str | None], int]]:
    """The lines on which the tables `[[key]]` and their fields begin: ((number from 1, field), line)."""
    entry, inside = 0, False
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("["):
            inside = _header_of(line, key)
            entry += inside
            if inside:
                yield (entry, None), number
        elif inside and (field_name := _key_of(line)) is not None:
            yield (entry, field_name), number


def _toml_problem(path: Path, lines: list[str], message: str) -> SettingProblem:
    """What the parser says; with the name, where a key is there twice in one table."""
    where = re.search(r"at line ([0-9]+)", message)
    number = int(where[1]) if where else len(lines)
    key = _key_of(lines[number - 1]) if number else None
    if key is not None and message.startswith("Cannot overwrite"):
        for before in range(number - 1, 0, -1):
            if _key_of(lines[before - 1]) == key:
                return SettingProblem(key, f"{path}:{number}", f"is there twice: it is in line {before}, too")
    return SettingProblem(CONFIG_OPTION, str(path), f"is no TOML: {message}")


def _as_text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case [dict(), *_] | dict():
            return json.dumps(value, default=str)
        case list():
            return ",".join(map(_as_text, value))
    return str(value)


def _read_text(path: Path, named_by: RawSetting | str) -> str:
    """The content of a file that a setting has named, or that has a name for people."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        why = error.strerror
    except ValueError:  # it is no UTF-8, or the name holds a NUL
        why = "it is not UTF-8"
    else:
        if not has_bom(text.encode()):
            return text
        why = f"it {BOM_PROBLEM}"
    if isinstance(named_by, str):
        raise UnreadableSource(SettingProblem(named_by, str(path), f"can't be read: {why}"))
    shown = str(path) if path.is_absolute() else "a relative path (not shown: it may be the secret itself)"
    raise UnreadableSource(named_by.problem(f"names {shown}, which can't be read: {why}"))


def from_secret_file(given: RawSetting) -> RawSetting:
    """The setting `NAME`, from the file that `NAME_FILE` names."""
    file = Path(given.value)
    content = _read_text(file, given).strip()
    return RawSetting(given.name[: -len("_FILE")], content, f"{file}, by {given.location}", file)
