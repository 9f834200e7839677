"""Attempts to prove an identity that failed: noted in the background, and never many.

They come as fast as somebody sends them, so what is alike is counted and
written as one row, a few rows at a time; what is beyond that is one row for each
kind, which says neither where from nor whose account.  They change nothing, so
who failed does not wait for the row.
"""

from __future__ import annotations

from typing import Callable

from attrs import define, evolve, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .audit import Audit
from .client import Client
from .errors import Refusal, Unauthorized
from .ports import Gate, Identity, Store, Unit

EVERY = 10.0  # seconds between two writes
MOST = 100  # rows of one write, and a few for what is beyond: kinds are what our own code says


@frozen
class _Attempt:
    action: str
    reason: str
    protocol: str
    address: str
    subject: str | None


@define(eq=False, repr=False)
class Attempts(Service):
    _store: Store
    _audit: Audit
    _clock: IReactorTime
    _dropped: Callable[[int], object] = lambda count: None  # told how many could not be written
    _counts: dict[_Attempt, int] = field(factory=dict, init=False)
    _loop: LoopingCall = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self._write)
        self._loop.clock = self._clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(EVERY, now=False)

    def stopService(self) -> Deferred[None]:
        """Fires when what was noted is written."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return self._write()

    def failed(self, action: str, reason: str, client: Client, subject: str | None = None) -> None:
        """Somebody at `client` tried `action`, on the account `subject`, and was refused."""
        attempt = _Attempt(action, reason, client.protocol, client.address, subject)
        if attempt not in self._counts and len(self._counts) >= MOST:
            attempt = evolve(attempt, address="", subject=None)  # one for all of its kind
        self._counts[attempt] = self._counts.get(attempt, 0) + 1

    def watch(self, gate: Gate, client: Client) -> Gate:
        """`gate`, for one client whose failures are noted."""
        return _Watched(gate, self, client)

    def _write(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write_all())

    async def _write_all(self) -> None:
        counts, self._counts = self._counts, {}
        if not counts:
            return
        steps = tuple(
            self._audit.note(
                one.action,
                Client(one.protocol, one.address),
                subject=one.subject,
                outcome=one.reason,
                times=times,
            )
            for one, times in counts.items()
        )
        try:
            await self._store.commit(Unit(steps))
        except Refusal as refusal:
            self._dropped(sum(counts.values()))
            self._log.warn("failed attempts are not in the audit trail: {why}", why=refusal.message)


@frozen
class _Watched:
    """`core.ports.Gate`.  A token that has run out is everyday life and no attempt."""

    _gate: Gate
    _attempts: Attempts
    _client: Client

    async def identify(self, token: str, host: str = "") -> Identity:
        try:
            return await self._gate.identify(token, host or self._client.address)
        except Unauthorized as refusal:
            if refusal.reason != "expired":
                self._attempts.failed("token", refusal.reason, self._client)
            raise
