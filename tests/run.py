"""`python -m tests.run [--coverage] TESTS`: trial, with one plain line at the end that counts.

A secret of `tests.canary` in anything that is said, the output of the run included, fails it.

With `--coverage` the branches of the package that these tests take are measured,
and too few of them fail the run.  What a `twistd` of theirs does is not counted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import canary

ROOT = Path(__file__).parent.parent


def main(arguments: list[str]) -> int:
    coverage = "--coverage" in arguments
    tests = [argument for argument in arguments if argument != "--coverage"]
    measured = ["-m", "coverage", "run"] if coverage else []
    temporary = tempfile.mkdtemp(prefix="trial-")  # several runs may go on at once
    command = [
        sys.executable,
        *measured,
        "-m",
        "tests.watched",
        "--temp-directory",
        f"{temporary}/trial",
        *tests,
    ]
    if coverage:
        subprocess.run([sys.executable, "-m", "coverage", "erase"], cwd=ROOT, check=True)
    try:
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, **both, text=True, cwd=ROOT) as trial:
            assert trial.stdout is not None
            last, told = "", 0
            for line in trial.stdout:
                told += told_in(line)
                print(canary.masked(line), end="", flush=True)
                last = line.strip() if line.startswith(("PASSED", "FAILED")) else last
        told += sum(map(told_in_file, Path(temporary).rglob("*.log")))
        status = trial.returncode or int(told > 0)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if coverage:
        subprocess.run([sys.executable, "-m", "coverage", "combine", "--quiet"], cwd=ROOT, check=True)
        report = subprocess.run([sys.executable, "-m", "coverage", "report"], cwd=ROOT)
        status = status or report.returncode
    print(summary(last))
    return status


def told_in(line: str) -> bool:
    """Whether a line of the output has a secret."""
    return canary.masked(line) != line


def told_in_file(path: Path) -> bool:
    """Whether a log that was left has one: trial's, with all that was logged here, or a server's own."""
    lines = filter(told_in, path.read_text(errors="replace").splitlines())
    found = [f"A SECRET WAS TOLD: {path.name}: {canary.masked(line)}" for line in lines]
    print("\n".join(found), end="\n" if found else "", flush=True)
    return bool(found)


def summary(last: str) -> str:
    """What trial's last line says, e.g. "FAILED (failures=1, skips=2, successes=7)", in plain words."""
    counts = {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", last)}
    passed = counts.get("successes", 0) + counts.get("expectedFailures", 0)
    failed = counts.get("failures", 0) + counts.get("errors", 0) + counts.get("unexpectedSuccesses", 0)
    skipped = f", {counts['skips']} skipped" if counts.get("skips") else ""
    return f"{passed} passed, {failed} failed{skipped}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
