"""How a worker is started: by twistd, with those of twistd's own options that are for it, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

from attrs import field, frozen

from ..lifecycle import StartupError
from .worker import WORKER_NUMBER_VARIABLE

# They would leave us without the right, or the way, to start a worker again.
UNSUPPORTED_TWISTD_OPTIONS = ("uid", "gid", "chroot")
FORWARDED_TWISTD_OPTIONS = ("reactor", "prefix", "logger")


@frozen
class WorkerCommand:
    arguments: Sequence[str]  # the first is the program
    environment: Mapping[str, str] = field(repr=False)  # may hold secrets


def check_twistd_options(twistd: Mapping[str, Any]) -> None:
    """Raises `StartupError` for what of `twistd`'s options can't be had with workers."""
    for option in UNSUPPORTED_TWISTD_OPTIONS:
        if twistd.get(option) is not None:
            raise StartupError(
                f"twistd's --{option} can't be had with workers: start it as the user that it is to be"
            )


def worker_command(twistd: Mapping[str, Any], number: int) -> WorkerCommand:
    """How worker `number` is started by a supervisor with the options `twistd` of its own."""
    words = [sys.executable, "-m", "multiproto.workers", "--nodaemon", "--pidfile="]
    words += [f"--{name}={twistd[name]}" for name in FORWARDED_TWISTD_OPTIONS if twistd.get(name)]
    if twistd.get("syslog"):
        words.append("--syslog")
    elif file := log_file(twistd):
        words.append(f"--logfile={_worker_log_path(Path(file).absolute(), number)}")
    return WorkerCommand((*words, "multiproto"), {**os.environ, WORKER_NUMBER_VARIABLE: str(number)})


def log_file(twistd: Mapping[str, Any]) -> str | None:
    """The file that twistd's options name for its log; `None` for standard output."""
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon", True) else "twistd.log")
    return None if name == "-" else str(name)


def _worker_log_path(path: Path, number: int) -> Path:
    """One file for each process: they could not agree on when to begin a new one."""
    return path.with_name(f"{path.stem}-worker{number}{path.suffix}")
