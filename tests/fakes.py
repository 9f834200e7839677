"""Small real things to test against, kept out of the package."""

from __future__ import annotations

import itertools
from functools import partial
from itertools import islice
from typing import Any, Callable, Iterable, Sequence

from attrs import Factory, define, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from multiproto.auth.authenticator import AuthenticationObserver, TokenAuthenticator
from multiproto.auth.credential_format import RandomCredentialIssuer
from multiproto.auth.credential_usage import CredentialUsage
from multiproto.auth.token_cache import TokenCache
from multiproto.auth.tokens import JwtTokens
from multiproto.base import strict_json
from multiproto.base.timestamps import format_timestamp
from multiproto.broker.memory import MemoryBroker
from multiproto.core import wiring
from multiproto.core.client_info import ClientInfo, Requester
from multiproto.core.connections.admission import Admission, ConnectionLimits
from multiproto.core.connections.hub import Hub
from multiproto.core.domain.audit_log import AuditRecorder
from multiproto.core.domain.failed_attempts import FailedAttempts
from multiproto.core.errors import DataDamaged, Unauthorized, Unavailable
from multiproto.core.idempotency import IdempotentSends
from multiproto.core.identity import Identity
from multiproto.core.protocol import DeliveryBatch, Farewell, Reply
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import MESSAGES, USERS, Namespace, Namespaces
from multiproto.core.pubsub.policy import Policy
from multiproto.core.pubsub.publisher import Publisher
from multiproto.core.pubsub.replay import ReplayReader
from multiproto.core.revocations import Revocations
from multiproto.core.transactions import Entry, Event, Page, Query, Step, Unit
from multiproto.core.turn_scheduler import TurnScheduler
from multiproto.core.wiring import AccountServices
from multiproto.log.follower import Follower
from multiproto.observe.protocol_stats import ProtocolStats
from multiproto.observe.wall_clock import WallClock


@define
class FakeAuthenticator:
    """An authenticator for which "token-<name>" proves to be <name>; `slow` holds its answers back."""

    slow: bool = False
    expires_at: float = 1000.0  # seconds
    pending: list[tuple[str, Deferred[Identity]]] = Factory(list)
    identities: dict[str, Identity] = Factory(dict)  # by name: those who are more than a name
    revocations: Revocations = Factory(Revocations)

    async def authenticate(self, token: str, client: ClientInfo = ClientInfo()) -> Identity:
        if not token.startswith("token-"):
            raise Unauthorized("Invalid token")
        if self.slow:
            answer: Deferred[Identity] = Deferred()
            self.pending.append((token, answer))
            identity = await answer
        else:
            identity = await succeed(self._identity(token))
        if self.revocations.is_revoked(identity):
            raise Unauthorized("Token revoked", "revoked")
        return identity

    def release_one(self) -> None:
        """Let go of the first answer held back."""
        token, answer = self.pending.pop(0)
        answer.callback(self._identity(token))

    def _identity(self, token: str) -> Identity:
        name = token[len("token-") :]
        until = self.expires_at
        return self.identities.get(name) or Identity(name, f"session-{name}", until, deadline=until)


@define(eq=False)
class MemoryLog:
    """A log in memory, whose cursors are cursor1, cursor2, …; `slow` holds its answers back, `away` fails them."""

    entries: list[Entry] = Factory(list)
    retention_floor: int = 0
    slow: bool = False
    away: bool = False
    pending: list[Deferred[None]] = Factory(list)
    read_count: int = 0
    lost: set[str] = Factory(set)  # cursors of a history that was replaced
    pruned: set[int] = Factory(set)  # positions
    damaged: set[int] = Factory(set)  # likewise: no read of one succeeds
    index_damaged: bool = False  # no read of any succeeds
    floors: dict[str, int] = Factory(dict)  # of further namespaces
    on_commit: Callable[[], object] = lambda: None

    def append(
        self, count: int = 1, *topics: str, content: object = None, type: str = "user.created"
    ) -> None:
        """`count` entries on `topics`, with `content`, or else each with its number."""
        for _ in range(count):
            position = len(self.entries) + 1
            told = {"n": position} if content is None else content
            event = Event(f"e{position}", type, topics or ("users",), told, "u", format_timestamp(5), USERS)
            self.entries.append(Entry(position, f"cursor{position}", event))

    async def commit(self, unit: Unit) -> str:
        for event in unit.events:
            position = len(self.entries) + 1
            self.entries.append(Entry(position, f"cursor{position}", event))
        await self._respond()
        self.on_commit()
        return self.cursor_of(len(self.entries))

    async def head(self) -> tuple[int, str]:
        return len(self.entries), self.entries[-1].cursor if self.entries else self.cursor_of(0)

    async def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        self.read_count += 1
        behind = (entry for entry in self.entries[position:] if entry.position not in self.pruned)
        page = tuple(islice(behind, limit))
        await self._respond()
        self._refuse_damaged(page)
        return page

    async def read_page(self, lead: str, low: int, high: int) -> Page:
        self.read_count += 1
        found = tuple(
            entry
            for entry in self.entries[low:high]
            if not entry.redacted and any(topic.startswith(lead) for topic in entry.event.topics)
        )
        await self._respond()
        self._refuse_damaged(found)
        return Page(found, high, await self.retention_floors())

    async def locate(self, cursor: str) -> int | None:
        await self._respond()
        if cursor.startswith("older"):  # of a list, whose row is older than the log
            return -int(cursor.removeprefix("older"))
        number = cursor.removeprefix("cursor").removeprefix("other")
        has_it = number.isdigit() and int(number) <= len(self.entries) and cursor not in self.lost
        return int(number) if has_it else None

    async def retention_floors(self) -> dict[str, int]:
        return {USERS: self.retention_floor, MESSAGES: self.retention_floor, **self.floors}

    def cursor_of(self, position: int) -> str:
        return f"cursor{position}"

    def cursors_of(self, positions: Sequence[int]) -> list[str]:
        return list(map(self.cursor_of, positions))

    def release(self) -> None:
        """Let go of the answers held back so far."""
        waiting, self.pending = self.pending, []
        for each in waiting:
            each.callback(None)

    def _refuse_damaged(self, page: Sequence[Entry]) -> None:
        if self.index_damaged or any(entry.position in self.damaged for entry in page):
            raise DataDamaged("a row")

    async def _respond(self) -> None:
        if self.slow:
            self.pending.append(Deferred())
            await self.pending[-1]
        if self.away:
            raise Unavailable("the database is away")


@define
class RecordingTransport:
    """A transport that keeps what is sent on it, and what else it is asked to do, in order."""

    sent: list[Reply | Farewell | str] = Factory(list)
    reply_size: int = 1  # bytes of each reply
    pauses_for_login: bool = False
    writes_batches: bool = False  # at once; else they are sent one by one
    acknowledged: int | None = None  # bytes
    unsent_is_limited: bool = False

    def send(self, reply: Reply) -> int:
        self.sent.append(reply)
        return self.reply_size

    def send_batch(self, batch: DeliveryBatch) -> int:
        if not self.writes_batches:
            return 0
        self.sent += batch.deliveries
        return self.reply_size

    def size_of(self, reply: Reply) -> int:
        return self.reply_size

    def close(self, why: Farewell) -> None:
        self.sent.append(why)

    def abort(self) -> None:
        self.sent.append("abort")

    def acknowledged_bytes(self) -> int | None:
        return self.acknowledged

    def limit_unsent(self, limited: bool) -> None:
        self.unsent_is_limited = limited

    def pause_reading(self) -> None:
        self.sent.append("pause")

    def resume_reading(self) -> None:
        self.sent.append("resume")


class PlainPasswords:
    """A `PasswordHasher` that hashes nothing, so that tests are about everything else; notes its work."""

    def __init__(self) -> None:
        self.verified: list[str | None] = []  # what passwords were compared with

    def check_capacity(self, requester: Requester = Requester()) -> None:
        """There always is."""

    async def hash(self, password: str, requester: Requester = Requester()) -> str:
        return f"hash of {password}"

    async def verify(self, password: str, hashed: str | None, requester: Requester = Requester()) -> bool:
        self.verified.append(hashed)
        return hashed == f"hash of {password}"


async def begin_session(store: Any, identity: Identity) -> None:
    """Give `identity` a session that began long ago, as changes of an account need one."""
    (user,) = (await store.read(Query("user_by_id", {"id": identity.user_id}))).results[0]
    params = {
        "id": identity.session_id,
        "user_id": identity.user_id,
        "password_hash": user["password_hash"],
        "at": "2001-01-01T00:00:00.000Z",
        "now": user["created_at"],
        "most": 100,
        "expires_at": "9999-12-31T23:59:59.999Z",
        "address": "192.0.2.1",
        "client": "curl/8",
    }
    await store.commit(Unit((Step("session_add", params, expected_rows=1),)))


def make_account_services(
    store: Any,
    passwords: Any,
    tokens: Any,
    clock: Any,
    now: Callable[[], float],
    new_id: Callable[[], str],
    lifetime: float = 7 * 86400.0,
    operators: Iterable[str] = (),
    dropped: Callable[[int], object] = lambda count: None,
    wall_clock: WallClock | None = None,
) -> AccountServices:
    """As the server has them; the test starts `failed_attempts`, if it needs them written."""
    failed_attempts = FailedAttempts(store, AuditRecorder(now, new_id), clock, dropped)
    return wiring.make_account_services(
        store=store,
        passwords=passwords,
        tokens=tokens,
        credential_issuer=RandomCredentialIssuer(),
        failed_attempts=failed_attempts,
        now=now,
        earliest_now=wall_clock.earliest_now if wall_clock else now,
        latest_now=wall_clock.latest_now if wall_clock else now,
        new_id=new_id,
        decode_json=strict_json.loads,
        refresh_token_lifetime=lifetime,
        operators=operators,
    )


class IgnoringObserver:
    """An `AuthenticationObserver` that keeps nothing."""

    def on_cache_lookup(self, found: bool, seconds: float) -> None:
        pass

    def auth(self, method: str, outcome: str) -> None:
        pass


def make_authenticator(
    tokens: JwtTokens,
    store: Any,
    dispatcher: Dispatcher,
    failed_attempts: FailedAttempts,
    now: Callable[[], float],
    observer: AuthenticationObserver = IgnoringObserver(),
    clock: Any = None,
    wall_clock: WallClock | None = None,
) -> TokenAuthenticator:
    """The real one, without a cache, and with uses of credentials that are not written."""
    clock: Any = Clock() if clock is None else clock
    return TokenAuthenticator(
        tokens=tokens,
        store=store,
        cache=TokenCache(dispatcher, clock, now, 0.0),
        usage=CredentialUsage(store, clock, now),
        failed_attempts=failed_attempts,
        revocations=dispatcher.revocations,
        observer=observer,
        clock=clock,
        now=now,
        earliest_now=wall_clock.earliest_now if wall_clock else now,
    )


@define
class ManualTurn:
    """The timer of a `TurnScheduler`, and the reactor whose turn it measures: both in the test's hand.

    Time passes when somebody looks at it: by `step` seconds.
    """

    step: float = 0.0
    seconds: float = 0.0
    turn_started_at: float = 0.0
    is_idle: bool = True
    has_long_work: bool = False

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds

    def end(self) -> None:
        self.turn_started_at = self.seconds


def run_one_turn(clock: Clock) -> None:
    """Make the calls that are due, but not those that they ask for in turn, as `Clock.advance` would."""
    for call in list(clock.getDelayedCalls()):
        if call.getTime() <= clock.seconds():
            func, args, kw = call.func, call.args, call.kw
            call.cancel()
            func(*args, **kw)


def make_turns(clock: IReactorTime, turn: ManualTurn | None = None) -> TurnScheduler:
    turn = turn or ManualTurn()
    return TurnScheduler(partial(clock.callLater, 0), turn, turn)


def sequential_ids(prefix: str) -> Callable[[], str]:
    """prefix1, prefix2, …"""
    return (f"{prefix}{n}" for n in itertools.count(1)).__next__


@frozen
class InMemoryCore:
    """The core of a server in memory: no store, no ports, the clock in the test's hand."""

    clock: Any
    authenticator: FakeAuthenticator
    log: MemoryLog
    follower: Follower
    dispatcher: Dispatcher
    publisher: Publisher
    hub: Hub

    def admission(
        self, name: str = "tcp", limits: ConnectionLimits = ConnectionLimits(), **capacity: int
    ) -> Admission:
        return Admission(limits, ProtocolStats(name), **capacity)


def make_core(
    clock: IReactorTime, *logged: str, policy: Policy = Policy(), turn: ManualTurn | None = None
) -> InMemoryCore:
    """A running `InMemoryCore`; its ids are id1, id2, … in order of need.

    The log keeps `logged` patterns besides the server's own; the test starts the follower, if it needs it.
    """
    dispatcher = Dispatcher()
    authenticator = FakeAuthenticator(revocations=dispatcher.revocations)
    new_id = sequential_ids("id")
    namespaces = Namespaces.with_builtin(map(Namespace, logged))
    log = MemoryLog()
    sends = IdempotentSends(log, clock.seconds)
    publisher = Publisher(
        policy,
        MemoryBroker(dispatcher),
        sends,
        namespaces,
        clock.seconds,
        new_id,
        strict_json.dumps,
        strict_json.dumps_canonically,
    )
    replay_reader = ReplayReader(log, dispatcher, namespaces, clock)
    hub = Hub(authenticator, dispatcher, replay_reader, publisher, clock, new_id, make_turns(clock, turn))
    hub.startService()
    follower = Follower(log, dispatcher, clock)
    log.on_commit = follower.wake
    return InMemoryCore(clock, authenticator, log, follower, dispatcher, publisher, hub)
