"""The whole server as one service, wired from one configuration.

Read `make_service` from top to bottom.  The list at its end is the order in
which things start and, backwards, stop; each step waits for the one before.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.web.resource import IResource

from . import __version__, jsontext
from .auth.credentials import Mint
from .auth.gate import TokenGate
from .auth.keyfiles import KeyFiles
from .auth.known import KnownTokens, Telling
from .auth.passwords import BcryptPasswords
from .auth.tokens import Tokens
from .auth.uses import Uses
from .banner import banner, show, started
from .broker.canary import Canary
from .broker.follower import Follower
from .broker.memory import MemoryBroker
from .broker.pruner import Pruner
from .config import Config
from .config.kinds import spelled
from .config.secret import secret_of
from .core.access import Access
from .core.accounts import Accounts
from .core.arrivals import Arrivals
from .core.attempts import Attempts
from .core.audience import Audience
from .core.audit import Audit
from .core.events import Events
from .core.history import History
from .core.hub import Hub, Line
from .core.keyring import Keyring
from .core.limits import Limits
from .core.logins import Logins
from .core.messages import Messages
from .core.namespaces import Namespaces
from .core.policy import Policy
from .core.ports import Query
from .core.publishing import Publisher
from .core.sends import Sends
from .core.sessions import Sessions
from .core.trail import Trail
from .equipment import (
    limits,
    listener,
    make_counts,
    make_edge,
    make_lane,
    make_store,
    quotas,
    short_to,
    watch,
)
from .graphql.limits import QueryLimits
from .graphql.wiring import Needs, make_endpoint
from .http.call import Route
from .http.cors import Cors
from .http.limits import Limits as HttpLimits
from .http.ratelimit import RateLimit
from .http.site import Parts, Settings, make_site
from .ids import TimeOrderedIds
from .lifecycle import AtStart, AtStop, Hangup, House, tell_operator
from .observe.health import Health, Probe, here
from .observe.metrics import Metrics
from .observe.site import metrics_site
from .observe.tick import Tick
from .observe.traffic import Traffic
from .prompt import Turn
from .rfc6455.resource import UpgradeResource
from .tcp.protocol import DeviceFactory
from .websocket.protocol import MAX_ECHO, EchoProtocol, EventsFactory
from .workers.parent import Parent

DRAIN_WITHIN = 10.0  # seconds that requests have to be answered at the end, or a third of what there is
LOGINS = 20  # from one address in one window of the rate limit, registrations included
STREAMS_PER_HOST = 1000  # GraphQL subscriptions from one address; a socket carries up to 100

# A stream says nothing, so neither silence nor a late login is held against it.
STREAM = Limits(subscriptions=1, auth_within=float("inf"), silence=float("inf"))


def make_service(config: Config, reactor: Any, parent: Parent | None = None) -> House:
    """Everything, from the store to the ports.  `reactor` is also the clock: its `seconds` are the epoch's.

    With a `parent` this is one of several processes that share the ports.
    """
    now = reactor.seconds
    new_id = TimeOrderedIds(now)
    metrics = Metrics()

    namespaces = Namespaces.including(config.namespaces)
    store = make_store(config, reactor, metrics, [each.match for each in namespaces])
    audience = Audience(metrics.event)
    fast = config.fast_paths
    if fast:
        audience.gather(reactor)
    follower = Follower(store, audience, reactor)
    store.on_commit(follower.wake)

    # Who somebody is.
    auth = config.auth
    keys = KeyFiles(partial(secret_of, config), auth.private_key_file, auth.public_key_files)
    tokens = Tokens(keys, int(auth.lifetime), spelled(auth.lifetime), now, new_id)
    asking = TokenGate(tokens, store, now, metrics.auth)
    known = KnownTokens(asking, audience, reactor, config.redis.cache_ttl, metrics, keys)
    gate = Uses(known, store, reactor)
    passwords = BcryptPasswords(reactor, auth.bcrypt_rounds)
    counts = make_counts(config, reactor)

    watch(metrics, store, audience, passwords)

    # What one can do.
    events = Events(new_id)
    keeping = Telling(store, known.forget)
    audit = Audit(now, new_id)
    attempts = Attempts(store, audit, reactor, metrics.audit_dropped.inc)
    sessions = Sessions(
        keeping,
        passwords,
        tokens,
        events,
        audit,
        attempts,
        now,
        new_id,
        auth.refresh_lifetime,
        metrics.auth,
        Logins(reactor, counts),
    )
    accounts = Accounts(keeping, passwords, sessions, events, audit, now, new_id)
    keyring = Keyring(keeping, Mint(), events, audit, now, new_id)
    trail = Trail(store, frozenset(config.auth.operators), jsontext.loads)
    sends, often = Sends(store, now), quotas(config, reactor, counts)
    messages = Messages(store, sends, events, now, new_id, often)
    lane = make_lane(config, reactor, metrics, audience)
    broker = (
        MemoryBroker(audience, "instance" if config.storage.postgresql else None) if lane is None else lane
    )
    publisher = Publisher(Policy(config.rules), broker, sends, namespaces, now, new_id, jsontext.dumps, often)
    history = History(store, audience, namespaces, reactor)
    hub = Hub(gate, audience, history, publisher, reactor, new_id, attempts)
    access = Access(gate, hub, attempts)

    def line(name: str, limits: Limits, most_per_host: int, most: int | None = None) -> Line:
        arrivals = Arrivals(config.rates.connects, reactor)
        return Line(limits, metrics.watch(Traffic(name, now())), most, most_per_host, arrivals)

    # The wires.
    wide = config.websocket.most_per_host
    cors = Cors(frozenset(config.http.origins or ()), any_localhost=config.http.origins is None)
    requests, logins = (
        RateLimit(most, config.rates.window, clock=reactor, shared=counts, name=name)
        for name, most in (("requests", config.rates.most), ("logins", LOGINS))
    )
    edge = make_edge(config, reactor)
    house = House(reactor, config.shutdown_timeout, tell_operator if parent is None else parent.failed)
    database = Probe("database", lambda: store.read(Query("users_count")), vital=True)
    cache = Probe("cache", here if lane is None else lane.health, vital=False)
    canary = Canary(store, audience, reactor, new_id)
    health = Health(reactor, now, (database, cache), lambda: house.ready and canary.fresh, now())

    mounts: dict[bytes, IResource] = {}
    shorts: list[Route] = []
    if config.websocket.enabled:
        events_line = line("websocket", limits(config, config.websocket), wide)
        size = config.websocket.max_message
        ws = EventsFactory(hub, events_line, reactor, cors.allows, size, fast=fast)
        mounts[b"/ws"] = UpgradeResource(ws)
    if config.websocket.echo:
        echo_line = line("echo", limits(config, config.websocket), wide)
        echo = EventsFactory(hub, echo_line, reactor, cors.allows, MAX_ECHO, True, EchoProtocol, fast)
        mounts[b"/ws-echo"] = UpgradeResource(echo)
    if config.graphql.enabled:
        needs = Needs(
            accounts,
            sessions,
            keyring,
            access,
            messages,
            publisher,
            hub,
            reactor,
            line("graphql", limits(config, config.websocket), wide),
            line("graphql_stream", STREAM, STREAMS_PER_HOST),
            health.document,
            cors.allows,
            metrics.operation,
            logins.check,
            QueryLimits(config.graphql.max_depth, config.graphql.max_complexity),
            config.graphql.introspection,
            config.graphql.playground,
            config.graphql.path,
            fast,
        )
        mounts[config.graphql.path.encode()] = endpoint = make_endpoint(needs)
        shorts.append(short_to(endpoint, config.graphql.path))
    site = make_site(
        Parts(
            reactor,
            new_id,
            access,
            hub,
            accounts,
            sessions,
            keyring,
            trail,
            messages,
            publisher,
            line("sse", STREAM, wide),
            health,
            metrics.request,
            requests,
            logins,
            mounts,
            keys.published,
            Arrivals(config.rates.connects, reactor),
            shorts,
        ),
        Settings(
            config.name,
            __version__,
            cors,
            compression=config.http.compression,
            security_headers=config.http.security_headers,
            rules=config.edge.rules,
            limits=HttpLimits(bytes=config.rates.bytes),
            fast=fast,
        ),
    )

    if parent is not None:
        house.add("leash", parent.leash(reactor))
    if edge.certificate is not None:
        house.add("certificate", edge.certificate)
    house.add("store", store)
    house.add("keys", keys)
    if config.rereads:
        house.add("hangup", Hangup(reactor, (*edge.reloads, keys.reload)))
    house.add("passwords", passwords)
    house.add("uses", gate)
    if lane is not None:
        house.add("live", lane)
    if counts is not None:
        house.add("rates", counts)
    house.add("attempts", attempts)
    house.add("follower", follower)
    house.add("canary", canary)
    house.add("pruner", Pruner(store, namespaces, audience, reactor, now, auth.audit_retention))
    house.add("tick", Tick(reactor, metrics.reactor_lag))
    if config.metrics.enabled:
        pages = metrics_site(metrics, health.report, now, reactor)
        house.add("metrics", listener(reactor, config.metrics, edge.metrics(pages, config.metrics.inside)))
    turn = Turn(reactor) if fast else None
    house.add("leftovers", AtStop(site.cut))
    house.add("hub", hub)
    house.add("requests", AtStop(partial(site.drain, min(DRAIN_WITHIN, config.shutdown_timeout / 3))))
    if config.tcp.enabled:
        tcp_line = line("tcp", limits(config, config.tcp), config.tcp.most_per_host, config.tcp.most)
        most, keep_alive = config.tcp.max_frame, config.tcp.keep_alive
        devices = DeviceFactory(hub, tcp_line, now, most, keep_alive, fast)
        house.add("tcp", listener(reactor, config.tcp, edge.tcp(devices), parent, turn))
    house.add("http", listener(reactor, config.http, edge.http(site), parent, turn))
    if parent is not None:
        house.add("report", AtStart(parent.ready))
    elif config.environment == "development":
        house.add("banner", AtStart(lambda: show(banner(started(config, house.port)))))
    return house
