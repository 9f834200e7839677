"""What the core needs from the outside, named by the core.

The rooms that implement these (`auth`, `broker`, `storage`, and every wire's
adapter) import this file; this file imports none of them.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Mapping, Protocol

from .identity import Identity
from .protocol import Delivery, DeliveryBatch, Farewell, Reply
from .ratelimit.token_bucket import Rate
from .transactions import Entry, Page, Publication, Query, Snapshot, Unit


class Authenticator(Protocol):
    def authenticate(self, token: str, host: str = "") -> Awaitable[Identity]:
        """Whose token or credential this is, by a session and a user that still exist.

        `host` is the address that it came from, where that is known.  Raises `Unauthorized`.
        """


class TokenIssuer(Protocol):
    def issue(self, user_id: str, email: str, session_id: str) -> str:
        """A signed access token."""

    @property
    def lifetime(self) -> str:
        """How long a token is good for, as configured, e.g. "15m"."""


class CredentialIssuer(Protocol):
    def issue(self, id: str) -> tuple[str, str]:
        """A new secret of the credential `id`, which is shown once, and what is kept of it."""


class PasswordHasher(Protocol):
    """A slow hash in a bounded pool.

    `on_behalf_of` names whose share of it is used: an address, say.  All raise
    `RateLimited` when that is used up, and `Unavailable` when the queue is full.
    """

    def check_capacity(self, on_behalf_of: str = "") -> None:
        """Raises at once what the others would raise now: to be asked before any work for them is done."""

    def hash(self, password: str, on_behalf_of: str = "") -> Awaitable[str]: ...

    def verify(self, password: str, hashed: str | None, on_behalf_of: str = "") -> Awaitable[bool]:
        """False for `None`, after the same work as for a real hash."""


class SharedLimitStore(Protocol):
    """Buckets and marks that all instances share.  All raise `Unavailable` soon rather than wait long."""

    def lease(self, key: str, rate: Rate, tokens: int) -> Awaitable[tuple[int, float]]:
        """As many of `tokens` as the bucket `key` has, and if none, the seconds until it has one.

        Below 0: that many are given back.
        """

    def mark(self, key: str, seconds: float) -> Awaitable[None]:
        """Remember `key` for so long."""

    def has_mark(self, key: str) -> Awaitable[bool]: ...


class Store(Protocol):
    """The domain's rows and, in the same transactions, the events of the log."""

    def read(self, *queries: Query) -> Awaitable[Snapshot]:
        """The rows of all `queries`, in one snapshot.  Raises `Unavailable`, `TimedOut`."""

    def commit(self, unit: Unit) -> Awaitable[str]:
        """Execute `unit`; returns once it is durable, with the cursor of its last event.

        Raises the `miss` or `clash` of the step that failed, or `Unavailable`
        when the store can't be reached or its queue is full: then nothing was
        done.  `DatabaseError` means that the commit itself failed: it is unknown
        whether the unit was kept.
        """

    def cursor_of(self, position: int) -> str:
        """The opaque name of `position` in the log, as clients see it."""


class LogReader(Protocol):
    """The log, as the follower and clients that resume read it."""

    def head(self) -> Awaitable[tuple[int, str]]:
        """Position and cursor of the newest entry; position 0 for an empty log."""

    def read_after(self, position: int, limit: int) -> Awaitable[tuple[Entry, ...]]:
        """The next entries after `position`, at most `limit`, in order."""

    def read_page(self, lead: str, low: int, high: int) -> Awaitable[Page]:
        """The entries after `low`, up to `high`, with a topic that begins with `lead`; redacted ones left out.

        A page has bounded size, so its `end_position` may be below `high`; it is
        above `low` whenever `high` is.
        """

    def locate(self, cursor: str) -> Awaitable[int | None]:
        """The position that `cursor` names; `None` when this log never had it."""

    def retention_floors(self) -> Awaitable[Mapping[str, int]]:
        """For each namespace that is kept, the position up to which entries may have been pruned."""


class LogStore(Store, LogReader, Protocol):
    """All that the wiring uses of a store, whatever its engine."""

    @property
    def newest(self) -> int:
        """Position of the log's head, as far as this process has seen it."""

    @property
    def connections(self) -> int:
        """How many connections to the database are open."""

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many reads and writes are queued, by operation: "read", "write"."""

    def on_commit(self, listener: Callable[[], object]) -> None:
        """Call `listener`, in the reactor thread, whenever the log has grown, here or by another instance."""


class Broker(Protocol):
    def publish(self, publication: Publication) -> Awaitable[None]:
        """Accept and deliver.  Raises `Unavailable`.

        Called in order, answered in order: a session submits several without
        waiting for each.
        """

    @property
    def scope(self) -> str | None:
        """ "instance" while what is published reaches only those who listen here, although there may be others."""


class DeliveryListener(Protocol):
    def deliver(self, delivery: Delivery) -> bool:
        """Take `delivery`, unless its owner may not read that topic: then False."""


class DeliveryBatchListener:
    """A `DeliveryListener` that may take several deliveries at once; others are told of each."""

    __slots__ = ()

    def deliver_batch(self, burst: DeliveryBatch) -> bool | None:
        """Take all of `burst`, unless its owner may not read that topic: then False.

        `None`, with nothing taken, where they had better come one by one.
        """
        raise NotImplementedError


class Transport(Protocol):
    """What a wire must be able to do for its session."""

    def send(self, reply: Reply) -> int:
        """Write `reply` and return its size in bytes; 0 for what this wire leaves unsaid."""

    def send_batch(self, burst: DeliveryBatch) -> int:
        """Write all of `burst` at once and return its size in bytes; 0 where they are to be sent one by one."""

    def size_of(self, reply: Reply) -> int:
        """What `send` would return, without sending."""

    def close(self, why: Farewell) -> None:
        """Say `why` in the wire's own manner and hang up politely.  Called once."""

    def abort(self) -> None:
        """Cut the line now, whatever is still unsent."""

    def pause_reading(self) -> None:
        """Read no more for now; the session has enough to do."""

    def resume_reading(self) -> None: ...
