"""What is read from the store, written to it and published: plain data, the same for every engine."""

from __future__ import annotations

from typing import Any, Mapping

from attrs import field, frozen

from .errors import Refusal

Row = Mapping[str, Any]  # column -> value


@frozen
class Query:
    """A named statement of `sql/<engine>` that only reads."""

    name: str
    params: Mapping[str, object] = field(factory=dict, repr=False)


@frozen
class Step:
    """A named statement that writes, and what it means when it does not.

    `miss` is raised when it affects other than `expected_rows` rows (`None` takes any
    count), `clash` when it violates a constraint.  Either undoes the whole unit
    and no other.
    """

    name: str
    params: Mapping[str, object] = field(repr=False)
    expected_rows: int | None = None
    miss: Refusal | None = None
    clash: Refusal | None = None


@frozen
class Event:
    """What happened, to be appended to the log in the same transaction.

    `topics` are all that hear of it, in the contract's order; `content` is what
    they see, any JSON value; `subject` is the id of what it tells of, by which
    its content can be blanked later.  `namespace` decides how long it is kept.
    """

    id: str
    type: str
    topics: tuple[str, ...]
    content: object = field(repr=False)
    subject: str
    occurred_at: str  # RFC 3339
    namespace: str
    sender_id: str | None = None  # user id, of a client's publication
    metadata: Mapping[str, object] | None = field(default=None, repr=False)  # of a client's publication
    encoded_content: bytes | None = field(
        default=None, eq=False, repr=False
    )  # `content` as JSON, where known


@frozen
class Unit:
    """All of `steps` and `events` happen, or nothing does."""

    steps: tuple[Step, ...]
    events: tuple[Event, ...] = ()


@frozen
class Snapshot:
    """What some queries gave in one transaction, and the log's head at that moment."""

    results: tuple[tuple[Row, ...], ...] = field(repr=False)
    cursor: str


@frozen
class Entry:
    """One row of the log."""

    position: int  # strictly increasing in commit order; dense until the log is pruned
    cursor: str
    event: Event
    redacted: bool = False  # what it told of was withdrawn: nothing of its content is left


@frozen
class Page:
    """The entries of one stretch of the log that a reader may care for."""

    entries: tuple[Entry, ...]
    end_position: int  # the stretch ends with this position, whether or not there is an entry
    retention_floors: Mapping[str, int]  # as `LogReader.retention_floors` had them when it was read


# The live lane.


@frozen
class Publication:
    """What a client publishes, checked and permitted."""

    id: str
    topic: str
    content: object = field(repr=False)
    metadata: Mapping[str, object] = field(repr=False)
    sender_id: str  # user id
    accepted_at: float  # seconds since the epoch
    size: int = field(default=0, eq=False, repr=False)  # bytes of content and metadata, where that is known
    encoded_content: bytes | None = field(
        default=None, eq=False, repr=False
    )  # `content` as JSON, where known
