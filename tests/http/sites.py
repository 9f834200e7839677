"""A site over the core in memory, for what needs no store."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import ConnectionLimits, ConnectionRateLimiter
from multiproto.core.domain.audit_log import AuditLog
from multiproto.core.domain.operators import Operators
from multiproto.core.pubsub.policy import Policy
from multiproto.core.ratelimit.fixed_window import RateLimit, RequestLimits
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.core.transactions import Query, Snapshot, Unit
from multiproto.core.wiring import AccountServices
from multiproto.http.site import Site
from multiproto.http.wiring import SiteParts, SiteSettings, make_site

from ..fakes import make_core, sequential_ids
from .client import Line, Response


class Health:
    """In the state that a test sets."""

    status = "healthy"
    is_ready = True

    async def report(self) -> tuple[int, dict[str, object]]:
        return 503 if self.status == "unhealthy" else 200, {"status": self.status}

    def ready(self) -> bool:
        return self.is_ready


class NoRows:
    """A store in which nothing is found."""

    def read(self, *queries: Query) -> Deferred[Snapshot]:
        return succeed(Snapshot(((),) * len(queries), "t.0"))

    def commit(self, unit: Unit) -> Deferred[str]:
        raise AssertionError("no test here writes")


class SiteCase(SynchronousTestCase):
    """`self.site`; its clock stands at 0."""

    settings = SiteSettings()
    requests = 100  # in a minute, without a token, from one address
    user_requests = 1000  # in a minute, of one user
    counts: Any = None  # what instances share
    policy = Policy()
    arrivals: Rate | None = None  # of connections from one address

    def setUp(self) -> None:
        self.clock = Clock()
        self.house = make_core(self.clock, policy=self.policy)
        self.health = Health()
        self.observed: list[tuple[Any, ...]] = []
        self.streams = self.house.admission("sse", ConnectionLimits(max_queued_replies=5))
        self.mounts: dict[bytes, Any] = {}
        self.keys: list[dict[str, str]] = []

    @cached_property
    def site(self) -> Site:
        """Made when it is used: many tests want one of other settings, and each costs 20 ms."""
        return self.make_site()

    def make_site(self, settings: SiteSettings | None = None) -> Site:
        nobody: Any = None  # no test here asks for rows
        operators = Operators(NoRows(), nobody, self.clock.seconds, ())
        parts = SiteParts(
            clock=self.clock,
            now=self.clock.seconds,
            new_id=sequential_ids("correlation"),
            authenticator=self.house.authenticator,
            hub=self.house.hub,
            account_services=AccountServices(
                accounts=nobody,
                login_sessions=nobody,
                credentials=nobody,
                audit_log=AuditLog(nobody, nobody),
                operators=operators,
                failed_attempts=nobody,
            ),
            messages=nobody,
            publisher=self.house.publisher,
            stream_admission=self.streams,
            health=self.health,
            on_request_done=lambda *seen: self.observed.append(seen),
            request_limits=RequestLimits(
                self.limit(self.requests, "RATE_LIMIT_MAX"),
                self.limit(self.user_requests, "RATE_LIMIT_USER_MAX"),
            ),
            mounts=self.mounts,
            public_keys=lambda: self.keys,
            connection_rate_limiter=ConnectionRateLimiter(self.arrivals, self.clock),
        )
        site = make_site(parts, settings or self.settings)
        self.addCleanup(site.close_remaining)
        return site

    def limit(self, max_requests: int, setting: str) -> RateLimit:
        return RateLimit(
            max_requests, 60.0, clock=self.clock, shared_counter=self.counts, name=setting, setting=setting
        )

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Response:
        """One request on a connection of its own."""
        line = Line(self.site)
        line.ask(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = line.answer(method == "HEAD")
        line.hang_up()
        return answer
