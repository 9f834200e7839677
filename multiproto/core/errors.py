"""The errors that clients get, as exceptions whose text the client may read.

Raise these anywhere behind a wire.  `code` is the number and `name`
the name in docs/common.md#error-codes, `status` is HTTP's.  Each wire uses those that
it has; a `Refusal` never ends more than one request.
"""

from __future__ import annotations

from math import ceil
from typing import ClassVar, Mapping, Sequence

from attrs import frozen

ErrorDetails = Mapping[str, object]


class Refusal(Exception):
    """The base of all errors that clients get.  Never raised itself."""

    code: ClassVar[int] = 50
    name: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    reason: str = "unavailable"  # of a failed authentication, one of `observe.protocol_stats.AUTH_FAILURES`
    retry_after: float | None = None  # seconds until another attempt may succeed, where that is known

    def __init__(self, message: str, details: ErrorDetails | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __eq__(self, other: object) -> bool:
        """By content, so that tests read as dialogues."""
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = Exception.__hash__

    @property
    def retry_after_fields(self) -> dict[str, int]:
        """`retry_after` as sockets send it: in milliseconds, rounded up."""
        return {} if self.retry_after is None else {"retryAfter": ceil(self.retry_after * 1000)}


class InvalidInput(Refusal):
    """The request can't be parsed at all: not JSON, not UTF-8, not an object."""

    code, name, status = 1, "INVALID_INPUT", 400


@frozen
class FieldError:
    """One thing wrong with one field; `path` leads to it from the body's root."""

    path: tuple[str | int, ...]
    message: str


class ValidationError(Refusal):
    """The request was parsed, but some of its fields are missing or invalid."""

    code, name, status = 2, "VALIDATION_ERROR", 400

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        found = [{"path": list(error.path), "message": error.message} for error in self.errors]
        super().__init__("Validation failed", {"errors": found})

    @classmethod
    def for_field(cls, field: str, message: str) -> ValidationError:
        """An error with one fault, of one field of the request."""
        return cls([FieldError((field,), message)])


class NotFound(Refusal):
    """There is no such resource, or none that this identity may see."""

    code, name, status = 3, "NOT_FOUND", 404

    @classmethod
    def of(cls, resource: str, id: str) -> NotFound:
        return cls(f"{resource} not found", {"resource": resource, "id": id})


class Unauthorized(Refusal):
    """No token, or one that is expired, forged or revoked."""

    code, name, status = 4, "UNAUTHORIZED", 401

    def __init__(self, message: str, reason: str = "invalid", details: ErrorDetails | None = None) -> None:
        """`reason` is "invalid", "expired" or "revoked", for metrics and the audit log."""
        super().__init__(message, details)
        self.reason = reason


class Forbidden(Refusal):
    """The identity has no right to do this."""

    code, name, status = 5, "FORBIDDEN", 403


class Conflict(Refusal):
    """The request contradicts the present state, e.g. an address that is already registered."""

    code, name, status = 6, "CONFLICT", 409
    reason = "conflict"


class RateLimited(Refusal):
    """A limit on count or rate was reached; a later attempt may succeed."""

    code, name, status = 7, "RATE_LIMITED", 429

    def __init__(self, message: str, setting: str | None = None, retry_after: float | None = None) -> None:
        """The text goes on to say after how many seconds to try again, and by which `setting` the limit is raised."""
        if retry_after is not None:
            message += f"; try again in {max(1, ceil(retry_after))} s"
        super().__init__(message if setting is None else f"{message} ({setting})")
        self.retry_after = retry_after


class TooLarge(Refusal):
    """More bytes than this server accepts in one request or publication."""

    code, name, status = 8, "PAYLOAD_TOO_LARGE", 413


class FrameTooLarge(Refusal):
    code, name, status = 10, "TCP_FRAME_TOO_LARGE", 413


class InvalidFrame(Refusal):
    code, name, status = 11, "TCP_INVALID_FRAME", 400


class TooManyConnections(Refusal):
    code, name, status = 13, "TCP_CONNECTION_LIMIT", 503


class UnknownMessageType(Refusal):
    code, name, status = 14, "TCP_INVALID_MESSAGE_TYPE", 400


class InternalError(Refusal):
    """A bug of the server.  Details are in the log, never in the response."""

    def __init__(self) -> None:
        super().__init__("Internal server error")


class DatabaseError(Refusal):
    """The database failed at a commit: it is unknown whether that was kept (docs/common.md#an-unknown-outcome)."""

    code, name, status = 52, "DATABASE_ERROR", 500


class DataDamaged(DatabaseError):
    """What is stored is not what was written: a disk, a file system or another program has changed it.

    `evidence` is for the operator, and has nothing of the data in it.
    """

    def __init__(self, evidence: str) -> None:
        super().__init__("Stored data is damaged")
        self.evidence = evidence


class TimedOut(Refusal):
    code, name, status = 54, "TIMEOUT", 504


class Unavailable(Refusal):
    """Overload, shutdown, or a dependency is away; nothing was done."""

    code, name, status = 55, "SERVICE_UNAVAILABLE", 503
