"""Failed attempts to authenticate: counted, and written to the audit log in the background.

They come as fast as somebody sends them, so equal ones are counted and written
as one row, a few rows at a time; beyond that there is one row for each kind,
without address and account.  They change nothing, so whoever failed does not
wait for the row.
"""

from __future__ import annotations

from collections import Counter
from typing import Callable

from attrs import define, evolve, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...base.client_network import ClientNetwork, client_network
from ..client_info import ClientInfo
from ..errors import Refusal
from ..ports import Store
from ..transactions import Unit
from .audit_log import AuditRecorder

WRITE_INTERVAL = 10.0  # seconds between two writes
MAX_ROWS = 100  # rows of one write, and one more for each kind beyond them: there are few kinds
MAX_ROWS_EACH = 20  # of them from one network, and one more for each kind beyond them


NO_NETWORK = ClientNetwork("")  # of attempts whose network is not written


@frozen
class _FailedAttempt:
    action: str
    reason: str
    protocol: str
    network: ClientNetwork
    subject: str | None


@define(eq=False, repr=False)
class FailedAttempts(Service):
    _store: Store
    _audit_recorder: AuditRecorder
    _clock: IReactorTime
    _on_dropped: Callable[[int], object] = lambda count: None  # called with how many could not be written
    _counts: dict[_FailedAttempt, int] = field(factory=dict, init=False)
    _rows_by_network: Counter[ClientNetwork] = field(factory=Counter, init=False)  # of `_counts`
    _loop: LoopingCall = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self._write)
        self._loop.clock = self._clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(WRITE_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        """Fires when the attempts recorded so far are written."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return self._write()

    def record(self, action: str, reason: str, client: ClientInfo, subject: str | None = None) -> None:
        """Somebody at `client` tried `action`, on the account `subject`, and was refused."""
        # No `BoundedMap`: the counts of those recorded first stay, and all go at once with the next write.
        network = client_network(client.address)
        attempt = _FailedAttempt(action, reason, client.protocol, network, subject)
        if attempt not in self._counts and self._rows_by_network[network] >= MAX_ROWS_EACH:
            attempt = evolve(attempt, subject=None)  # one row for all of its kind from there
        if attempt not in self._counts and len(self._counts) >= MAX_ROWS:
            attempt = evolve(attempt, network=NO_NETWORK, subject=None)  # one row for all of its kind
        if attempt not in self._counts:
            self._rows_by_network[attempt.network] += 1
        self._counts[attempt] = self._counts.get(attempt, 0) + 1

    def _write(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write_all()).addErrback(self._write_failed)

    def _write_failed(self, failure: Failure) -> None:
        """Log the bug; a failure that went on would end the loop."""
        self._log.failure("failed attempts could not be written", failure)

    async def _write_all(self) -> None:
        counts, self._counts = self._counts, {}
        self._rows_by_network.clear()
        if not counts:
            return
        steps = tuple(
            self._audit_recorder.record_step(
                one.action,
                ClientInfo(one.protocol, one.network),
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
            self._log.warn("failed attempts are not in the audit log: {why}", why=refusal.message)
