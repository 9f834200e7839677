"""What a failure of PostgreSQL means to who asked."""

from __future__ import annotations

from ...core.errors import TimedOut, Unavailable

TIMEOUT_STATES = {"57014"}  # query_canceled: `statement_timeout`
# Classes of SQLSTATE that say nothing against the statement: no connection, rolled back to be tried again,
# out of disk or memory, shut down, and a disk that fails.
UNAVAILABLE_CLASSES = {"08", "40", "53", "55", "57", "58"}
INTEGRITY_VIOLATION_CLASS = "23"  # class: integrity constraint


class DatabaseConnectionLost(Exception):
    """The connection is no more.  What was asked and not answered may have happened."""


class StatementFailed(Exception):
    """A statement failed, and nothing of its `execute` behind it was done.

    `sqlstate` is the SQLSTATE; `index` says which one of the `execute` it was, from 0.
    """

    def __init__(self, state: str, message: str, place: int) -> None:
        super().__init__(f"{message} (SQLSTATE {state})")
        self.sqlstate = state
        self.index = place


class DatabaseUnreachable(Exception):
    """No connection is to be had now; the text says why."""


def to_refusal(error: Exception) -> Exception:
    """The refusal that `error` comes to, or `error` itself where it is a bug of ours.

    Only for what is certain to have been undone.
    """
    if isinstance(error, DatabaseConnectionLost):
        return Unavailable("The database is away")
    if isinstance(error, StatementFailed):
        if error.sqlstate in TIMEOUT_STATES:
            return TimedOut("The database took too long")
        if error.sqlstate[:2] in UNAVAILABLE_CLASSES:
            return Unavailable("The database can't do this now")
    return error


def is_integrity_violation(error: Exception) -> bool:
    return isinstance(error, StatementFailed) and error.sqlstate.startswith(INTEGRITY_VIOLATION_CLASS)
