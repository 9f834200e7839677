"""What a protocol brings to the server: its names, its limits, and how it is made.

Each protocol describes itself in a `wire.py` in its folder; `wire_table.py` lists
them.  A protocol either answers at a path of the HTTP port (`MountedWire`)
or listens on a port of its own (`ListeningWire`); what it accepts, it admits to
the hub by one of its `admissions`, which limits it and counts it.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence, Union

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.web.resource import IResource

from .config import Config
from .core.connections.admission import Admission, ConnectionLimits, ConnectionRateLimiter
from .core.ratelimit.fixed_window import RequestLimits
from .core.ratelimit.token_bucket import Rate
from .core.wiring import CoreServices
from .observe.health import HealthMonitor
from .observe.metrics import Metrics
from .observe.protocol_stats import ProtocolStats

# GraphQL subscriptions and HTTP event streams: only the server sends, so neither silence nor a late login ends them.
STREAM_LIMITS = ConnectionLimits(max_subscriptions=1, auth_timeout=float("inf"), idle_timeout=float("inf"))


@frozen
class AdmissionSettings:
    """The limits of one kind of connection, and the name by which metrics and logs call it."""

    name: str  # a prefix of metrics, e.g. "tcp"
    limits: ConnectionLimits
    max_connections_per_network: int | None = None
    max_connections: int | None = None


@frozen(eq=False, repr=False)
class WireContext:
    """What a protocol is made from."""

    core: CoreServices
    metrics: Metrics
    health: HealthMonitor
    request_limits: RequestLimits  # of HTTP requests
    allows_origin: Callable[[str], bool]  # whether a page of this origin may open a WebSocket
    public_jwks: Callable[[], Sequence[Mapping[str, str]]]  # the keys that others may verify tokens with
    connect_rate: Rate | None  # connections from one address, of each kind
    admissions: Mapping[str, Admission] = field(factory=dict)  # by name: those of all protocols
    mounts: Mapping[str, IResource] = field(factory=dict)  # for HTTP: what answers below a path


@frozen(eq=False, repr=False)
class WireListener:
    """What a protocol does with the connections of its port, from the first to the last."""

    factory: IProtocolFactory
    # At shutdown, after the port is closed and before the hub closes its connections: finish what
    # is being answered, within so many seconds.
    drain: Callable[[float], Deferred[None]] | None = None
    close_remaining: Callable[[], Deferred[None]] | None = None  # after the hub has closed its own


@frozen
class MountedWire:
    """A protocol at a path of the HTTP port."""

    name: str
    enabled: bool
    admissions: tuple[AdmissionSettings, ...]
    path: str
    make_resource: Callable[[WireContext], IResource]


@frozen
class ListeningWire:
    """A protocol on a port of its own."""

    name: str  # also of the service that listens
    enabled: bool
    admissions: tuple[AdmissionSettings, ...]
    host: str  # an IP address
    port: int
    make_listener: Callable[[WireContext], WireListener]
    setting_prefix: str | None = (
        None  # of the settings that say where it listens: what is before PORT and HOST
    )
    is_http: bool = False  # HTTP: says so in TLS, and answers 403 itself to addresses that are not served


Wire = Union[MountedWire, ListeningWire]
WireFactory = Callable[[Config], Wire]


def make_wire_listeners(
    wires: Sequence[Wire], context: WireContext
) -> list[tuple[ListeningWire, WireListener]]:
    """Make those that are enabled: first what is mounted on HTTP, then what listens, in the order given."""
    enabled = [wire for wire in wires if wire.enabled]
    admissions: dict[str, Admission] = {}
    for settings in (settings for wire in enabled for settings in wire.admissions):
        if settings.name in admissions:
            raise ValueError(f"two kinds of connection are called {settings.name!r}")
        admissions[settings.name] = _make_admission(settings, context)
    context = evolve(context, admissions=admissions)
    mounts = {wire.path: wire.make_resource(context) for wire in enabled if isinstance(wire, MountedWire)}
    context = evolve(context, mounts=mounts)
    return [(wire, wire.make_listener(context)) for wire in enabled if isinstance(wire, ListeningWire)]


def _make_admission(settings: AdmissionSettings, context: WireContext) -> Admission:
    """Its counters appear in metrics from now on."""
    clock = context.core.clock
    return Admission(
        settings.limits,
        context.metrics.add_protocol(ProtocolStats(settings.name, context.core.now(), clock.seconds())),
        settings.max_connections,
        settings.max_connections_per_network,
        ConnectionRateLimiter(context.connect_rate, clock),
    )
