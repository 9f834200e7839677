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

from ..client_info import ClientInfo
from ..errors import Refusal, Unauthorized
from ..identity import Identity
from ..ports import Authenticator, Store
from ..transactions import Unit
from .audit_log import AuditRecorder

WRITE_INTERVAL = 10.0  # seconds between two writes
MAX_ROWS = 100  # rows of one write, and a few for what is beyond: kinds are what our own code says


@frozen
class _FailedAttempt:
    action: str
    reason: str
    protocol: str
    address: str
    subject: str | None


@define(eq=False, repr=False)
class FailedAttempts(Service):
    _store: Store
    _audit_recorder: AuditRecorder
    _clock: IReactorTime
    _on_dropped: Callable[[int], object] = lambda count: None  # told how many could not be written
    _counts: dict[_FailedAttempt, int] = field(factory=dict, init=False)
    _loop: LoopingCall = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self._write)
        self._loop.clock = self._clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(WRITE_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        """Fires when what was noted is written."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return self._write()

    def record(self, action: str, reason: str, client: ClientInfo, subject: str | None = None) -> None:
        """Somebody at `client` tried `action`, on the account `subject`, and was refused."""
        attempt = _FailedAttempt(action, reason, client.protocol, client.address, subject)
        if attempt not in self._counts and len(self._counts) >= MAX_ROWS:
            attempt = evolve(attempt, address="", subject=None)  # one for all of its kind
        self._counts[attempt] = self._counts.get(attempt, 0) + 1

    def recording(self, gate: Authenticator, client: ClientInfo) -> Authenticator:
        """`gate`, for one client whose failures are noted."""
        return _RecordingAuthenticator(gate, self, client)

    def _write(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write_all())

    async def _write_all(self) -> None:
        counts, self._counts = self._counts, {}
        if not counts:
            return
        steps = tuple(
            self._audit_recorder.record_step(
                one.action,
                ClientInfo(one.protocol, one.address),
                subject=one.subject,
                outcome=one.reason,
                times=times,
            )
            for one, times in counts.items()
        )
        try:
            await self._store.commit(Unit(steps))
        except Refusal as refusal:
            self._on_dropped(sum(counts.values()))
            self._log.warn("failed attempts are not in the audit trail: {why}", why=refusal.message)


@frozen
class _RecordingAuthenticator:
    """`core.ports.Gate`.  A token that has run out is everyday life and no attempt."""

    _authenticator: Authenticator
    _attempts: FailedAttempts
    _client: ClientInfo

    async def authenticate(self, token: str, host: str = "") -> Identity:
        try:
            return await self._authenticator.authenticate(token, host or self._client.address)
        except Unauthorized as refusal:
            if refusal.reason != "expired":
                self._attempts.record("token", refusal.reason, self._client)
            raise
