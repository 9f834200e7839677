"""Passwords, hashed slowly in threads of their own, so that a login storm starves nobody else."""

from __future__ import annotations

import secrets
from typing import Any, Callable, TypeVar

import bcrypt
from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ..core.errors import Unavailable
from ..core.forms import MAX_PASSWORD_BYTES

T = TypeVar("T")


@define(eq=False, repr=False)
class BcryptPasswords(Service):
    """`core.ports.Passwords` on bcrypt."""

    _reactor: Any
    _rounds: int = 10  # bcrypt's cost: 2**rounds
    _threads: int = 2
    _most_waiting: int = 100  # beyond those at work; at 10 rounds some 3 s of one core
    _pool: ThreadPool = field(init=False)
    _at_work: int = 0
    _nobodys: bytes = b""  # a hash of the same cost that no password has

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPool(0, self._threads, "passwords")

    @property
    def waiting(self) -> int:
        """How many are at work or in the queue."""
        return self._at_work

    def startService(self) -> Deferred[None]:
        super().startService()
        self._pool.start()
        return Deferred.fromCoroutine(self._prepare())

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()

    async def hash(self, password: str) -> str:
        hashed = await self._in_thread(lambda: bcrypt.hashpw(password.encode(), self._salt()))
        return hashed.decode()

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Takes the same work whether there is a hash or not, and whatever the password's length."""
        given = password.encode(errors="replace")
        against = self._nobodys if hashed is None else hashed.encode()
        # bcrypt raises above its limit; no password that long was ever accepted.
        fits = len(given) <= MAX_PASSWORD_BYTES
        matches = await self._in_thread(lambda: bcrypt.checkpw(given[:MAX_PASSWORD_BYTES], against))
        return matches and fits and hashed is not None

    async def _prepare(self) -> None:
        self._nobodys = (await self.hash(secrets.token_urlsafe(32))).encode()

    def _salt(self) -> bytes:
        return bcrypt.gensalt(self._rounds)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._at_work >= self._threads + self._most_waiting:
            raise Unavailable("Too many logins at once; try again in a moment")
        self._at_work += 1
        try:
            result: T = await deferToThreadPool(self._reactor, self._pool, work)
            return result
        finally:
            self._at_work -= 1
