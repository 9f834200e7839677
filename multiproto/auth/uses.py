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
from ..core.model import timestamp
from ..core.ports import Gate, Identity, Step, Store, Unit

EVERY = 60.0  # seconds between two writes, and so for each credential
MOST = 10_000  # credentials that are noted in between; what comes after is forgotten
TOGETHER = 100  # written in one unit


@frozen
class _Use:
    at: float  # seconds since the epoch
    host: str


@define(eq=False, repr=False)
class Uses(Service):
    """`core.ports.Gate`, in front of one that knows."""

    _gate: Gate
    _store: Store
    _clock: IReactorTime  # seconds since the epoch
    _most: int = MOST
    _noted: dict[str, _Use] = Factory(dict)  # by the credential's id
    _loop: LoopingCall | None = None
    _writing: Deferred[None] | None = None

    _log = Logger()

    async def identify(self, token: str, host: str = "") -> Identity:
        who = await self._gate.identify(token, host)
        if who.grants is not None and (who.session_id in self._noted or len(self._noted) < self._most):
            self._noted[who.session_id] = _Use(self._clock.seconds(), host)
        return who

    def startService(self) -> None:
        super().startService()
        self._loop = LoopingCall(self._write)
        self._loop.clock = self._clock
        self._loop.start(EVERY, now=False)

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
        self._writing = Deferred.fromCoroutine(self._write_all()).addErrback(self._failed)
        return self._writing

    def _failed(self, failure: Failure) -> None:
        self._log.failure("uses could not be written", failure)

    async def _write_all(self) -> None:
        noted, self._noted = self._noted, {}
        steps = (
            Step("credential_used", {"id": id, "at": timestamp(use.at), "host": use.host})
            for id, use in noted.items()
        )
        for some in _bunches(steps):
            try:
                await self._store.commit(Unit(some))
            except Refusal as refusal:
                self._log.info(
                    "the use of {count} credentials is forgotten: {why}", count=len(some), why=refusal.message
                )


def _bunches(steps: Iterator[Step]) -> Iterator[tuple[Step, ...]]:
    while some := tuple(islice(steps, TOGETHER)):
        yield some
