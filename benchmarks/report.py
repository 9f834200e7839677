"""The last run of every area as one page, RESULTS.md beside this file.

`make bench` ends with it.  The figures are those that each area has kept beside its code, as http.json;
nothing is measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.command_line import make_parser

from . import goals

HERE = Path(__file__).parent
AREAS = "http", "fanout", "ingest", "graphql", "idle", "growth", "workers"
HEAD = """# What the last run of each area found

Made by `make bench`; what is measured, and how, is said in [README.md](README.md). Compare only what stands in one table.
"""


def section(area: str, found: dict[str, Any]) -> str:
    on, load = found["machine"], f"{found['machine']['load']:.1f} and {found['load at the end']:.1f}"
    changed = " with changes" if on["changed"] else ""
    lines = [
        f"## {area}",
        f"{found['at']}, commit {on['commit']}{changed}, {on['cores']} cores of {on['processor']}, Linux {on['kernel']}, "
        f"Python {on['python']}, Node {on['node']}; load average at start and end: {load}; rounds: {found['rounds']}.",
        ", ".join(f"{name} {version}" for name, version in found["versions"].items()) + ".",
    ]
    for contest in found["contests"]:
        lines += [f"### {contest['title']}", contest["table"]]
    return "\n\n".join(lines)


def page(directory: Path) -> str:
    files = {area: directory / f"{area}.json" for area in AREAS}
    found = {area: json.loads(file.read_text()) for area, file in files.items() if file.exists()}
    sections = [section(area, each) for area, each in found.items()]
    return "\n\n".join([HEAD.strip(), "## Goals", goals.shown(found), *sections]) + "\n"


if __name__ == "__main__":
    make_parser(__doc__).parse_args()
    (HERE / "RESULTS.md").write_text(page(HERE))
    sys.stdout.write(f"all tables are in {HERE / 'RESULTS.md'}\n")
