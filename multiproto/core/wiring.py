"""Makes what all protocols share: publish/subscribe, the hub of connections, accounts and messages."""

from __future__ import annotations

from typing import Callable, Iterable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..observe.metrics import Metrics
from ..observe.wall_clock import WallClock
from .connections.hub import Hub
from .domain.accounts import Accounts
from .domain.audit_log import AuditLog, AuditRecorder
from .domain.credentials import CredentialStore
from .domain.failed_attempts import FailedAttempts
from .domain.login_sessions import LoginSessions
from .domain.login_throttle import LoginThrottle
from .domain.messages import Messages
from .domain.operators import Operators
from .events import EventBuilder
from .idempotency import IdempotentSends
from .ports import (
    Authenticator,
    Broker,
    CredentialIssuer,
    LogReader,
    LogStore,
    PasswordHasher,
    SharedLimitStore,
    Store,
    TokenIssuer,
)
from .pubsub.dispatcher import Dispatcher
from .pubsub.email_hiding_log import EmailHidingLog
from .pubsub.namespaces import Namespaces
from .pubsub.permissions import Rule
from .pubsub.policy import Policy
from .pubsub.publisher import Publisher
from .pubsub.replay import ReplayReader
from .ratelimit.publish_limits import PublishLimits
from .ratelimit.shared_bucket import SharedBuckets
from .ratelimit.token_bucket import Rate
from .turn_scheduler import TurnScheduler


@frozen(eq=False, repr=False)
class Foundation:
    """What the parts of the server are made with; `failed_attempts` is a service to be started."""

    clock: IReactorTime  # for intervals only
    now: Callable[[], float]  # seconds since the epoch
    wall_clock: WallClock
    new_id: Callable[[], str]
    turns: TurnScheduler
    metrics: Metrics
    store: LogStore
    log: LogReader  # the log of `store`, as clients may read it
    namespaces: Namespaces
    dispatcher: Dispatcher
    failed_attempts: FailedAttempts  # the authenticator and the accounts both record in it


@frozen(eq=False, repr=False)
class AccountServices:
    """Accounts, their logins and credentials, and the audit log of all three."""

    accounts: Accounts
    login_sessions: LoginSessions
    credentials: CredentialStore
    audit_log: AuditLog
    operators: Operators  # a service to be started
    failed_attempts: FailedAttempts


@frozen(eq=False, repr=False)
class CoreServices:
    """Everything that a protocol may use; `hub` is a service to be started."""

    clock: IReactorTime  # for intervals only
    now: Callable[[], float]  # seconds since the epoch
    new_id: Callable[[], str]
    dispatcher: Dispatcher
    publisher: Publisher
    hub: Hub
    authenticator: Authenticator
    messages: Messages
    account_services: AccountServices


def make_foundation(
    *,
    clock: IReactorTime,
    now: Callable[[], float],  # seconds since the epoch
    new_id: Callable[[], str],
    turns: TurnScheduler,
    metrics: Metrics,
    store: LogStore,
    namespaces: Namespaces,
    shows_emails: bool,  # whether events have mailbox addresses
) -> Foundation:
    dispatcher = Dispatcher(metrics.on_event_dispatched)
    dispatcher.enable_batching(clock)
    wall_clock = WallClock(clock, now)
    metrics.wall_clock_difference.set_function(lambda: wall_clock.difference)
    metrics.database_clock_difference.set_function(lambda: wall_clock.database_difference)
    audit_recorder = AuditRecorder(now, new_id)
    return Foundation(
        clock=clock,
        now=now,
        wall_clock=wall_clock,
        new_id=new_id,
        turns=turns,
        metrics=metrics,
        store=store,
        log=store if shows_emails else EmailHidingLog(store),
        namespaces=namespaces,
        dispatcher=dispatcher,
        failed_attempts=FailedAttempts(store, audit_recorder, clock, metrics.audit_dropped.inc),
    )


def make_account_services(
    *,
    store: Store,  # in a server a `RevocationAnnouncingStore`: what these revoke ends at once
    passwords: PasswordHasher,
    tokens: TokenIssuer,
    credential_issuer: CredentialIssuer,
    failed_attempts: FailedAttempts,
    now: Callable[[], float],  # seconds since the epoch
    earliest_now: Callable[[], float],  # likewise: what is stored expires by it
    latest_now: Callable[[], float],  # likewise: stored lifetimes count from it
    new_id: Callable[[], str],
    decode_json: Callable[[bytes], object],
    refresh_token_lifetime: float = 7 * 86400.0,  # seconds
    operators: Iterable[str] = (),
    login_throttle: LoginThrottle | None = None,
    refresh_limit: SharedBuckets | None = None,
    registration_open: bool = True,
    shows_emails: bool = True,
    on_authentication: Callable[[str, str], object] = lambda method, outcome: None,
) -> AccountServices:
    events, audit = EventBuilder(new_id), AuditRecorder(now, new_id)
    login_sessions = LoginSessions(
        store=store,
        passwords=passwords,
        tokens=tokens,
        events=events,
        audit_recorder=audit,
        failed_attempts=failed_attempts,
        now=now,
        earliest_now=earliest_now,
        latest_now=latest_now,
        new_id=new_id,
        lifetime=refresh_token_lifetime,
        on_authentication=on_authentication,
        login_throttle=login_throttle,
        refresh_limit=refresh_limit,
    )
    return AccountServices(
        accounts=Accounts(
            store=store,
            passwords=passwords,
            login_sessions=login_sessions,
            events=events,
            audit_recorder=audit,
            now=now,
            new_id=new_id,
            login_throttle=login_throttle,
            registration_open=registration_open,
            shows_emails=shows_emails,
        ),
        login_sessions=login_sessions,
        credentials=CredentialStore(
            store=store,
            issuer=credential_issuer,
            events=events,
            audit_recorder=audit,
            now=now,
            earliest_now=earliest_now,
            latest_now=latest_now,
            new_id=new_id,
        ),
        audit_log=AuditLog(store, decode_json),
        operators=Operators(store, audit, now, tuple(operators)),
        failed_attempts=failed_attempts,
    )


def make_publish_limits(
    foundation: Foundation,
    *,
    user_rate: Rate | None,
    credential_rate: Rate | None,
    user_byte_rate: Rate | None,
    shared_limits: SharedLimitStore | None,  # where instances count together
) -> PublishLimits:
    clock = foundation.clock
    if credential_rate and user_rate and credential_rate.admits(user_rate):
        credential_rate = None  # it is that of its user that ends first, and that an error has to name
    return PublishLimits(
        SharedBuckets("user", user_rate, clock, shared_limits) if user_rate else None,
        SharedBuckets("credential", credential_rate, clock, shared_limits) if credential_rate else None,
        SharedBuckets("user-bytes", user_byte_rate, clock, shared_limits) if user_byte_rate else None,
    )


def make_core_services(
    foundation: Foundation,
    *,
    broker: Broker,
    rules: tuple[Rule, ...],
    authenticator: Authenticator,
    account_services: AccountServices,
    publish_limits: PublishLimits,
    encode_json: Callable[[object], bytes],
    encode_json_canonically: Callable[[object], bytes],
) -> CoreServices:
    store, dispatcher, clock = foundation.store, foundation.dispatcher, foundation.clock
    namespaces, now, new_id = foundation.namespaces, foundation.now, foundation.new_id
    wall_clock = foundation.wall_clock
    idempotent_sends = IdempotentSends(store, wall_clock.deletion_now, wall_clock.time_behind)
    policy = Policy(rules)
    publisher = Publisher(
        policy=policy,
        broker=broker,
        idempotent_sends=idempotent_sends,
        namespaces=namespaces,
        now=now,
        new_id=new_id,
        encode=encode_json,
        encode_canonically=encode_json_canonically,
        limits=publish_limits,
    )
    hub = Hub(
        authenticator=authenticator,
        dispatcher=dispatcher,
        replay_reader=ReplayReader(foundation.log, dispatcher, namespaces, clock),
        publisher=publisher,
        clock=clock,
        new_id=new_id,
        turns=foundation.turns,
    )
    return CoreServices(
        clock=clock,
        now=now,
        new_id=new_id,
        dispatcher=dispatcher,
        publisher=publisher,
        hub=hub,
        authenticator=authenticator,
        messages=Messages(
            store=store,
            idempotent_sends=idempotent_sends,
            events=EventBuilder(new_id),
            policy=policy,
            now=now,
            new_id=new_id,
            limits=publish_limits,
        ),
        account_services=account_services,
    )
