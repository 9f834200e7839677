"""The machine under the figures: which cores, what a process has used, and what else was going on."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Iterator

PROC = Path("/proc")
RAISED = 65536  # open files that 10,000 connections want, at both ends and with room


@cache
def cores() -> list[int]:
    """Those that were ours before we chose one: the first for the servers, the last for the generator."""
    return sorted(os.sched_getaffinity(0))


def both() -> list[int]:
    """The servers' core and the generator's; one where there is no other."""
    return sorted({cores()[0], cores()[-1]})


def pin(*cores: int) -> None:
    """This process and all it will start."""
    os.sched_setaffinity(0, cores)


def idle_seconds() -> float:
    """How long `both` have had nothing to do since the machine started; to a hundredth for each."""
    names = {f"cpu{core}" for core in both()}
    found = [line.split() for line in _lines("/proc/stat")]
    ticks = sum(int(words[4]) + int(words[5]) for words in found if words[0] in names)
    return ticks / os.sysconf("SC_CLK_TCK")


def raise_open_files() -> int:
    """How many this process, and what it will start, may have open from now on."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(hard, RAISED), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (OSError, ValueError):  # only root may go above the hard limit
            continue
        return wanted
    return soft


def family(pid: int) -> Iterator[int]:
    """A process and all that came of it: servers fork workers."""
    yield pid
    for task in (PROC / str(pid) / "task").glob("*"):
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """What a process and its children have computed, all threads, user and system.

    From schedstat, which counts nanoseconds; utime and stime count hundredths of
    a second, too coarse for one round.  A thread that has ended is no longer in it.
    """
    spent = 0
    for each in family(pid):
        for task in (PROC / str(each) / "task").glob("*"):
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def private_kib(pid: int) -> int:
    """Anonymous memory of a process and its children: theirs alone, and no file's."""
    found = 0
    for each in family(pid):
        for line in (PROC / str(each) / "status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                found += int(line.split()[1])
    return found


def description() -> dict[str, Any]:
    """What a figure is worth nothing without."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": len(cores()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "node": _said("node", "--version"),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "changed": bool(_said("git", "status", "--porcelain", "--untracked-files=no", "multiproto", "sql")),
        "load": os.getloadavg()[0],  # runnable processes of the last minute
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except OSError:
        return ""
