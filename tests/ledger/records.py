"""What clients observe, one JSON line each, in a file for every client process.

A line is written before its client acts on what it tells, and never changed.
So whatever ends a process, the file says what it knew, and a send with no
outcome is one whose outcome is unknown.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from threading import Lock
from typing import Callable, Iterator

from attrs import asdict, define, field, frozen

# What a client does or sees (`op`):
SEND = "send"  # a message or publication; `topic` is where it goes
SUBSCRIBE = "subscribe"  # to the pattern in `topic`; again under the same key: it resumes
DELIVER = "deliver"  # something came for the subscription `key`, on `topic`
CAUGHT_UP = "caught_up"  # the end of a replay was told
UNSUBSCRIBE = "unsubscribe"  # from here on the subscription `key` expects nothing
REVOKE = "revoke"  # all rights of `user` ended

# How it went (`state`); what comes by itself is `OK`:
INVOKED, OK, FAILED, UNKNOWN = "invoked", "ok", "failed", "unknown"


@frozen
class Record:
    time: float  # seconds since the epoch, when it was seen
    client: str
    protocol: str
    op: str
    key: str  # of a send: its own name, kept over retries; of all else: of the subscription
    topic: str
    hash: str  # `fingerprint` of what was sent or came; "" where there is neither
    state: str
    cursor: str | None = None  # sent as `after` (invoked) or received (ok)
    user: str = ""  # id of the user that the client speaks for
    recovered: bool | None = None  # as told to one who resumed


def fingerprint(value: object) -> str:
    """The same for equal JSON values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@define(eq=False)
class Journal:
    """Appends to the file of this process; threads may share it."""

    path: Path
    _now: Callable[[], float] = time.time
    _lock: Lock = field(factory=Lock, init=False)

    def write(
        self, client: str, protocol: str, op: str, key: str, topic: str, state: str, **more: object
    ) -> None:
        fields = {"hash": "", **more}
        with self._lock, self.path.open("ab", buffering=0) as file:
            record = Record(self._now(), client, protocol, op, key, topic, state=state, **fields)  # type: ignore[arg-type]
            file.write(json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n")


def read(*paths: Path) -> Iterator[Record]:
    """All records, file by file; a last line that was cut off by a kill is no record."""
    for path in paths:
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield Record(**json.loads(line))
