"""Contenders measured in turns, A B, B A, so that other load on the machine affects all alike."""

from __future__ import annotations

import argparse
import gc
import json
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

from attrs import Factory, asdict, define

from . import machine
from .contender import Contender, Missing
from .figures import Lap, Series, number, table
from .load import Wrong
from .peers import versions

WARM_UP = 3.0  # laps before any counts: as long as a compiler at run time is still at it

Run = Callable[[float], Lap]  # of so many seconds
Wish = tuple[Contender, Callable[[], Run]]  # a server, and what opens its connections once it runs


@define
class Contest:
    """The same work done by several; `missing` are those that could not take part, and why."""

    title: str
    unit: str  # what one operation is
    series: dict[str, Series] = Factory(dict)
    missing: dict[str, str] = Factory(dict)

    @property
    def ours(self) -> list[str]:
        return [name for name in self.series if name.startswith("multiproto")]

    def ratio(self, ours: str, name: str) -> float:
        """Of CPU for an operation: below 1, ours asks for less."""
        return self.series[ours].cpu / self.series[name].cpu

    def run(self, runs: dict[str, Run], rounds: int, seconds: float) -> Contest:
        for name, run in runs.items():
            run(seconds * WARM_UP)
            self.series[name] = Series()
        for round_ in range(rounds):
            # Whoever goes first follows a pause, or the last contest: that must not always be the same one.
            for name, run in list(runs.items())[:: -1 if round_ % 2 else 1]:
                gc.collect()
                self.series[name].rounds.append(run(seconds))
        return self

    def shown(self) -> str:
        ratios = [each.replace("multiproto", "ours") + " / it" for each in self.ours]
        heads = (
            "",
            f"CPU of one {self.unit}, µs",
            "least to most",
            *ratios,
            "/s",
            "p50, ms",
            "p99, ms",
            "busy %, server : generator",
        )
        rows: list[Sequence[object]] = []
        for name, series in self.series.items():
            laps = [each for each in series.rounds if isinstance(each, Lap)]
            costs = sorted(each.cpu for each in laps)
            against = [f"{self.ratio(each, name):.2f}" for each in self.ours]
            spent = f"{series.cpu:.2f}", f"{costs[0]:.2f}-{costs[-1]:.2f}"
            times = milliseconds(laps, "p50"), milliseconds(laps, "p99")
            rows.append((name, *spent, *against, number(series.rate), *times, busy(laps)))
        rows += [(name, why, *[""] * (len(heads) - 2)) for name, why in self.missing.items()]
        return table(heads, rows)


def costs(series: Series, laps: Sequence[Lap]) -> tuple[str, ...]:
    """CPU of an operation, operations a second, half and nearly all of the latencies."""
    return f"{series.cpu:.2f}", number(series.rate), milliseconds(laps, "p50"), milliseconds(laps, "p99")


def middle(laps: Sequence[Lap], name: str) -> float:
    ordered = sorted(getattr(each, name) for each in laps)
    return float(ordered[len(ordered) // 2])


def milliseconds(laps: Sequence[Lap], name: str) -> str:
    """Nothing where nobody waited for an answer to each."""
    return f"{middle(laps, name):.2f}" if middle(laps, "p50") else ""


def busy(laps: Sequence[Lap]) -> str:
    """How much of its core the server used, and the generator; by name, where that had no more to give in most laps."""
    said = f"{middle(laps, 'server') * 100:.0f} : {middle(laps, 'generator') * 100:.0f}"
    limited = sum(each.generator_is_limit for each in laps) * 2 > len(laps)
    return f"{said}, the generator is the limit" if limited else said


@contextmanager
def started(contenders: Iterable[Contender]) -> Iterator[tuple[list[Contender], dict[str, str]]]:
    """Those that run, and why the others don't."""
    there, missing = [], {}
    with ExitStack() as stack:
        for each in contenders:
            try:
                each.start()
            except Missing as why:
                missing[each.name] = str(why)
                continue
            stack.callback(each.stop)
            there.append(each)
        yield there, missing


def measured(
    area: str, description: str, measure: Callable[[int, float], Iterable[Any]], arguments: Sequence[str]
) -> None:
    """One area from the command line: every contest shown when it is done, all of them kept beside the code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog=f"python -m benchmarks.{area}", description=description
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each; medians are shown (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a lap (%(default)s)")
    parser.add_argument("--json", type=Path, default=Path(f"benchmarks/{area}.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # which ends the servers too
    machine.raise_open_files()
    machine.pin(machine.cores()[-1])
    begun = time.monotonic()
    found: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "rounds": options.rounds,
        "machine": machine.description(),
        "versions": versions(),
        "contests": [],
    }
    print(f"{json.dumps(found['machine'])}\n", flush=True)
    try:
        for contest in measure(options.rounds, options.seconds):
            shown = contest.shown()
            print(f"{contest.title}\n\n{shown}\n", flush=True)
            found["contests"].append({"table": shown, **asdict(contest)})
    except Wrong as wrong:
        sys.exit(f"nothing of this counts: {wrong}")
    found["load at the end"] = machine.description()["load"]
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{time.monotonic() - begun:.0f} s; every lap is in {options.json}")
