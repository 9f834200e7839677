"""The options of the command line that set settings, the same for the server and for what looks at its configuration."""

from __future__ import annotations

import getopt
import re
import sys
from pathlib import Path
from typing import Sequence

from twisted.python import usage

import twisted

from .. import __version__
from ..base.spelling import nearest

# flag -> the setting that it sets
SETTING_BY_FLAG = {
    "env": "APP_ENV",
    "host": "HOST",
    "port": "PORT",
    "tcp-host": "TCP_HOST",
    "tcp-port": "TCP_PORT",
    "metrics-port": "METRICS_PORT",
    "workers": "WORKERS",
    "data-dir": "DATA_DIR",
    "log-level": "LOG_LEVEL",
}

SINGLE = {"config", *SETTING_BY_FLAG}  # flags of which one may be given


class SettingOptions(usage.Options):
    """Flags for the settings that one needs first, and `--set` for any."""

    synopsis = "[options]"

    optParameters = [
        ["config", "c", None, "TOML file with settings"],
        ["env", "e", None, "development, test or production"],
        ["host", None, None, "address to listen on [127.0.0.1; in production 0.0.0.0]"],
        ["port", "p", None, "port of HTTP, WebSocket and GraphQL [3000]"],
        ["tcp-host", None, None, "address of framed TCP [as --host]"],
        ["tcp-port", "t", None, "port of framed TCP [3001]"],
        ["metrics-port", "m", None, "port of metrics and health [9090]"],
        [
            "workers",
            "w",
            None,
            "processes on the same ports; each has a metrics port, one after the other [1]",
        ],
        ["data-dir", "d", None, "directory of the embedded database [./data]"],
        ["log-level", "l", None, "debug, info, warn, error or critical [info]"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.assignments: dict[str, str] = {}

    @property
    def file(self) -> Path | None:
        """The TOML file."""
        return Path(self["config"]) if self["config"] else None

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Raises `UsageError`, for an unknown or abbreviated option with the nearest one, and for one that is given twice."""
        try:
            self._check_names(sys.argv[1:] if options is None else options)
            super().parseOptions(options)
        except usage.UsageError as bad:
            unknown = re.fullmatch(r"option (--\S+) not recognized", str(bad))
            if unknown is None:
                raise
            names = [f"--{name.rstrip('=')}" for name in self.longOpt]
            near = [name for name in names if name.startswith(unknown[1])] or [nearest(unknown[1], names)]
            raise usage.UsageError(f"{unknown[1]} is no option; the nearest is {near[0]}") from None

    def _check_names(self, words: Sequence[str]) -> None:
        """Refuse what the parent would take: abbreviations, and the last of several.  Raises `UsageError`."""
        try:
            pairs, _ = getopt.getopt(list(words), self.shortOpt, self.longOpt)
        except getopt.GetoptError:
            return  # the parent says so
        names = [self.synonyms[option.lstrip("-")] for option, _ in pairs]
        for name in names:
            if name in SINGLE and names.count(name) > 1:
                raise usage.UsageError(f"--{name} is given twice")
        for word in words:
            given = word.partition("=")[0]
            if given[:2] == "--" and given not in ("--", *(f"--{name}" for name in self.synonyms)):
                raise usage.UsageError(f"option {given} not recognized")

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError("no word stands without an option: a setting is given as --set NAME=VALUE")

    def opt_version(self) -> None:
        """Display the version, and exit."""
        print(f"multiproto {__version__}, Twisted {twisted.__version__}")
        raise SystemExit(0)

    def opt_set(self, assignment: str) -> None:
        """NAME=VALUE: any setting; may be given several times"""
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise usage.UsageError("--set must be followed by NAME=VALUE")
        if name.upper() in self.assignments:
            raise usage.UsageError(f"--set {name.upper()}= is given twice")
        self.assignments[name.upper()] = value

    def postOptions(self) -> None:
        for flag, name in SETTING_BY_FLAG.items():
            if self[flag] is not None and name in self.assignments:
                raise usage.UsageError(f"--{flag} and --set {name}= are one setting: give one of the two")

    def flag_settings(self) -> dict[str, str]:
        """The texts that flags and `--set` give, by the settings' names."""
        return self.assignments | {
            name: self[flag] for flag, name in SETTING_BY_FLAG.items() if self[flag] is not None
        }
