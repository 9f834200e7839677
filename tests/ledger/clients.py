"""The client processes of a load: their plans, their journals, and what they are told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import Factory, asdict, define

from .lines import LINES, Ports
from .log import Log
from .people import CHANNELS, Crowd, User
from .rights import heard_on
from .server import LOGGED, ROOT
from .subscriber import ROAMING

LEAVE_WITHIN = 60.0  # seconds, for a process that was told to finish
WITH_MESSAGES = ("rest", "graphql")


@define(eq=False)
class Clients:
    _directory: Path
    _ports: Ports
    _crowd: Crowd
    _seed: int
    _senders: list[subprocess.Popen[str]] = Factory(list)
    _subscribers: list[tuple[subprocess.Popen[str], list[dict[str, Any]]]] = Factory(list)
    journals: list[Path] = Factory(list)
    _read: dict[Path, int] = Factory(dict)  # bytes of each journal that are counted
    _counts: dict[bytes, int] = Factory(dict)

    def start(self) -> None:
        for protocol in (*LINES, ROAMING):
            follows = self._follows(protocol)
            self._subscribers.append((self._spawn("subscriber", protocol, follows=follows), follows))
        for protocol in LINES:
            self._senders.append(self._spawn("sender", protocol, sends=self._sends(protocol)))

    def _follows(self, protocol: str) -> list[dict[str, Any]]:
        """Wide, narrow and private patterns; and one who will lose the right to all of them."""
        ann, bob, cay, dan = self._crowd.staying
        wanted = [
            (ann, "**"),
            (bob, "messages.**"),
            (cay, "messages"),
            (dan, f"messages.channel.{CHANNELS[0]}"),
            (cay, f"messages.user.{cay.id}"),
            (bob, f"{LOGGED}.**"),
            (self._crowd.leaving, "messages.**"),
        ]
        return [
            {
                "name": f"{protocol}-{number}",
                "user": user.id,
                "token": user.token,
                "pattern": pattern,
                "stays": pattern == f"{LOGGED}.**",
            }
            for number, (user, pattern) in enumerate(wanted, 1)
        ]

    def _sends(self, protocol: str) -> list[dict[str, Any]]:
        """Messages, to channels and to each other, and publications; some with keys, some without."""
        ann, bob, cay, _ = self._crowd.staying
        wanted: list[tuple[User, str | None, bool]] = [(ann, LOGGED, True), (bob, LOGGED, False)]
        if protocol in WITH_MESSAGES:
            wanted += [(ann, None, True), (bob, None, False), (cay, None, True)]
        return [
            {
                "name": f"{protocol}-sender-{number}",
                "user": user.id,
                "token": user.token,
                "channels": CHANNELS,
                "recipients": [each.id for each in self._crowd.staying],
                "publish": publish,
                "keys": keys,
            }
            for number, (user, publish, keys) in enumerate(wanted, 1)
        ]

    def _spawn(self, kind: str, protocol: str, **more: object) -> subprocess.Popen[str]:
        plan, journal = (self._directory / f"{protocol}-{kind}.{ending}" for ending in ("plan", "jsonl"))
        fixed = {
            "protocol": protocol,
            "ports": asdict(self._ports),
            "journal": str(journal),
            "seed": self._seed,
        }
        plan.write_text(json.dumps(fixed | more))
        journal.touch()
        self.journals.append(journal)
        command = [sys.executable, "-m", f"tests.ledger.{kind}", str(plan)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True)

    def stop_sending(self) -> None:
        """Returns when every sender has its last answer, or has given it up."""
        for process in self._senders:
            process.communicate(timeout=LEAVE_WITHIN)

    def tell_senders(self, word: str) -> None:
        for process in self._senders:
            print(word, file=process.stdin, flush=True)

    def tell(self, word: str) -> None:
        for process, _ in self._subscribers:
            print(word, file=process.stdin, flush=True)

    def finish(self, log: Log) -> None:
        """Tell each subscriber what is the last it should see, and wait for it."""
        for process, follows in self._subscribers:
            last = {each["name"]: self._last(log, each) for each in follows}
            print(json.dumps(last), file=process.stdin, flush=True)
        for process, _ in self._subscribers:
            process.wait(LEAVE_WITHIN)

    def _last(self, log: Log, follow: dict[str, Any]) -> str | None:
        if follow["user"] == self._crowd.leaving.id:
            return None
        heard = (
            entry.cursor
            for entry in reversed(log.entries)
            if heard_on(follow["user"], follow["pattern"], entry.topics)
        )
        return next(heard, None)

    @property
    def _processes(self) -> list[subprocess.Popen[str]]:
        return [*self._senders, *(process for process, _ in self._subscribers)]

    def broken(self) -> int:
        """How many did not end as they should; what they say is on the standard error stream."""
        return sum(process.poll() != 0 for process in self._processes)

    def kill(self) -> None:
        """What is still there when all is over."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def tally(self) -> str:
        """How far it is, by what the journals gained since the last look."""
        for journal in self.journals:
            with journal.open("rb") as file:
                file.seek(self._read.get(journal, 0))
                gained = file.read()
            self._read[journal] = self._read.get(journal, 0) + len(gained)
            for op in (b"send", b"deliver", b"subscribe"):
                told = [
                    line
                    for line in gained.splitlines()
                    if b'"op":"%s"' % op in line and b'"state":"ok"' in line
                ]
                self._counts[op] = self._counts.get(op, 0) + len(told)
        sent, delivered, subscribed = (self._counts.get(op, 0) for op in (b"send", b"deliver", b"subscribe"))
        return f"{sent} acknowledged, {delivered} delivered, {subscribed} subscriptions begun"
