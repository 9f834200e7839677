"""What one subscription got, compared with what it should have got."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Sequence

from attrs import Factory, define

from . import records
from .histories import Histories
from .log import Entry
from .records import Record
from .report import Fault, Report
from .rights import heard_on

GRACE = 1.0  # seconds after which a right that was lost must have no effect (docs/guarantees.md#g7-authority-is-current)


@define(eq=False)
class Subscription:
    """One pattern that one client follows, over all its connections.

    Each connection begins at a place of the log and should hear everything
    behind it, in order: `_at` is the position that it has got to, in the histories of
    `_within`, which agree so far.  A delivery from before that is a duplicate when it
    came already, with the same cursor.
    """

    _told: list[Record]  # in the order they were written
    _histories: Histories
    _revoked: float | None  # seconds since the epoch; when its user lost all rights
    _must_recover: bool
    _report: Report
    _due: list[list[Entry]] = Factory(list)  # of each history
    _at: int | None = None  # None: wherever the first delivery is
    _within: frozenset[int] = frozenset()  # the histories that the present connection may follow
    _seen: set[str] = Factory(set)  # cursors
    _hashes: set[str] = Factory(set)
    _skipped: dict[str, tuple[Entry, Record]] = Factory(dict)  # by id, with the delivery that came instead
    _after: str | None = None  # what the present connection asked to resume from
    _ready: bool = False  # it was ever answered
    _left: bool = False

    def check(self) -> None:
        first = self._told[0]
        due: dict[str, bool] = {}  # by id: most are in several histories
        for log in self._histories.logs:
            for entry in log.entries:
                if entry.id not in due:
                    due[entry.id] = heard_on(first.user, first.topic, entry.topics) is not None
            self._due.append([entry for entry in log.entries if due[entry.id]])
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
            self._stand(record.cursor)
        elif record.recovered:
            self._report.figures["resumes recovered"] += 1
            if not self._stand(self._after) or self._histories.over(self._within, record.time):
                self._found(Fault.UNFOUNDED, record, str(self._after))
        else:
            self._report.figures["resumes not recovered"] += 1
            self._stand(record.cursor)
            if record.recovered is None:
                self._found(Fault.UNSAID, record, f"after {self._after}")
            elif self._must_recover:
                self._found(Fault.UNRECOVERED, record, f"after {self._after}")

    def _stand(self, cursor: str | None) -> bool:
        """Go on behind `cursor`; whether any history has it."""
        stand = self._histories.stand(cursor)
        self._at, self._within = stand or (None, self._histories.everything)
        return stand is not None

    def _deliver(self, record: Record) -> None:
        cursor = record.cursor or ""
        if self._revoked is not None and record.time > self._revoked + GRACE:
            self._found(Fault.LATE, record, f"{record.time - self._revoked:.3f} s, {cursor}")
        entry = self._fitting(record)
        if entry is None:
            return
        self._follow(record, entry)
        if self._at is None or entry.position > self._at:
            if self._at is not None:
                self._skip_to(entry, record)
            self._at = entry.position
        elif self._skipped.pop(entry.id, None) or cursor not in self._seen:
            self._found(Fault.SWAPPED, record, cursor)
        if cursor in self._seen:
            self._report.figures["duplicates"] += 1
        self._seen.add(cursor)
        self._hashes.add(record.hash)

    def _follow(self, record: Record, entry: Entry) -> None:
        """The connection follows a history that has `entry`."""
        having = frozenset(
            number for number, each in self._histories.find(entry.cursor) if each.id == entry.id
        )
        if self._histories.over(having, record.time):
            self._found(Fault.VANISHED, record, entry.cursor)
        if self._within and not having & self._within:
            self._found(Fault.UNTOLD, record, f"{entry.cursor}, behind position {self._at}")
            self._at, self._within = None, having
        self._within = (self._within & having) or having

    def _skip_to(self, entry: Entry, record: Record) -> None:
        due = self._due[max(self._within)]
        self._skipped.update(
            (each.id, (each, record)) for each in _between(due, self._at or 0, entry.position)
        )

    def _fitting(self, record: Record) -> Entry | None:
        """The entry that this delivered; `None`, and the fault found, where it was nothing that could be due here."""
        cursor = record.cursor or ""
        named = [entry for _, entry in self._histories.find(cursor)]
        fitting = [entry for entry in named if entry.blank or entry.hash == record.hash]
        if not fitting and record.hash in self._hashes:
            self._found(Fault.RENAMED, record, cursor)
        elif not named:
            self._found(Fault.PHANTOM, record, cursor)
        elif not fitting:
            self._found(Fault.ALTERED, record, cursor)
        else:
            entry = fitting[-1]
            topic = heard_on(record.user, self._told[0].topic, entry.topics)
            if topic is None:
                self._found(self._trespass(record, entry), record, f"{record.topic}, {cursor}")
                return None
            if record.topic != topic:
                self._found(Fault.UNASKED, record, f"{record.topic}, {cursor}")
            return entry
        return None

    def _trespass(self, record: Record, entry: Entry) -> Fault:
        readable = heard_on(record.user, "**", entry.topics) is not None
        return Fault.UNASKED if readable else Fault.TRESPASS

    def _finish(self, first: Record) -> None:
        """What was passed over is missing, and so is what never came; one who lost the right or left gets no more."""
        for entry, instead in self._skipped.values():
            if not entry.blank:
                self._found(Fault.MISSING, instead, f"{entry.cursor}; {instead.cursor} came instead")
        if self._left or self._revoked is not None:
            return
        if not self._ready:
            self._found(Fault.DEAF, first, first.topic)
        elif self._within and self._histories.newest not in self._within:
            self._found(Fault.UNTOLD, first, f"position {self._at}, to the end")
        elif self._at is not None:
            for entry in _between(self._due[-1], self._at):
                if not entry.blank:
                    self._found(Fault.MISSING, first, f"{entry.cursor}, to the end")

    def _found(self, fault: Fault, record: Record, what: str) -> None:
        self._report.found(fault, f"{record.client} over {record.protocol}: {what}")


def _between(due: Sequence[Entry], behind: int, before: int | None = None) -> Sequence[Entry]:
    """Those with positions behind one and before another, if that is given."""
    first = bisect_right(due, behind, key=_position)
    return due[first:] if before is None else due[first : bisect_left(due, before, key=_position)]


def _position(entry: Entry) -> int:
    return entry.position
