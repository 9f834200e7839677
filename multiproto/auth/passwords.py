"""Hashes and verifies passwords with bcrypt, in a thread pool with a bounded, fair queue.

A storm of logins must not slow down anything else.  bcrypt releases the GIL
while it works, so a pool of one thread fewer than there are cores leaves the
reactor its own core.  One thread more is for networks that have none at work:
whoever logs in once does not wait for those who do it again and again, and, where
there are fewer cores than that, has most of the one that they share.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
import threading
from collections import Counter
from typing import Any, Callable, Sequence, TypeVar

import bcrypt
from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ..base.client_network import ClientNetwork
from ..base.unicode_text import to_nfc
from ..core.client_info import Requester
from ..core.kept_accounts import TRUNCATED_HASH, is_bcrypt_hash
from ..core.validation import MAX_PASSWORD_BYTES
from .fair_queue import FairQueue, too_many_at_once

T = TypeVar("T")

# Of the pool's threads, on Linux, where each has its own: on one core with it, the reactor has three times as much.
NICENESS = 5
NICENESS_OF_MANY = 15  # of those that work for networks with more waiting: a tenth of a core that both want


@define(eq=False, repr=False)
class BcryptPasswords(Service):
    """`core.ports.PasswordHasher` on bcrypt."""

    _reactor: Any
    _rounds: int = 10  # bcrypt's cost: 2**rounds
    _threads: int = field(factory=lambda: spare_cores())
    _max_waiting: int = 100  # in the queue; at 10 rounds some 6 s of one core
    _max_waiting_per_network: int = 10  # in the queue, from one address, whoever its users are
    _max_waiting_per_user: int = 3  # in the queue, of one user, from wherever
    _pool: ThreadPool = field(init=False)
    _pool_of_many: ThreadPool = field(init=False)  # for networks that have more waiting
    _queue: FairQueue[Deferred[None]] = field(init=False)
    _running: Counter[ClientNetwork] = field(factory=Counter, init=False)  # threads at work, by network
    _current_core: Callable[[], int | None] = field(factory=lambda: find_current_core())
    _dummy_hash: bytes = b""  # a hash of the same cost that no password has

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPool(0, self._threads + 1, "passwords")
        self._pool_of_many = ThreadPool(0, self._threads + 1, "many passwords")
        self._queue = FairQueue(self._max_waiting, self._max_waiting_per_network, self._max_waiting_per_user)

    @property
    def waiting(self) -> int:
        """How many are running or in the queue."""
        return self._running.total() + len(self._queue)

    def startService(self) -> Deferred[None]:
        super().startService()
        self._pool.start()
        self._pool_of_many.start()
        return Deferred.fromCoroutine(self._make_dummy_hash())

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()
        self._pool_of_many.stop()

    def check_capacity(self, requester: Requester = Requester()) -> None:
        if not self._has_thread_for(requester.network):
            self._queue.check_capacity(requester)

    async def hash(self, password: str, requester: Requester = Requester()) -> str:
        hashed = await self._in_thread(lambda: bcrypt.hashpw(password.encode(), self._salt()), requester)
        return hashed.decode()

    async def verify(self, password: str, hashed: str | None, requester: Requester = Requester()) -> bool:
        """Whether the password has this hash: in NFC, as new ones are hashed, or else as it was typed, as old ones were.

        Takes the same work whether there is a hash or not, and whatever the password's length.
        """
        # One after the other in one turn of the pool: a guess whose second half was refused would be free.
        spellings = tuple(dict.fromkeys((to_nfc(password), password)))
        return await self._in_thread(lambda: self._match(spellings, hashed or ""), requester)

    def _match(self, spellings: Sequence[str], hashed: str) -> bool:
        bcrypt_hash = hashed.removeprefix(TRUNCATED_HASH)
        is_known = is_bcrypt_hash(bcrypt_hash)  # any other text is nobody's password
        against = bcrypt_hash.encode() if is_known else self._dummy_hash
        # No longer password was ever accepted, but by the predecessor.
        max_bytes = None if hashed.startswith(TRUNCATED_HASH) else MAX_PASSWORD_BYTES
        matches = any(
            _has_hash(spelling.encode(errors="replace"), against, max_bytes) for spelling in spellings
        )
        return matches and is_known

    async def _make_dummy_hash(self) -> None:
        self._dummy_hash = (await self.hash(secrets.token_urlsafe(32))).encode()

    def _salt(self) -> bytes:
        return bcrypt.gensalt(self._rounds)

    async def _in_thread(self, work: Callable[[], T], requester: Requester) -> T:
        """Raises `Unavailable`, `RateLimited`."""
        network = requester.network
        if not self._has_thread_for(network):
            turn: Deferred[None] = Deferred()
            displaced = self._queue.enqueue(turn, requester)
            if displaced is not None and not displaced.called:
                displaced.errback(too_many_at_once())
            await turn
        self._running[network] += 1
        # A caller that is cancelled goes at once.  The thread works on, and its slot is free when it is done.
        result: Deferred[T] = Deferred()
        # A thread may lower its priority, and an ordinary user's may not raise it again: so there are two pools.
        pool, niceness = self._pool, NICENESS
        if self._queue.count_of(network):
            pool, niceness = self._pool_of_many, NICENESS_OF_MANY
        hashing = deferToThreadPool(self._reactor, pool, _run_aside, work, niceness, self._current_core())
        hashing.addBoth(self._on_task_done, network, result)
        return await result

    def _has_thread_for(self, network: ClientNetwork) -> bool:
        running = self._running.total()
        return running < self._threads or (running == self._threads and network not in self._running)

    def _on_task_done(self, outcome: T | Failure, network: ClientNetwork, result: Deferred[T]) -> None:
        self._running -= Counter({network: 1})  # and without it, if this was its last
        self._start_waiting()
        result.callback(outcome)

    def _start_waiting(self) -> None:
        """Give the threads that are free to the next ones in the queue whose callers still wait."""
        while (running := self._running.total()) <= self._threads:
            turn = self._queue.dequeue(without=() if running < self._threads else self._running)
            if turn is None:
                return
            if not turn.called:
                turn.callback(None)


def _has_hash(password: bytes, hashed: bytes, max_bytes: int | None) -> bool:
    """By one comparison of what bcrypt looks at, whatever the length; a longer password than may be has none."""
    matches = bcrypt.checkpw(password[:MAX_PASSWORD_BYTES], hashed)
    return matches and (max_bytes is None or len(password) <= max_bytes)


def _run_aside(work: Callable[[], T], niceness: int, reactors_core: int | None) -> T:
    """Do `work` in this thread, with a lower priority than the reactor's, and beginning on another core.

    With few cores and the same priority, the reactor had to wait for a third to a half of the time
    (`python -m tests.system.overload`).  At nice 10, a thread that woke on the core of a busy reactor had a tenth of it: a
    hash of 77 ms took up to 0.7 s, until the kernel evened out the cores.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
        _leave_core(reactors_core)
    return work()


def _leave_core(core: int | None) -> None:
    """Have the kernel move this thread if it is on `core`; it may come back, once that has nothing else to do."""
    allowed = os.sched_getaffinity(0)  # of this thread
    if others := allowed - {core}:
        os.sched_setaffinity(0, others)
        os.sched_setaffinity(0, allowed)


def find_current_core() -> Callable[[], int | None]:
    """A function that gives the core which the calling thread is on, or `None` where that can't be found out."""
    if sys.platform == "linux" and (getcpu := getattr(ctypes.CDLL(None), "sched_getcpu", None)):
        return getcpu  # type: ignore[no-any-return]
    return lambda: None


def spare_cores() -> int:
    """The number of cores without the reactor's; at least one."""
    ours = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return max(1, len(ours) - 1)
