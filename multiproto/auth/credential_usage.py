"""When a credential was last used, and from where: noted at the door, written down now and then.

Nobody waits for it and nothing depends on it: what can't be written is forgotten.
"""

from __future__ import annotations

from itertools import islice
from typing import Iterator

from attrs import Factory, define, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import Refusal
from ..core.identity import Identity
from ..core.model import format_timestamp
from ..core.ports import Authenticator, Store
from ..core.transactions import Step, Unit

WRITE_INTERVAL = 60.0  # seconds between two writes, and so for each credential
MAX_RECORDED = 10_000  # credentials that are noted in between; what comes after is forgotten
BATCH_SIZE = 100  # written in one unit


@frozen
class _LastUse:
    at: float  # seconds since the epoch
    host: str


@define(eq=False, repr=False)
class CredentialUsageRecorder(Service):
    """`core.ports.Gate`, in front of one that knows."""

    _authenticator: Authenticator
    _store: Store
    _clock: IReactorTime  # seconds since the epoch
    _max_recorded: int = MAX_RECORDED
    _recorded: dict[str, _LastUse] = Factory(dict)  # by the credential's id
    _loop: LoopingCall | None = None
    _writing: Deferred[None] | None = None

    _log = Logger()

    async def authenticate(self, token: str, host: str = "") -> Identity:
        who = await self._authenticator.authenticate(token, host)
        if who.grants is not None and (
            who.session_id in self._recorded or len(self._recorded) < self._max_recorded
        ):
            self._recorded[who.session_id] = _LastUse(self._clock.seconds(), host)
        return who

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self._write)
        self._loop.clock = self._clock
        self._loop.start(WRITE_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        """Fires when the last of them are written."""
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
        noted, self._recorded = self._recorded, {}
        steps = (
            Step("credential_used", {"id": id, "at": format_timestamp(use.at), "host": use.host})
            for id, use in noted.items()
        )
        for some in _batches(steps):
            try:
                await self._store.commit(Unit(some))
            except Refusal as refusal:
                self._log.info(
                    "the use of {count} credentials is forgotten: {why}", count=len(some), why=refusal.message
                )


def _batches(steps: Iterator[Step]) -> Iterator[tuple[Step, ...]]:
    while some := tuple(islice(steps, BATCH_SIZE)):
        yield some
