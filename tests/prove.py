"""`python -m tests.prove [NAME ...]`: what is proved with more time, or by a stop-watch, on a machine with nothing else to do.

Prints one line for each proof: what, the verdict, and its figures.  Exits with 1
when one fails; what it printed is then in a file, which the line names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

from attrs import Factory, frozen

from .command_line import make_parser
from .ledger.report import SKIPPED
from .run import ROOT
from .timing import MEASUREMENTS

STOPWATCH_TESTS = (
    "tests.redis.test_redis_broker",
    "tests.redis.test_broker_load",
    "tests.redis.test_shared_limits",
    "tests.postgresql.test_faults",
    "tests.live.test_credentials",
    "tests.live.test_faults",
    "tests.live.test_instances",
    "tests.live.test_twistd",
)


@frozen
class Proof:
    """A command that ends with 0 when it holds; `figures` find what to show in its output."""

    name: str
    command: tuple[str, ...]
    figures: tuple[str, ...] = ()  # regular expressions: all of their matches, or a name and its milliseconds
    measures: bool = False  # whether it writes measurements down that have to keep their bounds
    environment: dict[str, str] = Factory(dict)

    def run(self, directory: Path) -> bool:
        """Whether it holds."""
        output, notes = directory / f"{self.name}.log", directory / f"{self.name}.measurements"
        environment = {**os.environ, **({MEASUREMENTS: str(notes)} if self.measures else {})}
        started = time.monotonic()
        with output.open("wb") as file:
            command = [sys.executable, "-m", *self.command]
            status = subprocess.call(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
        good, shown = status == 0, ", ".join(self._figures(output.read_text(errors="replace")))
        measured = list(measurements(notes)) if self.measures else []
        late = [each for each in measured if not each.is_kept]
        good = good and not late and bool(measured) == self.measures
        verdict = "proved" if good else f"NOT PROVED, see {output}"
        if status == SKIPPED:
            good, verdict = True, "NOT TRIED"
        seconds = time.monotonic() - started
        print(f"{self.name}: {verdict}: {shown or 'no figures'} ({seconds:.0f} s)", flush=True)
        for each in measured:
            print(f"    {each}", flush=True)
        return good

    def _figures(self, text: str) -> Iterator[str]:
        for pattern in self.figures:
            for found in re.findall(pattern, text, re.MULTILINE):
                yield " ".join(found.split()) if isinstance(found, str) else "{} {} ms".format(*found)


@frozen
class Measurement:
    """The longest that something took, and what it is promised to take at most, in seconds."""

    what: str
    seconds: float
    bound: float
    times: int

    @property
    def is_kept(self) -> bool:
        return self.seconds < self.bound

    def __str__(self) -> str:
        verdict = "proved" if self.is_kept else "NOT PROVED"
        return f"{self.what}: {verdict}: {self.seconds:.2f} s, bound {self.bound:g} s, {self.times} times"


def measurements(notes: Path) -> Iterator[Measurement]:
    """What stop-watches wrote down, by what they measured."""
    lines = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    for what in dict.fromkeys(line["what"] for line in lines):
        seconds = [line["seconds"] for line in lines if line["what"] == what]
        bound = min(line["bound"] for line in lines if line["what"] == what)
        yield Measurement(what, max(seconds), bound, len(seconds))


LEDGER_FIGURES = (r"^FAULT .*", r"^(?:NOT CLEAN|clean)$", r"^  (?:sends ok|delivered|starts)\b.*")
FAULT_FIGURES = (r"^ {8}(\w.*)", r"^skipped: .*", *LEDGER_FIGURES)  # and what befell the servers
# Until when the slowest connection of each protocol was given something, behind the answer to the ending.
REVOCATION_FIGURES = (
    r"^FAULT .*",
    r"^(?:kept|NOT KEPT.*)$",
    r"^((?:websocket|tcp|graphql|rest)[a-z-]*) +\d+ +\d+ +(\d+)",
)
PROOFS = (
    Proof(
        "ledger",
        ("tests.ledger", "--seconds", "60", "--kills", "20", "--must-recover"),
        LEDGER_FIGURES,
    ),
    Proof(
        "ledger-instances",
        (
            "tests.ledger",
            *("--seconds", "60", "--kills", "4", "--instances", "2"),
            *("--fault", "redis", "--fault", "postgresql"),
        ),
        LEDGER_FIGURES,
    ),
    Proof(
        "ledger-redis",
        (
            "tests.ledger",
            *("--seconds", "40", "--kills", "0", "--instances", "2", "--must-recover"),
            *("--fault", "redis-promoted", "--fault", "redis-moved", "--fault", "redis-moved"),
            *("--fault", "redis-promoted", "--fault", "silence", "--fault", "flushall"),
        ),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-postgresql",
        (
            "tests.ledger",
            *("--seconds", "60", "--kills", "0", "--instances", "2", "--must-recover"),
            *("--fault", "postgresql-restarted", "--fault", "postgresql-terminated"),
            *("--fault", "postgresql-read-only", "--fault", "postgresql-standby"),
            *("--fault", "postgresql-promoted", "--fault", "postgresql-promoted"),
        ),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-clock",
        ("tests.ledger", "--seconds", "60", "--kills", "2", "--must-recover", *("--fault", "clock") * 2),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-clock-instances",
        (
            "tests.ledger",
            *("--seconds", "70", "--kills", "2", "--instances", "2", "--must-recover"),
            *("--fault", "clock", "--fault", "clocks"),
        ),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-disk",
        ("tests.ledger", "--seconds", "40", "--kills", "2", "--must-recover", *("--fault", "disk") * 3),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-disk-postgresql",
        (
            "tests.ledger",
            *("--seconds", "40", "--kills", "0", "--instances", "2", "--must-recover"),
            *("--fault", "disk") * 3,
        ),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-failovers",
        (
            "tests.ledger",
            *("--seconds", "300", "--kills", "0", "--instances", "2"),
            *("--fault", "failover", "--fault", "failover-150", "--fault", "failover-500") * 10,
        ),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-standby-lag",
        (
            "tests.ledger",
            *("--seconds", "100", "--kills", "0", "--instances", "2"),
            *("--fault", "standby-lag", "--fault", "split") * 4,
        ),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-restores",
        (
            "tests.ledger",
            *("--seconds", "120", "--kills", "0", "--instances", "2"),
            *("--fault", "restore", "--fault", "restore-quiet") * 5,
        ),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-halts",
        ("tests.ledger", "--seconds", "460", "--kills", "0", "--instances", "2", *("--fault", "halt") * 20),
        FAULT_FIGURES,
    ),
    Proof(
        "ledger-clocks-wrong",
        (
            "tests.ledger",
            *("--seconds", "360", "--kills", "0", "--instances", "2"),
            *("--fault", "clock-40-days", "--fault", "clock-wrong-at-start") * 5,
        ),
        FAULT_FIGURES,
    ),
    Proof("ledger-mutants", ("tests.ledger.mutants",), (r"^\w+: (?:NOT FOUND OUT|found out)$",)),
    Proof("revocations", ("tests.system.revocation",), REVOCATION_FIGURES),
    Proof("revocations-without-redis", ("tests.system.revocation", "--without", "redis"), REVOCATION_FIGURES),
    Proof(
        "revocations-blind",
        ("tests.system.revocation", "--rounds", "1", "--blind"),
        REVOCATION_FIGURES,
    ),
    Proof(
        "overload", ("tests.system.overload",), (r"^survived: \d+ of \d+", r"^[a-z]\S+ x\d+(?= .*  (?!ok$))")
    ),
    Proof(
        "proxies",
        ("tests.run", "tests.system.proxies.behind", "tests.system.proxies.rolling"),
        (r"\d+ requests, none failed", r"^\d+ passed, .*"),
    ),
    Proof("browser", ("tests.run", "tests.system.browser.pages"), (r"^\d+ passed, .*",)),
    Proof("seconds", ("tests.run", *STOPWATCH_TESTS), (r"^\d+ passed, .*",), measures=True),
)


def main(arguments: list[str]) -> int:
    known = [proof.name for proof in PROOFS]
    parser = make_parser(f"{__doc__}\nThe proofs: {', '.join(known)}.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a proof; without, all of them")
    names = parser.parse_args(arguments).names
    unknown = set(names) - set(known)
    if unknown:
        parser.error(f"no such proof: {', '.join(sorted(unknown))}")
    directory = Path(tempfile.mkdtemp(prefix="prove-"))
    chosen = [proof for proof in PROOFS if not names or proof.name in names]
    good = [proof.run(directory) for proof in chosen]  # all of them, whatever one says
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
