"""Queries, transactions, log entries and publications: plain data, the same for every storage engine."""

from __future__ import annotations

from typing import Any, Mapping

from attrs import field, frozen

from .errors import Refusal

Row = Mapping[str, Any]  # column -> value


@frozen
class Query:
    """A named, reading statement of `sql/<engine>`."""

    name: str
    params: Mapping[str, object] = field(factory=dict, repr=False)


@frozen
class Step:
    """A named, writing statement, and what it means when it fails.

    `miss` is raised when it affects other than `expected_rows` rows (`None` allows
    any number), `clash` when it violates a constraint.  Either rolls back the whole
    unit and no other.

    With `event`, the index of one of the unit's events, the statement has a parameter
    `:position` more: where in the log that event comes to be.
    """

    name: str
    params: Mapping[str, object] = field(repr=False)
    expected_rows: int | None = None
    miss: Refusal | None = None
    clash: Refusal | None = None
    event: int | None = None

    def params_behind(self, head: int) -> Mapping[str, object]:
        """All parameters, where the unit's events come behind the position `head`."""
        return self.params if self.event is None else {**self.params, "position": head + 1 + self.event}


@frozen
class Event:
    """An event, to be appended to the log in the transaction of the change that it reports.

    `topics` are all it is delivered on, in the order of docs/common.md#events; `content` is any
    JSON value; `subject` is the id of the user or message that it is about, by
    which its content can be redacted later; `namespace` decides its retention.
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
    # `content` as JSON, where known.
    encoded_content: bytes | None = field(default=None, eq=False, repr=False)


@frozen
class Unit:
    """One transaction: all of `steps` and `events` are committed, or none.

    Units of one owner are committed in the order they were asked for; between owners the store takes turns.
    """

    steps: tuple[Step, ...]
    events: tuple[Event, ...] = ()
    owner: str = ""  # id of the user who sends a message or publishes; nobody's share is the server's


@frozen
class Snapshot:
    """The results of some queries in one transaction, and the log's head at that moment."""

    results: tuple[tuple[Row, ...], ...] = field(repr=False)
    cursor: str


@frozen
class Entry:
    """One row of the log."""

    position: int  # strictly increasing in commit order; dense until the log is pruned
    cursor: str
    event: Event
    redacted: bool = False  # its content was withdrawn, and deleted


@frozen
class Page:
    """The entries of one range of the log that were asked for."""

    entries: tuple[Entry, ...]
    end_position: int  # the last position of the range, whether or not it has an entry
    retention_floors: Mapping[str, int]  # as of `LogReader.retention_floors` when it was read


@frozen
class Publication:
    """A client's publication, checked and authorized."""

    id: str
    topic: str
    content: object = field(repr=False)
    metadata: Mapping[str, object] = field(repr=False)
    sender_id: str  # user id
    accepted_at: float  # seconds since the epoch
    size: int = field(default=0, eq=False, repr=False)  # bytes of content and metadata, where that is known
    # `content` as JSON, where known.
    encoded_content: bytes | None = field(default=None, eq=False, repr=False)
