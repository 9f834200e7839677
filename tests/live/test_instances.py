"""Two instances on one PostgreSQL and one Redis: nobody can tell which one they are on."""

from __future__ import annotations

from attrs import evolve

from multiproto.config import Config

from ..timing import Stopwatch
from . import test_matrix, test_resume
from .clients import Person, Rest
from .roaming import Roaming
from .running import Shared


class MatrixTests(Shared, test_matrix.MatrixTests):
    """Each sender on one instance, the receivers on the other."""


class PrivacyTests(Shared, test_matrix.PrivacyTests):
    """The one who sends, the one it is for and the one who must not see it are on different ones."""


class AuthorityTests(Shared):
    async def test_a_token_that_is_known_on_one_ends_with_its_session_on_the_other(self) -> None:
        """On the one where it was ended, at once."""
        ann = await Person.register(self.addresses[0], "Ann")
        here, there = (Rest(address, ann.token) for address in self.addresses)
        for rest in (here, there, here, there):
            self.assertEqual((await rest.ask("GET", "/api/v1/auth/me"))[0], 200)
        ending = Stopwatch()
        self.assertEqual((await here.ask("POST", "/api/v1/auth/logout"))[0], 204)
        self.assertEqual((await here.ask("GET", "/api/v1/auth/me"))[0], 401)
        while (await there.ask("GET", "/api/v1/auth/me"))[0] == 200:
            pass  # trial's timeout ends it
        ending.stop("a token ends on the other instance", 1.0)

    async def test_what_one_changes_the_other_shows(self) -> None:
        """However lately it was read there."""
        ann = await Person.register(self.addresses[0], "Ann")
        here, there = (Rest(address, ann.token) for address in self.addresses)
        for name in ("Anna", "Anne", "Anya"):
            await there.ask("GET", f"/api/v1/users/{ann.id}")
            await here.ask("PUT", f"/api/v1/users/{ann.id}", {"name": name})
            _, answer = await there.ask("GET", f"/api/v1/users/{ann.id}")
            self.assertEqual(answer["data"]["name"], name)


class LimitTests(Shared):
    waits_for_redis = True

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, rate_limits=evolve(config.rate_limits, max_requests=10))

    async def test_instances_count_requests_together(self) -> None:
        """Ten; each for itself would allow ten."""
        found = []
        for turn in range(20):
            status, _ = await Rest(self.addresses[turn % 2]).ask("GET", "/api/v1/users/me")
            found.append(status)
        self.assertEqual(found, [401] * 10 + [429] * 10)
        self.assertEqual((await Rest(self.address).ask("GET", "/health/live"))[0], 200)


class RoamingCase(Shared):
    """Each request and each connection is on another instance than the one before."""

    async def start_one(self, config: Config) -> None:
        await super().start_one(config)
        self.roaming = Roaming(self.addresses)

    def place(self) -> Roaming:
        return self.roaming


class ResumeTests(RoamingCase, test_resume.ResumeTests):
    """With the cursor that the other one gave."""


class IdempotenceTests(RoamingCase, test_resume.IdempotenceTests):
    """A key that was used on the other one."""
