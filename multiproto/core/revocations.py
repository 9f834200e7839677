"""Rights that have ended: announced once, here, to everything that holds on to an identity.

Two things announce: a commit of this process (`RevocationAnnouncingStore`), and
the log, which tells of the commits of all instances.  Two things listen: the
cache of verified tokens, which must forget at once, and the hub, which closes
connections only when the log says so: by then whoever ended their own rights
has the answer.  What is announced is remembered for a while, since a token may
have been verified a moment before and not be in use yet (docs/guarantees.md#g7-authority-is-current).
"""

from __future__ import annotations

from typing import Awaitable, Callable, Sequence

from attrs import Factory, define, frozen
from twisted.logger import Logger

from .events import revoked_ids
from .identity import Identity
from .ports import Store
from .transactions import Event, Query, Snapshot, Unit

REMEMBERED_FOR = 60.0  # seconds; no verification of a token takes that long

RevocationListener = Callable[[Sequence[str]], object]  # called with ids of users, sessions and credentials


@define(eq=False, repr=False)
class Revocations:
    on_revoked: list[RevocationListener] = Factory(list)  # called at once
    on_logged: list[RevocationListener] = Factory(list)  # called once the log tells of it, after `on_revoked`
    _revoked_at: dict[str, float | None] = Factory(dict)  # by id; `None` before the next `forget_old`

    _log = Logger()

    def revoke(self, ids: Sequence[str]) -> None:
        """The users, sessions and credentials with these ids have no rights any more."""
        if ids:
            self._revoked_at.update(dict.fromkeys(ids))
            self._notify(self.on_revoked, ids)

    def revoke_committed(self, event: Event) -> None:
        """Revoke what `event` ends, which this process has just committed."""
        self.revoke(_ids_of(event))

    def revoke_logged(self, event: Event) -> None:
        """Revoke what `event` of the log ends, on whatever instance it was committed."""
        ids = _ids_of(event)
        if ids:
            self.revoke(ids)
            self._notify(self.on_logged, ids)

    def is_revoked(self, identity: Identity) -> bool:
        """Whether `identity` was revoked so recently that its token may have been verified before."""
        return identity.session_id in self._revoked_at or identity.user_id in self._revoked_at

    def forget_old(self, now: float) -> None:
        """Forget what was revoked more than `REMEMBERED_FOR` ago; called every second or so."""
        if self._revoked_at:
            stamped = {id: now if at is None else at for id, at in self._revoked_at.items()}
            self._revoked_at = {id: at for id, at in stamped.items() if at > now - REMEMBERED_FOR}

    def _notify(self, listeners: Sequence[RevocationListener], ids: Sequence[str]) -> None:
        """One broken listener must neither spare the others nor stop the reading of the log."""
        for listener in listeners:
            try:
                listener(ids)
            except Exception:
                self._log.failure("a revocation was not heeded")


@frozen
class RevocationAnnouncingStore:
    """A store that announces the rights which end with a commit before anybody reads of it in the log."""

    _store: Store
    _revocations: Revocations

    def read(self, *queries: Query) -> Awaitable[Snapshot]:
        return self._store.read(*queries)

    async def commit(self, unit: Unit) -> str:
        cursor = await self._store.commit(unit)
        for event in unit.events:
            self._revocations.revoke_committed(event)
        return cursor

    def cursor_of(self, position: int) -> str:
        return self._store.cursor_of(position)

    def cursors_of(self, positions: Sequence[int]) -> Sequence[str]:
        return self._store.cursors_of(positions)

    def locate(self, cursor: str) -> Awaitable[int | None]:
        return self._store.locate(cursor)


def _ids_of(event: Event) -> Sequence[str]:
    return revoked_ids(event.type, event.content) if isinstance(event.content, dict) else ()
