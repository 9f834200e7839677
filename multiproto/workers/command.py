"""The command that starts a worker: twistd, with the supervisor's own twistd options where they apply."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

from attrs import field, frozen

from ..lifecycle import StartupError
from .worker import WORKER_NUMBER_VARIABLE

# With these the supervisor would lose the rights, or the files, to start a worker again.
UNSUPPORTED_TWISTD_OPTIONS = ("uid", "gid", "chroot")
FORWARDED_TWISTD_OPTIONS = ("reactor", "prefix", "logger")


@frozen
class WorkerCommand:
    """How a process is started."""

    arguments: Sequence[str]  # the first is the path of the program
    environment: Mapping[str, str] = field(repr=False)  # may hold secrets


def check_twistd_options(twistd: Mapping[str, Any]) -> None:
    """Raises `StartupError` for options of twistd that can't be used with workers."""
    for option in UNSUPPORTED_TWISTD_OPTIONS:
        if twistd.get(option) is not None:
            raise StartupError(
                f"twistd's --{option} can't be had with workers: start it as the user that it is to be"
            )


def worker_command(twistd: Mapping[str, Any], number: int) -> WorkerCommand:
    """The command of worker `number`, of a supervisor that was started with the options `twistd`."""
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
    """A log file for each process: they could not rotate a common one."""
    return path.with_name(f"{path.stem}-worker{number}{path.suffix}")
