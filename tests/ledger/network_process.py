"""The network of a load on several instances, as its driver starts and commands it.  See `network`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Mapping, Sequence

from attrs import define, field

from .server import ROOT


@define(eq=False)
class Network:
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def start(
        self, balance: Sequence[tuple[int, Sequence[int]]], ways: Mapping[str, tuple[int, int]]
    ) -> None:
        """Returns when it listens: `balance` has ports and those behind them, `ways` a port and the one behind it."""
        plan = json.dumps({"balance": balance, "ways": ways})
        command = [sys.executable, "-m", "tests.ledger.network", plan]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def order(self, *words: object) -> None:
        assert self._process is not None
        print(*words, file=self._process.stdin, flush=True)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
