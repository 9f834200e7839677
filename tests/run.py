"""`python -m tests.run [--coverage] [--jobs N] TESTS`: trial, with one plain line at the end that counts.

A secret of `tests.canary` in anything that is printed or logged, the output of the run included, fails it.

With `--jobs` the modules are dealt out to so many processes, by how long each took last time; each process prints
what it did when it is done.  Each has to import everything, so there are no more of them than run at once.
With `--coverage` the branches of the package that these tests take are measured,
and too few of them fail the run.  What a `twistd` of theirs does is not counted.

All files of a run are in a temporary directory of its own, so that several may go on at once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Iterable, Mapping

from . import canary
from .command_line import make_parser
from .watched import SECONDS

ROOT = Path(__file__).parent.parent
DURATIONS = ROOT / ".test-seconds.json"  # by module, of the last run of each
LEAST_SECONDS = 0.05  # that a module counts, however quick it was
SLOWEST = 10  # modules that are named at the end


def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--coverage", action="store_true", help="measure it, and fail below its threshold")
    parser.add_argument("--jobs", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("tests", nargs="+", metavar="TESTS", help="packages or modules")
    options = parser.parse_args(arguments)
    temporary = Path(tempfile.mkdtemp(prefix="trial-"))
    try:
        return Run(temporary, options.coverage, options.jobs).all(options.tests)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class Run:
    def __init__(self, temporary: Path, coverage: bool, jobs: int) -> None:
        self._temporary = temporary
        self._coverage = coverage
        self._jobs = jobs
        self._environment = {**os.environ, "COVERAGE_FILE": str(temporary / "coverage")}
        self._running: set[subprocess.Popen[str]] = set()

    def all(self, tests: list[str]) -> int:
        """The status for the process."""
        shares = dealt(tests, self._jobs, known_durations())
        try:
            with ThreadPoolExecutor(self._jobs) as pool:
                if self._jobs == 1:
                    done = [self._follow(0, shares[0])]
                else:
                    done = [printed(*each) for each in pool.map(self._collect, range(len(shares)), shares)]
        finally:
            for process in list(self._running):
                process.terminate()
        secrets = sum(secrets for _, secrets, _ in done)
        secrets += sum(map(secrets_in_file, self._temporary.rglob("*.log")))
        status = int(secrets > 0 or any(status for status, _, _ in done))
        if self._coverage:
            status = self._report_coverage() or status
        seconds = seconds_in(self._temporary.glob("*.seconds"))
        remember(seconds)
        print(slowest(seconds))
        print(summary(last for _, _, last in done))
        return status

    def _follow(self, number: int, tests: list[str]) -> tuple[int, int, str]:
        """Run `tests` and show what they print meanwhile; see `printed`."""
        process = self._start(number, tests)
        secrets, last = follow(process.stdout or ())
        return process.wait(), secrets, last

    def _collect(self, number: int, tests: list[str]) -> tuple[int, list[str]]:
        """Status and output of `tests`."""
        process = self._start(number, tests)
        lines = list(process.stdout or ())
        return process.wait(), lines

    def _start(self, number: int, tests: list[str]) -> subprocess.Popen[str]:
        measured = ["-m", "coverage", "run"] if self._coverage else []
        watched = [
            "-m",
            "tests.watched",
            "--rterrors",
            "--temp-directory",
            str(self._temporary / str(number)),
        ]
        process = subprocess.Popen(
            [sys.executable, *measured, *watched, *tests],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**self._environment, SECONDS: str(self._temporary / f"{number}.seconds")},
        )
        self._running.add(process)
        return process

    def _report_coverage(self) -> int:
        coverage = partial(subprocess.run, cwd=ROOT, env=self._environment)
        coverage([sys.executable, "-m", "coverage", "combine", "--quiet"], check=True)
        return int(coverage([sys.executable, "-m", "coverage", "report"]).returncode)


def dealt(tests: list[str], jobs: int, known: Mapping[str, float]) -> list[list[str]]:
    """`tests`, packages among them taken apart, in shares for `jobs` processes; for one as they are.

    The longest go first, each to the process that has least to do; `known` are seconds by module.
    """
    if jobs == 1:
        return [tests]
    modules = [module for test in tests for module in modules_of(test)]
    shares: list[list[str]] = [[] for _ in range(min(jobs, len(modules)))]
    loads = [0.0] * len(shares)
    for module in sorted(modules, key=lambda module: -known.get(module, 0.0)):
        least = loads.index(min(loads))
        shares[least].append(module)
        loads[least] += known.get(module, 0.0) + LEAST_SECONDS
    return shares


def known_durations() -> dict[str, float]:
    """What the last runs took; nothing is known in a new checkout."""
    try:
        durations: dict[str, float] = json.loads(DURATIONS.read_text())
    except (OSError, ValueError):
        return {}
    return durations


def remember(seconds: Mapping[str, float]) -> None:
    DURATIONS.write_text(json.dumps(known_durations() | dict(seconds), indent=1, sort_keys=True))


def seconds_in(files: Iterable[Path]) -> Counter[str]:
    """How long each module took, from what the processes wrote down."""
    seconds = Counter[str]()
    for file in files:
        seconds.update(json.loads(file.read_text()))
    return seconds


def modules_of(test: str) -> list[str]:
    """Those of a package, else what was named itself."""
    files = sorted((ROOT / test.replace(".", "/")).rglob("test_*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files] or [test]


def printed(status: int, lines: list[str]) -> tuple[int, int, str]:
    """Show the `lines`; (status, how many have a secret, trial's own count)."""
    return (status, *follow(lines))


def follow(lines: Iterable[str]) -> tuple[int, str]:
    """Show them; (how many have a secret, trial's own count)."""
    secrets, last = 0, ""
    for line in lines:
        secrets += has_secret(line)
        print(canary.masked(line), end="", flush=True)
        last = line.strip() if line.startswith(("PASSED", "FAILED")) else last
    return secrets, last


def has_secret(line: str) -> bool:
    """Whether a line of the output has a secret."""
    return canary.masked(line) != line


def secrets_in_file(path: Path) -> bool:
    """Whether a log that was left has one: trial's, with all that was logged here, or a server's own."""
    lines = filter(has_secret, path.read_text(errors="replace").splitlines())
    found = [f"A SECRET WAS TOLD: {path.name}: {canary.masked(line)}" for line in lines]
    print("\n".join(found), end="\n" if found else "", flush=True)
    return bool(found)


def slowest(seconds: Counter[str]) -> str:
    """The modules that took longest, in a line."""
    named = [f"{module.removeprefix('tests.')} {took:.0f}" for module, took in seconds.most_common(SLOWEST)]
    return f"slowest, in seconds: {', '.join(named)}"


def summary(last: Iterable[str]) -> str:
    """What trial's last lines say, e.g. "FAILED (failures=1, skips=2, successes=7)", in plain words."""
    counts = Counter[str]()
    for line in last:
        counts.update({word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", line)})
    passed = counts["successes"] + counts["expectedFailures"]
    failed = counts["failures"] + counts["errors"] + counts["unexpectedSuccesses"]
    skipped = f", {counts['skips']} skipped" if counts["skips"] else ""
    return f"{passed} passed, {failed} failed{skipped}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
