"""What can go wrong with PostgreSQL, and which refusal the caller gets for it."""

from __future__ import annotations

from typing import Sequence

from ...core.errors import DataDamaged, TimedOut, Unavailable

TIMEOUT_STATES = {"57014"}  # query_canceled: `statement_timeout`
# Classes of SQLSTATE that are not the statement's fault: no connection, rolled back to be tried again, out of disk
# or memory, shut down, and a disk that fails.
UNAVAILABLE_CLASSES = {"08", "40", "53", "55", "57", "58"}
# data_corrupted, index_corrupted: a page whose checksum is not its own, or that makes no sense.
DAMAGE_STATES = {"XX001", "XX002"}
INTEGRITY_VIOLATION_CLASS = "23"  # class: integrity constraint


class DatabaseConnectionLost(Exception):
    """The connection has ended.  Statements that were sent and not answered may have been executed."""


class StatementFailed(Exception):
    """A statement failed, and those behind it in the same `execute` were skipped.

    `sqlstate` is its SQLSTATE, `index` its place in the `execute`, from 0, and
    `affected` has the number of rows of each statement before it.
    """

    def __init__(self, sqlstate: str, message: str, affected: Sequence[int] = ()) -> None:
        super().__init__(f"{message} (SQLSTATE {sqlstate})")
        self.sqlstate = sqlstate
        self.affected = affected
        self.index = len(affected)


class DatabaseUnreachable(Exception):
    """No connection can be opened now; the text says why."""


def to_refusal(error: Exception) -> Exception:
    """The refusal for `error`, or `error` itself where it is a bug of ours.

    Only for work that is certain to have been undone.
    """
    if isinstance(error, DatabaseConnectionLost):
        return Unavailable("The database is away")
    if isinstance(error, StatementFailed):
        if error.sqlstate in TIMEOUT_STATES:
            return TimedOut("The database took too long")
        if error.sqlstate in DAMAGE_STATES:
            return DataDamaged(str(error))
        if error.sqlstate[:2] in UNAVAILABLE_CLASSES:
            return Unavailable("The database can't do this now")
    return error


def is_integrity_violation(error: Exception) -> bool:
    return isinstance(error, StatementFailed) and error.sqlstate.startswith(INTEGRITY_VIOLATION_CLASS)
