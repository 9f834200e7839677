"""Shares the reactor's time between clients: by address first, then by connection.

The reactor does one thing at a time, and what a client sends may cost far more than its bytes show: a
compressed message, a thousand pings, a GraphQL document.  So each wire asks `has_time` before it does a piece of
such work.  While a turn of the reactor keeps its budget the answer is yes, and nothing is queued.  After that the
work waits: in the turns that follow, each address has its piece done, one connection of it after the other,
so that what one address sends is paid for by its own waiting.  Addresses whose pieces are short go before those
whose last piece was a long one (docs/operations.md#a-budget-for-each-turn).

A piece can't be interrupted; how long one may take is for each wire to limit.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Callable, Protocol

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..base.client_network import client_network
from ..base.round_robin import RoundRobinQueue

TURN_BUDGET = 0.004  # seconds of a turn for what has just come, and as much for what waited
TIME_SLICE = 0.002  # seconds of them for one connection that waited
MAX_REST = 0.1  # seconds in which only what has just come is done
# Of that time, what is left where nothing else is ready: what others have in threads or on the disk comes back soon.
IDLE_REST = 0.25
MAX_OVERDRAWN = 1000  # clients that are remembered; beyond, all are forgotten, and each costs one more piece


class CurrentTurn(Protocol):
    @property
    def turn_started_at(self) -> float:
        """When the present turn of the reactor began, by the timer of the scheduler."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing was ready when it began."""

    has_long_work: bool  # set by the scheduler: whether pieces wait that take longer than a turn's budget


_Work = tuple[str, str, Callable[[], object]]  # the key and the kind of what is to be called


@define(eq=False, repr=False)
class TurnScheduler:
    """One for the whole server; `key` gives what `has_time` and `run_later` know a client by."""

    # Calls a function once, when all that was written is sent.
    _schedule: Callable[[Callable[[], object]], object]
    _timer: Callable[[], float]  # seconds, monotonic
    _turn: CurrentTurn
    _is_shared_address: Callable[[str], bool] = lambda host: False  # of a proxy, which has many clients
    # Both by kind of work, counted up for the metrics.
    _work_seconds: dict[str, float] = Factory(lambda: defaultdict(float))
    _waits: dict[str, int] = Factory(lambda: defaultdict(int))
    # The clients whose last piece took a whole turn's budget: each turn has one such piece, and none when it is read.
    _overdrawn: set[str] = Factory(set)
    # What waits, and apart from it, behind it, what those clients have waiting.  All of one client is in one of them.
    _waiting: RoundRobinQueue[_Work] = Factory(RoundRobinQueue)
    _waiting_overdrawn: RoundRobinQueue[_Work] = Factory(RoundRobinQueue)
    _slice_ends_at: float | None = None  # while something runs that waited
    _rest_began_at: float = 0.0  # by `_timer`
    _rest: float = 0.0  # seconds
    _is_scheduled: bool = field(default=False, init=False)

    _log = Logger()

    def key(self, host: str, connection_id: str) -> str:
        """Whose time it is: that of the client's network, or of the connection where a proxy names no client."""
        return f"{host} {connection_id}" if self._is_shared_address(host) else client_network(host)

    def has_time(self, key: str) -> bool:
        """Whether another piece of work may be done at once; where not, `run_later` does it."""
        return self._has_time_at(self._timer(), key)

    def begin(self, key: str) -> float | None:
        """When a piece of work begins, for `count`; `None` if there is no time for it, as `has_time` tells."""
        now = self._timer()
        return now if self._has_time_at(now, key) else None

    def _has_time_at(self, now: float, key: str) -> bool:
        if self._slice_ends_at is not None:
            return now < self._slice_ends_at
        if key in self._overdrawn or (self._is_scheduled and self._count_waiting(key)):
            return False  # what came before goes before
        return now - self._turn.turn_started_at < TURN_BUDGET

    def _count_waiting(self, key: str) -> int:
        return self._waiting.count_of(key) + self._waiting_overdrawn.count_of(key)

    def run_later(self, key: str, kind: str, work: Callable[[], object], first: bool = False) -> None:
        """Call `work` in a later turn, when `key` has its part; the connection may be lost by then.

        `first`: before what else of `key` waits, for what has been begun and holds memory meanwhile.
        """
        self._waits[kind] += 1
        is_behind = key in self._overdrawn or self._waiting_overdrawn.count_of(key)
        queue = self._waiting_overdrawn if is_behind else self._waiting
        queue.enqueue((key, kind, work), key, first)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._run_waiting)

    def run_in_later_turn(self, key: str, kind: str, work: Callable[[], object]) -> None:
        """Go on with what has begun: as `run_later`, but not in this turn, for what was written now has to be sent."""
        self._schedule(lambda: self.run_later(key, kind, work, first=True))

    def run_now(self, key: str, kind: str, work: Callable[[], object]) -> bool:
        """Call `work` if there is time: whether there was."""
        began = self.begin(key)
        if began is None:
            return False
        work()
        self.count(key, kind, began)
        return True

    async def wait(self, key: str, kind: str, first: bool = False) -> bool:
        """Return when there is time: whether that was in a later turn; `first` as for `run_later`."""
        if self.has_time(key):
            return False
        turn: Deferred[None] = Deferred()
        self.run_later(key, kind, lambda: turn.callback(None), first)
        await turn
        return True

    def now(self) -> float:
        """When a piece of work began, for `count`."""
        return self._timer()

    def count(self, key: str, kind: str, began: float) -> None:
        """Count the time that a piece of work took, unless it is part of one that waited: that is counted whole."""
        if self._slice_ends_at is None:
            ended = self._timer()
            spent = ended - began
            self._work_seconds[kind] += spent
            if spent >= TURN_BUDGET:
                self._note_length(key, spent, ended)

    def _run_waiting(self) -> None:
        """Do what waited, for a turn's budget; then one long piece of those who are overdrawn, or several short ones.

        After a piece that took longer, what others ask for in several steps goes first for as long again, or for a
        quarter of that where nothing else is ready: else each of their steps would have such a piece before it.
        """
        try:
            had_long_piece = self._run_queue(self._waiting)
            rest = self._rest * IDLE_REST if self._turn.is_idle else self._rest
            if not had_long_piece and self._timer() - self._rest_began_at >= rest:
                self._run_queue(self._waiting_overdrawn)
        finally:
            self._slice_ends_at = None
            self._turn.has_long_work = bool(self._waiting_overdrawn)
            self._is_scheduled = bool(self._waiting or self._waiting_overdrawn)
            if self._is_scheduled:
                self._schedule(self._run_waiting)

    def _run_queue(self, queue: RoundRobinQueue[_Work]) -> bool:
        """Do what is in `queue`, for a turn's budget; returns whether the last piece took as long alone."""
        now = began = self._timer()
        until = now + TURN_BUDGET
        while now < until and (waited := queue.dequeue()) is not None:
            (key, kind, work), began = waited, now
            self._slice_ends_at = began + TIME_SLICE
            try:
                work()
            except Exception:
                self._log.failure("work that had waited for its turn broke")
            now = self._timer()
            self._work_seconds[kind] += now - began
            self._note_length(key, now - began, now)
        return now - began >= TURN_BUDGET

    def _note_length(self, key: str, seconds: float, now: float) -> None:
        """Remember whether the last piece of `key` was a long one, and leave others as much time as a very long one took."""
        if seconds < TURN_BUDGET:
            self._overdrawn.discard(key)
            return
        if len(self._overdrawn) >= MAX_OVERDRAWN:
            self._overdrawn.clear()
        self._overdrawn.add(key)
        self._waiting.move(key, self._waiting_overdrawn)
        if seconds >= 2 * TURN_BUDGET:
            self._rest_began_at, self._rest = now, min(seconds, MAX_REST)
