"""How a worker is started: by twistd, with those of twistd's own options that are for it, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

from attrs import field, frozen

from ..lifecycle import StartFailed
from .parent import NUMBER

# They would leave us without the right, or the way, to start a worker again.
FOREIGN = ("uid", "gid", "chroot")
PASSED_ON = ("reactor", "prefix", "logger")


@frozen
class Command:
    words: Sequence[str]  # the first is the program
    environment: Mapping[str, str] = field(repr=False)  # may hold secrets


def check(twistd: Mapping[str, Any]) -> None:
    """Raises `StartFailed` for what of `twistd`'s options can't be had with workers."""
    for option in FOREIGN:
        if twistd.get(option) is not None:
            raise StartFailed(
                f"twistd's --{option} can't be had with workers: start it as the user that it is to be"
            )


def command(twistd: Mapping[str, Any], number: int) -> Command:
    """How worker `number` is started by a supervisor with the options `twistd` of its own."""
    words = [sys.executable, "-m", "multiproto.workers", "--nodaemon", "--pidfile="]
    words += [f"--{name}={twistd[name]}" for name in PASSED_ON if twistd.get(name)]
    if twistd.get("syslog"):
        words.append("--syslog")
    elif file := log_file(twistd):
        words.append(f"--logfile={_numbered(Path(file).absolute(), number)}")
    return Command((*words, "multiproto"), {**os.environ, NUMBER: str(number)})


def log_file(twistd: Mapping[str, Any]) -> str | None:
    """The file that twistd's options name for its log; `None` for standard output."""
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon", True) else "twistd.log")
    return None if name == "-" else str(name)


def _numbered(path: Path, number: int) -> Path:
    """One file for each process: they could not agree on when to begin a new one."""
    return path.with_name(f"{path.stem}-worker{number}{path.suffix}")
