"""The whole server as one service, wired from one configuration.

Read `make_service` from top to bottom.  The list at its end is the order in
which things start and, backwards, stop; each step waits for the one before.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.web.resource import IResource

from . import __version__, jsontext
from .auth.gate import TokenGate
from .auth.known import KnownTokens
from .auth.passwords import BcryptPasswords
from .auth.tokens import Tokens
from .banner import Place, Started, banner
from .broker.canary import Canary
from .broker.follower import Follower
from .broker.memory import MemoryBroker
from .broker.pruner import Pruner
from .config import Config
from .config.kinds import spelled
from .config.secret import Secret
from .config.settings import Http, MetricsPort, Tcp
from .core.access import Access
from .core.accounts import Accounts
from .core.audience import Audience
from .core.events import Events
from .core.history import History
from .core.hub import Hub, Line
from .core.limits import Limits
from .core.messages import Messages
from .core.namespaces import Namespaces
from .core.ports import Query
from .core.publishing import Publisher
from .core.sends import Sends
from .equipment import limits, listener, make_counts, make_lane, make_store, watch
from .graphql.limits import QueryLimits
from .graphql.wiring import Needs, make_endpoint
from .http.cors import Cors
from .http.ratelimit import RateLimit
from .http.site import Parts, Settings, make_site
from .ids import TimeOrderedIds
from .lifecycle import AtStart, AtStop, Listener, Sequence
from .observe.health import Health, Probe, here
from .observe.metrics import Metrics
from .observe.site import metrics_site
from .observe.tick import Tick
from .observe.traffic import Traffic
from .rfc6455.resource import UpgradeResource
from .tcp.protocol import DeviceFactory
from .websocket.protocol import MAX_ECHO, EchoProtocol, EventsFactory

DRAIN_WITHIN = 10.0  # seconds that requests have to be answered at the end, or a third of what there is
LOGINS = 20  # from one address in one window of the rate limit, registrations included
STREAMS_PER_HOST = 1000  # GraphQL subscriptions from one address; a socket carries up to 100

# A stream says nothing, so neither silence nor a late login is held against it.
STREAM = Limits(subscriptions=1, auth_within=float("inf"), silence=float("inf"))


def make_service(config: Config, reactor: Any) -> House:
    """Everything, from the store to the ports.  `reactor` is also the clock: its `seconds` are the epoch's."""
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
    secret = Secret(config.auth.secret, Path(config.storage.directory) / "jwt-secret")
    lifetime = config.auth.lifetime
    tokens = Tokens(secret, int(lifetime), spelled(lifetime), now, new_id)
    asking = TokenGate(tokens, store, now, lambda outcome: metrics.auth("token", outcome))
    gate = KnownTokens(asking, audience, reactor, config.redis.cache_ttl, metrics)
    passwords = BcryptPasswords(reactor, config.auth.bcrypt_rounds)

    watch(metrics, store, audience, passwords)

    # What one can do.
    events = Events(new_id)
    accounts = Accounts(
        store,
        passwords,
        tokens,
        events,
        now,
        new_id,
        config.auth.refresh_lifetime,
        metrics.auth,
        gate.forget,
    )
    sends = Sends(store, now)
    messages = Messages(store, sends, events, now, new_id)
    lane = make_lane(config, reactor, metrics, audience)
    broker = (
        MemoryBroker(audience, "instance" if config.storage.postgresql else None) if lane is None else lane
    )
    publisher = Publisher(broker, sends, namespaces, now, new_id, jsontext.dumps)
    history = History(store, audience, namespaces, reactor)
    hub = Hub(gate, audience, history, publisher, reactor, new_id)
    access = Access(gate, hub)

    def line(name: str, limits: Limits, most_per_host: int, most: int | None = None) -> Line:
        return Line(limits, metrics.watch(Traffic(name, now())), most, most_per_host)

    # The wires.
    wide = config.websocket.most_per_host
    cors = Cors(frozenset(config.http.origins or ()), any_localhost=config.http.origins is None)
    counts = make_counts(config, reactor)
    requests, logins = (
        RateLimit(most, config.rates.window, clock=reactor, shared=counts, name=name)
        for name, most in (("requests", config.rates.most), ("logins", LOGINS))
    )
    house = House(reactor, config.shutdown_timeout)
    database = Probe("database", lambda: store.read(Query("users_count")), vital=True)
    cache = Probe("cache", here if lane is None else lane.health, vital=False)
    canary = Canary(store, audience, reactor, new_id)
    health = Health(reactor, now, (database, cache), lambda: house.ready and canary.fresh, now())

    mounts: dict[bytes, IResource] = {}
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
            messages,
            publisher,
            hub,
            access,
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
        mounts[config.graphql.path.encode()] = make_endpoint(needs)
    site = make_site(
        Parts(
            reactor,
            new_id,
            access,
            hub,
            accounts,
            messages,
            publisher,
            line("sse", STREAM, wide),
            health,
            metrics.request,
            requests,
            logins,
            mounts,
        ),
        Settings(
            config.name,
            __version__,
            cors,
            compression=config.http.compression,
            security_headers=config.http.security_headers,
        ),
    )

    house.add("store", store)
    house.add("secret", secret)
    house.add("passwords", passwords)
    if lane is not None:
        house.add("live", lane)
    if counts is not None:
        house.add("rates", counts)
    house.add("follower", follower)
    house.add("canary", canary)
    house.add("pruner", Pruner(store, namespaces, audience, reactor, now))
    house.add("tick", Tick(reactor, metrics.reactor_lag))
    if config.metrics.enabled:
        pages = metrics_site(metrics, health.report, now, reactor)
        house.add("metrics", listener(reactor, config.metrics, pages))
    house.add("leftovers", AtStop(site.cut))
    house.add("hub", hub)
    house.add("requests", AtStop(partial(site.drain, min(DRAIN_WITHIN, config.shutdown_timeout / 3))))
    if config.tcp.enabled:
        tcp_line = line("tcp", limits(config, config.tcp), config.tcp.most_per_host, config.tcp.most)
        most, keep_alive = config.tcp.max_frame, config.tcp.keep_alive
        devices = DeviceFactory(hub, tcp_line, now, most, keep_alive, fast)
        house.add("tcp", listener(reactor, config.tcp, devices, fast))
    house.add("http", listener(reactor, config.http, site, fast))
    if config.environment == "development":
        house.add("banner", AtStart(lambda: _show(banner(_started(config, house)))))
    return house


class House(Sequence):
    """The server's services by name."""

    def add(self, name: str, service: Service) -> None:
        service.setName(name)
        service.setServiceParent(self)

    def port(self, name: str) -> int:
        """The port that "http", "tcp" or "metrics" listens on."""
        listener: Listener = self.getServiceNamed(name)
        assert listener.port is not None
        return listener.port.getHost().port  # type: ignore[attr-defined, no-any-return]


def _show(text: str) -> None:
    """On the process's own stdout: twistd has made `sys.stdout` a part of the log."""
    print(text, file=sys.__stdout__, flush=True)


def _started(config: Config, house: House) -> Started:
    """What there is to tell the person who started us."""

    def place(name: str, where: Http | Tcp | MetricsPort) -> Place | None:
        return Place(where.host, house.port(name)) if name in house.namedServices else None

    http = place("http", config.http)
    assert http is not None
    return Started(
        __version__,
        http,
        place("tcp", config.tcp),
        place("metrics", config.metrics),
        config.websocket.enabled,
        config.graphql.path if config.graphql.enabled else None,
        Path(config.storage.directory),
        config.storage.where,
        Path("examples/four_ways.py").exists(),
    )
