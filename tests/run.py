"""`python -m tests.run [--coverage] TESTS`: trial, with one plain line at the end that counts.

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
        "twisted.trial",
        "--temp-directory",
        f"{temporary}/trial",
        *tests,
    ]
    if coverage:
        subprocess.run([sys.executable, "-m", "coverage", "erase"], cwd=ROOT, check=True)
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as trial:
            assert trial.stdout is not None
            last = ""
            for line in trial.stdout:
                print(line, end="", flush=True)
                last = line.strip() or last
        status = trial.returncode
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if coverage:
        subprocess.run([sys.executable, "-m", "coverage", "combine", "--quiet"], cwd=ROOT, check=True)
        report = subprocess.run([sys.executable, "-m", "coverage", "report"], cwd=ROOT)
        status = status or report.returncode
    print(summary(last))
    return status


def summary(last: str) -> str:
    """What trial's last line says, e.g. "FAILED (failures=1, skips=2, successes=7)", in plain words."""
    counts = {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", last)}
    passed = counts.get("successes", 0) + counts.get("expectedFailures", 0)
    failed = counts.get("failures", 0) + counts.get("errors", 0) + counts.get("unexpectedSuccesses", 0)
    skipped = f", {counts['skips']} skipped" if counts.get("skips") else ""
    return f"{passed} passed, {failed} failed{skipped}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
