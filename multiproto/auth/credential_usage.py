"""When each credential was last used, and from where: recorded in memory, written to the store once a minute.

Nothing waits for it and nothing depends on it: what can't be written is dropped.
"""

from __future__ import annotations

from itertools import islice
from typing import Callable, Iterator

from attrs import Factory, define, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..base.timestamps import format_timestamp
from ..core.errors import Refusal
from ..core.ports import Store
from ..core.transactions import Step, Unit

WRITE_INTERVAL = 60.0  # seconds between two writes, and so for each credential
MAX_RECORDED = 10_000  # credentials that are recorded in between; the use of more of them is dropped
BATCH_SIZE = 100  # written in one unit


@frozen
class _LastUse:
    at: float  # seconds since the epoch
    host: str


@define(eq=False, repr=False)
class CredentialUsage(Service):
    _store: Store
    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _max_recorded: int = MAX_RECORDED
    _recorded: dict[str, _LastUse] = Factory(dict)  # by the credential's id
    _loop: LoopingCall | None = None
    _writing: Deferred[None] | None = None

    _log = Logger()

    def record(self, credential_id: str, host: str) -> None:
        """The credential was used now, from the address `host`."""
        # No `BoundedMap`: those recorded first stay, and all go at once with the next write.
        if credential_id in self._recorded or len(self._recorded) < self._max_recorded:
            self._recorded[credential_id] = _LastUse(self._now(), host)

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self._write)
        self._loop.clock = self._clock
        self._loop.start(WRITE_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        """Fires when the last recorded uses are written."""
        super().stopService()
        if self._loop is not None:
            self._loop.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        if self._writing is not None:
            await self._writing
        await self._write()

    def _write(self) -> Deferred[None]:
        self._writing = Deferred.fromCoroutine(self._write_all()).addErrback(self._write_failed)
        return self._writing

    def _write_failed(self, failure: Failure) -> None:
        self._log.failure("uses could not be written", failure)

    async def _write_all(self) -> None:
        recorded, self._recorded = self._recorded, {}
        steps = (
            Step("credential_used", {"id": id, "at": format_timestamp(use.at), "host": use.host})
            for id, use in recorded.items()
        )
        for batch in _batches(steps):
            try:
                await self._store.commit(Unit(batch))
            except Refusal as refusal:
                self._log.info(
                    "the use of {count} credentials is forgotten: {why}",
                    count=len(batch),
                    why=refusal.message,
                )


def _batches(steps: Iterator[Step]) -> Iterator[tuple[Step, ...]]:
    while batch := tuple(islice(steps, BATCH_SIZE)):
        yield batch
