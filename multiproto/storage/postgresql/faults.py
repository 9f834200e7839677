"""What a failure of PostgreSQL means to who asked."""

from __future__ import annotations

from ...core.errors import TimedOut, Unavailable
from .line import Failed, Lost

TIMED_OUT = {"57014"}  # query_canceled: `statement_timeout`
# Classes of SQLSTATE that say nothing against the statement: no connection, rolled back to be tried again,
# out of disk or memory, shut down, and a disk that fails.
AWAY = {"08", "40", "53", "55", "57", "58"}
VIOLATION = "23"  # class: integrity constraint


def explained(error: Exception) -> Exception:
    """The refusal that `error` comes to, or `error` itself where it is a bug of ours.

    Only for what is certain to have been undone.
    """
    if isinstance(error, Lost):
        return Unavailable("The database is away")
    if isinstance(error, Failed):
        if error.state in TIMED_OUT:
            return TimedOut("The database took too long")
        if error.state[:2] in AWAY:
            return Unavailable("The database can't do this now")
    return error


def violates(error: Exception) -> bool:
    return isinstance(error, Failed) and error.state.startswith(VIOLATION)
