"""Follows the log: reads new entries in order and passes them to the dispatcher.

It is woken at once by a commit of its own process, by a hint of another
instance, and every `POLL_INTERVAL` seconds, so that a lost hint costs latency,
never a message.  Logged events are delivered in no other way.

It also knows whether this instance is caught up with the log.  After it was
stale, it reads ahead for revocations, before any entry that comes first is
delivered.

Under a running server the log may go back, with a backup that is restored or
another server in place of the primary.  The store tells the follower, which also
notices by the term of what it has read, and begins anew.  So it does where entries
that somebody listens to were pruned before it read them, for it was halted for long,
and where what is stored is damaged (docs/decisions/042-damaged-data.md).
"""

from __future__ import annotations

from typing import Sequence

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import DataDamaged, Refusal
from ..core.ports import LogReader
from ..core.pubsub.dispatcher import Dispatcher
from ..core.pubsub.log_freshness import LogFreshness
from ..core.transactions import Entry

POLL_INTERVAL = 0.25  # seconds; with the time of a read, well under `STALE_AFTER`
PAGE_SIZE = 500  # entries of one read
TURN_BUDGET = 0.01  # seconds of dispatching, before the reactor has its turn
LOOKAHEAD_INTERVAL = 0.5  # seconds between two reads ahead
SKIPS_LOGGED_EVERY = 60.0  # seconds
REVOCATION_TOPICS = ("_sessions", "users")  # prefixes of the topics with revocations


@define(eq=False, repr=False)
class Follower(Service):
    _log_source: LogReader
    _dispatcher: Dispatcher
    _clock: IReactorTime
    _wake_requested: bool = False
    _reading: Deferred[None] | None = None
    _poll_call: IDelayedCall | None = None
    _unavailable: bool = False  # the last read failed
    _parted: bool = False  # the log has another history than the one that was followed
    replaced_at: float | None = None  # by the clock, when it began anew, if it ever did
    _skips: int = 0  # times that such entries were skipped, since that was last logged
    _skips_logged_at: float | None = None
    # When revocations were last read ahead, and up to which position.
    _read_ahead: tuple[float, int] = (
        0.0,
        0,
    )

    _log = Logger()

    def startService(self) -> Deferred[None]:
        """Fires once the log's head is known: entries after it will be dispatched."""
        super().startService()
        return Deferred.fromCoroutine(self._start_at_head())

    def stopService(self) -> Deferred[None] | None:
        """Fires once the page being read is dispatched."""
        super().stopService()
        if self._poll_call is not None:
            self._poll_call.cancel()
        return self._reading

    def wake(self) -> None:
        """There may be new entries."""
        self._wake_requested = True
        if self.running and self._reading is None:
            self._reading = Deferred.fromCoroutine(self._catch_up()).addErrback(self._read_failed)
            self._reading.addBoth(self._read_finished)

    def on_log_parted(self) -> None:
        """What this instance has read, or named to somebody, may not be in the log any more."""
        self._parted = True
        self.wake()

    async def _start_at_head(self) -> None:
        began = self._clock.seconds()
        self._dispatcher.set_head(*await self._log_source.head())
        self._freshness.mark_current(began)
        self._poll_call = self._clock.callLater(POLL_INTERVAL, self._poll_log)

    @property
    def _freshness(self) -> LogFreshness:
        if self._dispatcher.freshness is None:
            self._dispatcher.freshness = LogFreshness(self._clock)
        return self._dispatcher.freshness

    def _poll_log(self) -> None:
        self._poll_call = self._clock.callLater(POLL_INTERVAL, self._poll_log)
        self.wake()

    async def _catch_up(self) -> None:
        while self._wake_requested and self.running:
            self._wake_requested = False
            began = self._clock.seconds()
            try:
                if self._freshness.is_stale:
                    await self._announce_revocations_ahead()
                entries = await self._log_source.read_after(self._dispatcher.position, PAGE_SIZE)
            except DataDamaged:
                if not await self._skip_damaged():
                    raise
                self._freshness.mark_current(began)
                continue
            if self._parted or await self._is_log_replaced():
                self.replaced_at = self._clock.seconds()
                await self._start_over("the log was replaced by another")
                entries = ()
            elif await self._has_missed_entries(entries):
                await self._start_over("entries were pruned before they were delivered here")
                entries = ()
            await self._dispatch_entries(entries)
            if len(entries) == PAGE_SIZE:
                self._wake_requested = True
            else:
                self._freshness.mark_current(began)
            self._unavailable = False

    async def _is_log_replaced(self) -> bool:
        """Whether the log does not have the entry that was dispatched last: a backup was restored, or a standby
        was promoted that did not have it yet.

        It costs nothing while that entry is in a term that the store knows.
        """
        cursor = self._dispatcher.cursor
        return cursor is not None and await self._log_source.locate(cursor) is None

    async def _has_missed_entries(self, entries: Sequence[Entry]) -> bool:
        """Whether some before or between `entries`, the next ones, were pruned that matter here.

        Positions are dense, so holes show.  Nothing is pruned that a living instance has not delivered
        (`instance_positions`), so they are rare; what is missing is known by the floors of what was pruned.
        """
        position = self._dispatcher.position
        if not entries or entries[-1].position == position + len(entries):
            return False
        floors = await self._log_source.retention_floors()
        return self._dispatcher.skip_pruned([name for name, floor in floors.items() if floor > position])

    async def _skip_damaged(self) -> bool:
        """Begin anew behind damaged entries, if there are any behind the last one; whether it did.

        They would never be delivered, nor would any behind them.
        """
        position, head = self._dispatcher.position, await self._log_source.head()
        if head[0] <= position:
            return False
        self._skips += 1
        now, last = self._clock.seconds(), self._skips_logged_at
        if last is None or now - last >= SKIPS_LOGGED_EVERY:
            self._log.critical(
                "what follows position {position} of the log is damaged and skipped, up to {head} ({times} times "
                "since this was last said): all connections are closed",
                position=position,
                head=head[0],
                times=self._skips,
            )
            self._skips, self._skips_logged_at = 0, now
        self._replace_log(head)
        return True

    async def _start_over(self, why: str) -> None:
        self._log.critical("{why}: all connections are closed", why=why)
        self._replace_log(await self._log_source.head())

    def _replace_log(self, head: tuple[int, str]) -> None:
        self._read_ahead, self._parted = (0.0, 0), False
        self._dispatcher.replace_log(*head)

    async def _dispatch_entries(self, entries: Sequence[Entry]) -> None:
        """In slices, between which the reactor has its turn: each entry may have thousands of subscribers."""
        ends = self._clock.seconds() + TURN_BUDGET
        for entry in entries:
            if self._clock.seconds() >= ends:
                await deferLater(self._clock, 0)
                if not self.running:
                    return
                ends = self._clock.seconds() + TURN_BUDGET
            self._dispatcher.dispatch_logged(entry)

    async def _announce_revocations_ahead(self) -> None:
        """Rights that ended while the log was stale end now, wherever in the backlog the revocation is."""
        now, (last_at, last_position) = self._clock.seconds(), self._read_ahead
        low = max(self._dispatcher.position, last_position)
        head, _ = await self._log_source.head() if now - last_at >= LOOKAHEAD_INTERVAL else (low, "")
        for prefix in REVOCATION_TOPICS:
            position = low
            while position < head:
                page = await self._log_source.read_page(prefix, position, head)
                for entry in page.entries:
                    self._dispatcher.announce_revocations(entry)
                position = page.end_position
        if head > low:
            self._read_ahead = now, head

    def _read_failed(self, failure: Failure) -> None:
        """The log can't be read now; the next poll tries again."""
        failure.trap(Refusal)
        if not self._unavailable:
            self._log.warn("the log can't be read: {why}", why=failure.getErrorMessage())
        self._unavailable = True

    def _read_finished(self, result: object) -> object:
        self._reading = None
        return result
