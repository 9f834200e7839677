"""Three hundred people behind one address, with the limits of production: none of them meets one."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from multiproto.config.load import ConfigReader
from multiproto.config.sources import RawSetting
from multiproto.core.domain.login_throttle import LoginThrottle
from multiproto.core.ratelimit.fixed_window import RateLimit, RequestLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from tests.canary import PASSWORD

from .client import Line, Response
from .test_api import V1, ApiCase

PEOPLE = 300
QUARTER = 900.0  # seconds between two logins of each
Request = tuple[str, str, Any, str]  # method, path, body, token


class OfficeTests(ApiCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        environment = RawSetting("APP_ENV", "production", "test")
        self.rates = ConfigReader().resolve([{"APP_ENV": environment}]).rate_limits
        self.clock = Clock()  # of the limits
        throttle = LoginThrottle(
            self.clock, self.now, self.store, failures_by_address=self.limit(self.rates.max_login_failures)
        )
        sessions, accounts = self.members.login_sessions, self.members.accounts
        sessions._login_throttle = accounts._login_throttle = throttle
        assert self.rates.refresh_rate is not None
        sessions._refresh_limit = SharedBuckets("refresh", self.rates.refresh_rate, self.clock)
        self.site._request_limits = RequestLimits(
            self.limit(self.rates.max_requests), self.limit(self.rates.max_user_requests)
        )

    def limit(self, max_requests: int) -> RateLimit:
        return RateLimit(max_requests, self.rates.window, clock=self.clock)

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        """A hundred at the same moment, each on a connection of its own."""
        answers = []
        for n in range(0, len(requests), 100):
            answers += await self.ask_at_once(requests[n : n + 100])
        return answers

    async def ask_at_once(self, requests: list[Request]) -> list[Response]:
        lines, left, answered = [Line(self.site) for _ in requests], len(requests), Deferred[None]()

        def on_request_done(*_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                self.site.clock.callLater(0, answered.callback, None)

        self.site.on_request_done = on_request_done
        for line, (method, path, body, token) in zip(lines, requests, strict=True):
            line.ask(method, V1 + path, body, {"Authorization": f"Bearer {token}"} if token else {})
        await answered
        answers = [line.answer() for line in lines]
        for line in lines:
            line.hang_up()
        return answers

    async def tokens(self, path: str, body: Callable[[int], Any]) -> list[Any]:
        answers = await self.ask_all([("POST", path, body(n), "") for n in range(PEOPLE)])
        self.assertEqual({answer.status for answer in answers}, {200})
        return [answer.data for answer in answers]

    async def test_a_login_each_quarter_of_an_hour_for_two_hours(self) -> None:
        """And at last a refresh, and a request."""
        people = [{"email": f"p{n}@example.org", "name": "Ann", "password": PASSWORD} for n in range(PEOPLE)]
        joined = await self.ask_all([("POST", "/auth/register", who, "") for who in people])
        self.assertEqual({answer.status for answer in joined}, {201})
        for _ in range(9):
            logins = await self.tokens("/auth/login", people.__getitem__)
            self.clock.advance(QUARTER)
        logins = await self.tokens("/auth/refresh", lambda n: {"refreshToken": logins[n]["refreshToken"]})
        answers = await self.ask_all([("GET", "/auth/me", None, each["token"]) for each in logins])
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual({answer.headers["ratelimit-limit"] for answer in answers}, {"3000"})

    async def test_who_guesses_there_is_refused_and_who_was_there_before_is_not(self) -> None:
        ann, bob = (
            {"email": f"{name}@example.org", "name": name, "password": PASSWORD} for name in ("Ann", "Bob")
        )
        for who in (ann, bob):
            await self.ask("POST", "/auth/register", who)
        await self.ask("POST", "/auth/login", ann)
        for n in range(20):
            guess = {"email": f"guess{n}@example.org", "password": "wrong"}
            self.assertEqual((await self.ask("POST", "/auth/login", guess)).status, 401)
        refused = await self.ask("POST", "/auth/login", bob)
        self.assertEqual((refused.status, refused.headers["retry-after"]), (429, "900"))
        self.assertEqual((await self.ask("POST", "/auth/register", bob)).status, 429)
        self.assertEqual((await self.ask("POST", "/auth/login", ann)).status, 200)
        self.clock.advance(QUARTER)
        self.assertEqual((await self.ask("POST", "/auth/login", bob)).status, 200)
