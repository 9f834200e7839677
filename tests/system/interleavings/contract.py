"""The pairs, for either store; a subclass has `self.store`, `self.now` and `self.new_id`."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import combinations_with_replacement
from typing import Any, Callable, Iterable, Iterator
from unittest.mock import patch

from twisted.internet.defer import Deferred, gatherResults

from multiproto.core.domain import credentials, login_sessions
from multiproto.core.ports import Store
from multiproto.core.transactions import Step

from .scenario import ACTS, FOR_ALL_ACCOUNTS, Pairs

AT_ONCE = 16  # pairs that are explored side by side, and so wait for the disk together


class InterleavingContract:
    store: Store
    now: Callable[[], float]
    new_id: Callable[[], str]

    async def faults_of(self, acts: Iterable[str]) -> tuple[list[str], int]:
        """Faults of all pairs of `acts`, and how many schedules were run."""
        pairs = Pairs(self.store, self.now, self.new_id)
        faults: list[str] = []

        async def explore(some: Iterator[tuple[str, str]]) -> None:
            for one, other in some:
                faults.extend(await pairs.faults(one, other))

        all_pairs = list(combinations_with_replacement(acts, 2))
        together = (pair for pair in all_pairs if not FOR_ALL_ACCOUNTS & {*pair})
        await gatherResults([Deferred.fromCoroutine(explore(together)) for _ in range(AT_ONCE)])
        await explore(pair for pair in all_pairs if FOR_ALL_ACCOUNTS & {*pair})
        return faults, pairs.schedules

    async def test_every_pair_is_as_one_after_the_other(self) -> None:
        faults, schedules = await self.faults_of(ACTS)
        assert not faults, "\n" + "\n".join(faults)
        assert schedules > 1000, schedules

    async def test_at_the_limits(self) -> None:
        """One more session ends the oldest, and one more credential is a conflict, whoever comes at the same moment."""
        acts = ("log in", "log out", "revoke the other session", "make a credential", "revoke a credential")
        with patch.object(login_sessions, "MAX_SESSIONS", 2), patch.object(credentials, "MAX_CREDENTIALS", 1):
            faults, _ = await self.faults_of(acts)
        assert not faults, "\n" + "\n".join(faults)

    async def test_planted_races_are_found(self) -> None:
        """A change that forgets the version it has read, a login the number of sessions, and a credential its session."""
        with forgetting("user_amend"):
            faults, _ = await self.faults_of(("change the name", "change the address"))
        assert faults
        with (
            forgetting("sessions_revoke"),
            forgetting("session_add"),
            patch.object(login_sessions, "MAX_SESSIONS", 2),
        ):
            faults, _ = await self.faults_of(("log in",))
        assert faults
        with forgetting("session_hold"):
            for ending in ("log out everywhere", "change the password"):
                acts = ("make another of its name", f"{ending}, and end the credentials")
                assert (await self.faults_of(acts))[0], ending


@contextmanager
def forgetting(name: str) -> Iterator[None]:
    """Let the step `name` affect any number of rows."""
    init = Step.__init__

    def forgetful(
        step: Step, name_: str, params: Any, expected_rows: int | None = None, *rest: Any, **more: Any
    ) -> None:
        init(step, name_, params, None if name_ == name else expected_rows, *rest, **more)

    with patch.object(Step, "__init__", forgetful):
        yield
