"""What one subscription got, compared with what it should have got."""

from __future__ import annotations

from bisect import bisect_right

from attrs import Factory, define

from . import records
from .log import Entry, Log
from .records import Record
from .report import Fault, Report
from .rights import heard_on

GRACE = 1.0  # seconds after which a right that was lost must have no effect (docs/guarantees.md#g7-authority-is-current)


@define(eq=False)
class Subscription:
    """One pattern that one client follows, over all its connections.

    Each connection begins at a place of the log and should hear everything
    behind it, in order: `_next` is the index of what comes next in `_due`.
    A delivery from before that is a duplicate when it came already, with the same cursor.
    """

    _told: list[Record]  # in the order they were written
    _log: Log
    _revoked: float | None  # seconds since the epoch; when its user lost all rights
    _must_recover: bool
    _report: Report
    _due: list[Entry] = Factory(list)
    _index: dict[str, int] = Factory(dict)  # cursor -> place in `_due`
    _next: int | None = None  # None: wherever the first delivery is
    _seen: set[str] = Factory(set)  # cursors
    _hashes: set[str] = Factory(set)
    _skipped: dict[int, Record] = Factory(dict)  # place in `_due` -> the delivery that came instead
    _after: str | None = None  # what the present connection asked to resume from
    _ready: bool = False  # it was ever answered
    _left: bool = False

    def check(self) -> None:
        first = self._told[0]
        for entry in self._log.entries:
            if heard_on(first.user, first.topic, entry.topics) is not None:
                self._index[entry.cursor] = len(self._due)
                self._due.append(entry)
        for record in self._told:
            self._take(record)
        self._finish(first)

    def _take(self, record: Record) -> None:
        figures = self._report.figures
        match record.op:
            case records.SUBSCRIBE if record.state == records.INVOKED:
                self._after = record.cursor
                figures[f"connects {record.protocol}"] += 1
            case records.SUBSCRIBE if record.state == records.OK:
                self._ready = True
                self._begin(record)
            case records.DELIVER:
                figures[f"delivered {record.protocol}"] += 1
                self._deliver(record)
            case records.CAUGHT_UP:
                figures["replays caught up"] += 1
            case records.UNSUBSCRIBE:
                self._left = True

    def _begin(self, record: Record) -> None:
        """A connection was answered: find where it stands."""
        if self._after is None:
            self._next = self._behind(record.cursor)
        elif record.recovered:
            self._report.figures["resumes recovered"] += 1
            self._next = self._behind(self._after)
            if self._next is None:
                self._found(Fault.UNFOUNDED, record, str(self._after))
        else:
            self._report.figures["resumes not recovered"] += 1
            self._next = self._behind(record.cursor)
            if record.recovered is None:
                self._found(Fault.UNSAID, record, f"after {self._after}")
            elif self._must_recover:
                self._found(Fault.UNRECOVERED, record, f"after {self._after}")

    def _behind(self, cursor: str | None) -> int | None:
        """The index of the first that is due behind `cursor`."""
        position = self._log.position(cursor)
        if position is None:
            return None
        return bisect_right(self._due, position, key=lambda entry: entry.position)

    def _deliver(self, record: Record) -> None:
        cursor = record.cursor or ""
        if self._revoked is not None and record.time > self._revoked + GRACE:
            self._found(Fault.LATE, record, f"{record.time - self._revoked:.3f} s, {cursor}")
        place = self._index.get(cursor)
        if self._misfit(record, place):
            return
        assert place is not None
        expected = place if self._next is None else self._next
        if place >= expected:
            self._skipped.update((each, record) for each in range(expected, place))
            self._next = place + 1
        elif self._skipped.pop(place, None) or cursor not in self._seen:
            self._found(Fault.SWAPPED, record, cursor)
        if cursor in self._seen:
            self._report.figures["duplicates"] += 1
        self._seen.add(cursor)
        self._hashes.add(record.hash)

    def _misfit(self, record: Record, place: int | None) -> bool:
        """Whether this was nothing that could be due here; finds why."""
        cursor = record.cursor or ""
        entry = self._log.by_cursor.get(cursor)
        fits = entry is not None and (entry.blank or entry.hash == record.hash)
        if not fits and record.hash in self._hashes:
            self._found(Fault.RENAMED, record, cursor)
        elif entry is None:
            self._found(Fault.PHANTOM, record, cursor)
        elif not fits:
            self._found(Fault.ALTERED, record, cursor)
        elif place is None:
            self._found(self._trespass(record, entry), record, f"{record.topic}, {cursor}")
        else:
            if record.topic != heard_on(record.user, self._told[0].topic, entry.topics):
                self._found(Fault.UNASKED, record, f"{record.topic}, {cursor}")
            return False
        return True

    def _trespass(self, record: Record, entry: Entry) -> Fault:
        readable = heard_on(record.user, "**", entry.topics) is not None
        return Fault.UNASKED if readable else Fault.TRESPASS

    def _finish(self, first: Record) -> None:
        """What was passed over is missing, and so is what never came; one who lost the right or left gets no more."""
        for place, instead in self._skipped.items():
            if not self._due[place].blank:
                self._found(
                    Fault.MISSING, instead, f"{self._due[place].cursor}; {instead.cursor} came instead"
                )
        if self._left or self._revoked is not None:
            return
        if not self._ready:
            self._found(Fault.DEAF, first, first.topic)
        elif self._next is not None:
            for entry in self._due[self._next :]:
                if not entry.blank:
                    self._found(Fault.MISSING, first, f"{entry.cursor}, to the end")

    def _found(self, fault: Fault, record: Record, what: str) -> None:
        self._report.found(fault, f"{record.client} over {record.protocol}: {what}")
