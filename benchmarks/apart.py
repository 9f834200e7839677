"""A part of a benchmark in a process of its own, so that its CPU is measured apart from the rest.

Orders go in and answers come out as JSON, a line each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Awaitable, Callable, Mapping

from attrs import define, field
from twisted.internet.threads import deferToThread


@define(eq=False)
class Apart:
    """`python -m <module> <arguments>`, which must `obey`."""

    module: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(factory=dict, repr=False)
    _process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        """Returns when it is ready.  Raises `SystemExit`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *self.arguments],
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, do: str, **fields: object) -> Any:
        assert self._process.stdin is not None
        print(json.dumps({"do": do, **fields}), file=self._process.stdin, flush=True)
        return self._answer()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.module} {' '.join(self.arguments)} broke")
        return json.loads(line)


async def obey(
    orders: Mapping[str, Callable[..., Awaitable[Any]]],
    next_line: Callable[[], Awaitable[str]] = lambda: deferToThread(sys.stdin.readline),
) -> None:
    """Until no more are given."""
    print("null", flush=True)
    while line := await next_line():
        order = json.loads(line)
        print(json.dumps(await orders[order.pop("do")](**order)), flush=True)


def cpu_exactly(pid: int) -> float:
    """Seconds that the first thread of a process has computed, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
