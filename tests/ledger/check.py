"""The ledger checker: records and the log in, a report out.  Pure.

Judges docs/guarantees.md#g1-durable-acknowledgement and those that follow:
what was acknowledged is in the log once and in the order of time, and every subscription got the log, filtered by its
pattern and its user's rights, from where it began.

Run as `python -m tests.ledger.check DATABASE RECORDS...`.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Container, Iterable, Mapping, Sequence

from attrs import define, frozen

from ..command_line import make_parser
from . import log, records
from .deliveries import Subscription
from .histories import Histories, Parting
from .log import Log
from .records import FAILED, INVOKED, OK, REVOKE, SEND, UNKNOWN, Record
from .report import Fault, Report
from .rights import may_read


@frozen
class Listing:
    """A list of messages, read over a wire: how many there are said to be, and the hashes of those read."""

    user: str
    total: int
    payloads: Sequence[str]


def check(
    observed: Iterable[Record],
    log: Log,
    listings: Iterable[Listing] = (),
    must_recover: bool = False,
    one_retry: bool = False,
    partings: Sequence[Parting] = (),
) -> Report:
    """Compare; `log` is the present one, and `partings` are in the order in which it went back.

    With `must_recover`, a resume that was told `recovered: false` is a fault too; with
    `one_retry`, a send that was not acknowledged when it was repeated for the first time.
    """
    report, histories = Report(), Histories(log, partings)
    sends: dict[tuple[str, str], _Send] = {}
    lines: dict[tuple[str, str], list[Record]] = defaultdict(list)
    revoked: dict[str, float] = {}
    named: set[tuple[str, str]] = set()  # a cursor that a client was told, and of what
    for record in observed:
        if record.cursor is not None and record.state == OK:
            named.add((record.cursor, record.hash))
        if record.op == SEND:
            sends.setdefault((record.client, record.key), _Send()).take(record)
        elif record.op == REVOKE:
            revoked[record.user] = record.time
        else:
            lines[record.client, record.key].append(record)
    _check_positions(log, report)
    _check_partings(histories, named, report)
    _check_sends(sends, histories, report)
    _check_repeats(sends.values(), report, one_retry)
    _check_real_time(sends.values(), log, report)
    for listing in listings:
        _check_listing(listing, log, report)
    for told in lines.values():
        Subscription(told, histories, revoked.get(told[0].user), must_recover, report).check()
    report.figures["logged"] = len(log.entries)
    return report


@define(eq=False)
class _Send:
    """All attempts of one send; without an idempotency key there is only one."""

    hash: str = ""
    name: str = ""
    protocol: str = ""
    invoked: float = 0.0  # seconds since the epoch; first
    answered: float | None = None  # when it was acknowledged
    cursor: str | None = None
    attempts: int = 0
    _open: bool = False  # an attempt without an outcome yet
    _doubtful: bool = False

    @property
    def state(self) -> str:
        """Of all attempts: once acknowledged is acknowledged, once in doubt is in doubt."""
        if self.answered is not None:
            return OK
        return UNKNOWN if self._open or self._doubtful else FAILED

    def was_taken_away(self, histories: Histories) -> bool:
        """By a fault that may do so, after it was acknowledged."""
        if self.cursor is None or self.answered is None:
            return False
        return histories.took_away(self.cursor, self.hash, self.answered)

    def take(self, record: Record) -> None:
        if record.state == INVOKED:
            self._doubtful |= self._open
            self._open = True
            self.attempts += 1
            if not self.name:
                self.hash, self.invoked, self.protocol = record.hash, record.time, record.protocol
                self.name = f"{record.client} {record.key} over {record.protocol} to {record.topic}"
            return
        self._open = False
        self._doubtful |= record.state == UNKNOWN
        if record.state == OK:
            self.answered, self.cursor = record.time, record.cursor


def _check_positions(log: Log, report: Report) -> None:
    before, ids = log.floor, set()
    for entry in log.entries:
        if entry.position != before + 1:
            report.found(Fault.HOLE, f"position {entry.position} follows {before}")
        if entry.id in ids:
            report.found(Fault.TWICE, f"event {entry.id}, again at {entry.position}")
        before = entry.position
        ids.add(entry.id)
    for entry in log.wrongly_pruned:
        report.found(Fault.PRUNED, f"position {entry.position}, event {entry.id}")


def _check_partings(histories: Histories, named: Container[tuple[str, str]], report: Report) -> None:
    """What was kept is still there, and of what was taken away, no name that anybody was told is another's."""
    for number, parting in enumerate(histories.partings):
        later = histories.logs[number + 1]
        there = {entry.id for entry in later.entries}
        for entry in parting.former.entries:
            where = f"position {entry.position}, event {entry.id}"
            if later.floor < entry.position <= parting.kept and entry.id not in there:
                report.found(Fault.GONE, where)
            another = later.by_cursor.get(entry.cursor, entry)
            told = any((entry.cursor, hash) in named for hash in (entry.hash, entry.payload))
            if another.id != entry.id and told:
                report.found(Fault.REUSED, f"{where}: {entry.cursor} is {another.id}")
        report.figures["events taken away"] += sum(
            entry.position > parting.kept for entry in parting.former.entries
        )


def _check_sends(sends: Mapping[tuple[str, str], _Send], histories: Histories, report: Report) -> None:
    log = histories.present
    kept = Counter(entry.payload for entry in log.entries if entry.payload)
    sent = {send.hash for send in sends.values()}
    for send in sends.values():
        count = kept[send.hash]
        entry = log.by_cursor.get(send.cursor or "")
        report.figures[f"sends {send.state} {send.protocol}"] += 1
        if count > 1:
            report.found(Fault.TWICE, f"{send.name}: {count} times")
        if send.state == FAILED and count:
            report.found(Fault.KEPT, send.name)
        if send.was_taken_away(histories):
            report.figures["sends taken away"] += 1
        elif send.state == OK and not count and not (entry and entry.blank):
            report.found(Fault.LOST, f"{send.name}, cursor {send.cursor}")
        elif send.state == OK and not (entry and log.may_name(entry, send.hash)):
            report.found(Fault.WRONG_CURSOR, f"{send.name}: {send.cursor}")
    for entry in log.entries:
        if entry.payload and entry.payload not in sent:
            report.found(Fault.UNSENT, f"position {entry.position}, event {entry.id}")


def _check_repeats(sends: Iterable[_Send], report: Report, one_retry: bool) -> None:
    for send in sends:
        if send.attempts > 1:
            report.figures["sends repeated"] += 1
        if send.attempts > 2 or (send.attempts == 2 and send.state != OK):
            report.figures["sends repeated again"] += 1
            if one_retry:
                report.found(Fault.AGAIN, f"{send.name}: {send.attempts} attempts")


def _check_real_time(sends: Iterable[_Send], log: Log, report: Report) -> None:
    """Who sends after another's send was acknowledged is logged behind it (clients of one clock)."""
    moments: list[tuple[float, int, int, _Send]] = []
    for send in sends:
        position = log.position(send.cursor)
        if position is not None and send.answered is not None:
            moments += (send.invoked, 0, position, send), (send.answered, 1, position, send)
    highest = 0
    for _, answered, position, send in sorted(moments, key=lambda moment: moment[:3]):
        if answered:
            highest = max(highest, position)
        elif position < highest:
            report.found(Fault.LATER, f"{send.name}: position {position}, not behind {highest}")


def _check_listing(listing: Listing, log: Log, report: Report) -> None:
    """Messages only: publications are in no list."""
    there = Counter(
        entry.payload
        for entry in log.entries
        if entry.payload and entry.topics[0].startswith("messages")
        if any(may_read(listing.user, topic) for topic in entry.topics)
    )
    if listing.total != there.total():
        report.found(Fault.LISTED, f"{listing.user}: {listing.total} listed, {there.total()} logged")
    for payload, count in Counter(listing.payloads).items():
        if count != there[payload]:
            report.found(
                Fault.LISTED, f"{listing.user}: {payload} listed {count}, logged {there[payload]} times"
            )
    report.figures["listed"] += len(listing.payloads)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "database", type=Path, metavar="DATABASE", help="the file of the store, as it is at the end"
    )
    parser.add_argument(
        "records", type=Path, nargs="+", metavar="RECORDS", help="what each client has written down"
    )
    options = parser.parse_args()
    outcome = check(records.read(*options.records), log.from_sqlite(options.database))
    print(outcome)
    sys.exit(outcome.status)
