"""The interfaces through which the core uses everything outside it.

The packages that implement them (`auth`, `broker`, `storage`, and every wire)
import this module; it imports none of them.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Mapping, Protocol, Sequence

from .client_info import ClientInfo, Requester
from .identity import Identity
from .protocol import Delivery, DeliveryBatch, Farewell, Reply
from .ratelimit.token_bucket import Rate
from .transactions import Entry, Page, Publication, Query, Snapshot, Unit


class Authenticator(Protocol):
    def authenticate(self, token: str, client: ClientInfo = ClientInfo()) -> Awaitable[Identity]:
        """Whose token or credential this is, by a session and a user that still exist.

        When it returns, no revocation that this instance knows of has ended that identity.
        `client` is where the token came from.  Raises `Unauthorized`, or `Unavailable`.
        """


class TokenIssuer(Protocol):
    def issue(self, user_id: str, email: str, session_id: str) -> str:
        """A signed access token."""

    @property
    def lifetime(self) -> str:
        """How long a token is good for, as configured, e.g. "15m"."""


class CredentialIssuer(Protocol):
    def issue(self, id: str) -> tuple[str, str]:
        """A new secret of the credential `id`, which is shown once, and its hash, which is stored."""


class PasswordHasher(Protocol):
    """A slow hash in a bounded pool.

    `requester` is the address and user whose share of the pool is used.  All raise
    `RateLimited` when that is used up, and `Unavailable` when the queue is full.
    """

    def check_capacity(self, requester: Requester = Requester()) -> None:
        """Raise what the other methods would raise now: to be called before other work for them is done."""

    def hash(self, password: str, requester: Requester = Requester()) -> Awaitable[str]: ...

    def verify(
        self, password: str, hashed: str | None, requester: Requester = Requester()
    ) -> Awaitable[bool]:
        """False for `None`, after the same work as for a real hash."""


class SharedLimitStore(Protocol):
    """Token buckets that all instances share.  All raise `Unavailable` soon rather than wait long."""

    def lease(self, key: str, rate: Rate, tokens: int) -> Awaitable[tuple[int, float]]:
        """Take up to `tokens` from the bucket `key`; gives how many, and if none, the seconds until it has one.

        A negative number gives that many back.
        """


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
        """The opaque name of `position` in the log, as clients see it; of one before the log, where rows are, too."""

    def cursors_of(self, positions: Sequence[int]) -> Sequence[str]:
        """The name of each of `positions`, as `cursor_of` gives it."""

    def locate(self, cursor: str) -> Awaitable[int | None]:
        """The position that `cursor` names; `None` when this log never had it."""


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

    def check_writes(self) -> None:
        """Raise `Unavailable` while what is committed fails."""

    @property
    def damage_warning(self) -> str | None:
        """A sentence for operators on damage to what is stored, once some was found."""

    def on_commit(self, listener: Callable[[], object]) -> None:
        """Call `listener`, in the reactor thread, whenever the log has grown, here or by another instance."""

    def on_parted(self, listener: Callable[[], object]) -> None:
        """Call `listener`, in the reactor thread, when the log turns out to have another history than was known:
        a backup was restored, or a standby promoted that lacked the latest events."""


class Broker(Protocol):
    def publish(self, publication: Publication) -> Awaitable[None]:
        """Accept and deliver.  Raises `Unavailable`.

        Called in order, completed in order: a connection submits several without
        waiting for each.
        """

    @property
    def scope(self) -> str | None:
        """ "instance" while publications reach only the subscribers of this instance, although there may be others."""


class DeliveryListener(Protocol):
    def deliver(self, delivery: Delivery) -> bool:
        """Accept `delivery`; False, where the listener's user may not read its topic."""


class DeliveryBatchListener:
    """A `DeliveryListener` with any number of patterns, which can accept several deliveries at once.

    Others have what several of their patterns cover delivered once, and one by one.
    """

    __slots__ = ()

    # Whether it understands deliveries that name its patterns; else each pattern has its own.
    uses_extensions: bool

    def may_read(self, delivery: Delivery) -> bool:
        """Whether `deliver` would accept it."""
        raise NotImplementedError

    def deliver_batch(self, batch: DeliveryBatch) -> bool | None:
        """Accept all of `batch`; False, where the listener's user may not read its topic.

        `None`, with none accepted, where they are to be delivered one by one.
        """
        raise NotImplementedError


class Transport(Protocol):
    """What a wire must be able to do for its `Connection`."""

    @property
    def pauses_for_login(self) -> bool:
        """Whether nothing is read while a first login is checked, as what may follow depends on it."""

    def send(self, reply: Reply) -> int:
        """Write `reply` and return its size in bytes; 0 for a reply that this wire does not have."""

    def send_batch(self, batch: DeliveryBatch) -> int:
        """Write all of `batch` at once and return its size in bytes; 0 where they are to be sent one by one."""

    def size_of(self, reply: Reply) -> int:
        """What `send` would return, without sending."""

    def close(self, farewell: Farewell) -> None:
        """Send `farewell` in the wire's own form, then close the connection gracefully.  Called once."""

    def abort(self) -> None:
        """Close the connection now, whatever is still unsent."""

    def acknowledged_bytes(self) -> int | None:
        """How many bytes the peer's kernel has acknowledged so far, to see whether it reads; `None`: unknown."""

    def limit_unsent(self, limited: bool) -> None:
        """Keep little on this side that the peer has no room for, or as much as the system allows."""

    def pause_reading(self) -> None:
        """Read no more for now: too many commands wait, or too many bytes came."""

    def resume_reading(self) -> None: ...
