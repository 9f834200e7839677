"""`python -m tests.run [--coverage] [--jobs N] TESTS`: trial, with one plain line at the end that counts.

A secret of `tests.canary` in anything that is said, the output of the run included, fails it.

With `--jobs` the modules are dealt out to so many processes, which say what they did one after the other.
With `--coverage` the branches of the package that these tests take are measured,
and too few of them fail the run.  What a `twistd` of theirs does is not counted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterable

from . import canary

ROOT = Path(__file__).parent.parent


def main(arguments: list[str]) -> int:
    parser = ArgumentParser("python -m tests.run")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("tests", nargs="+")
    options = parser.parse_args(arguments)
    if options.coverage:
        subprocess.run([sys.executable, "-m", "coverage", "erase"], cwd=ROOT, check=True)
    temporary = Path(tempfile.mkdtemp(prefix="trial-"))  # several runs may go on at once
    runs: list[subprocess.Popen[str]] = []
    try:
        for share in dealt(options.tests, options.jobs):
            runs.append(started(share, temporary / str(len(runs)), options.coverage))
        with ThreadPoolExecutor() as pool:
            first, *others = (run.stdout or () for run in runs)
            waiting = [pool.submit(list, other) for other in others]
            heard = [follow(first), *(follow(other.result()) for other in waiting)]
        told = sum(secrets for secrets, _ in heard) + sum(map(told_in_file, temporary.rglob("*.log")))
        status = int(told > 0 or any(run.wait() for run in runs))
    finally:
        for run in runs:
            run.terminate()
        shutil.rmtree(temporary, ignore_errors=True)
    if options.coverage:
        subprocess.run([sys.executable, "-m", "coverage", "combine", "--quiet"], cwd=ROOT, check=True)
        report = subprocess.run([sys.executable, "-m", "coverage", "report"], cwd=ROOT)
        status = status or report.returncode
    print(summary(last for _, last in heard))
    return status


def dealt(tests: list[str], hands: int) -> list[list[str]]:
    """`tests`, packages among them taken apart, to each of `hands`; to one as they are."""
    if hands == 1:
        return [tests]
    modules = [module for test in tests for module in modules_of(test)]
    return [modules[hand::hands] for hand in range(min(hands, len(modules)))]


def modules_of(test: str) -> list[str]:
    """Those of a package, else what was named itself."""
    files = sorted((ROOT / test.replace(".", "/")).rglob("test_*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files] or [test]


def started(tests: list[str], temporary: Path, coverage: bool) -> subprocess.Popen[str]:
    measured = ["-m", "coverage", "run"] if coverage else []
    watched = ["-m", "tests.watched", "--temp-directory", str(temporary)]
    return subprocess.Popen(
        [sys.executable, *measured, *watched, *tests],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def follow(lines: Iterable[str]) -> tuple[int, str]:
    """Show them; (how many have a secret, trial's own count)."""
    told, last = 0, ""
    for line in lines:
        told += told_in(line)
        print(canary.masked(line), end="", flush=True)
        last = line.strip() if line.startswith(("PASSED", "FAILED")) else last
    return told, last


def told_in(line: str) -> bool:
    """Whether a line of the output has a secret."""
    return canary.masked(line) != line


def told_in_file(path: Path) -> bool:
    """Whether a log that was left has one: trial's, with all that was logged here, or a server's own."""
    lines = filter(told_in, path.read_text(errors="replace").splitlines())
    found = [f"A SECRET WAS TOLD: {path.name}: {canary.masked(line)}" for line in lines]
    print("\n".join(found), end="\n" if found else "", flush=True)
    return bool(found)


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
