"""Tokens and credentials that were found good a moment ago: not looked up again until their rights end.

Rights end through the log, and this listens to it.  So a token is known only
while this instance can see the log, and is forgotten as soon as the log, or
somebody in this process, tells of the end of its session or its user.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Awaitable, Callable, Protocol, Sequence

from attrs import Factory, define, frozen
from twisted.internet.interfaces import IReactorTime

from ..core.audience import Audience
from ..core.events import ended
from ..core.namespaces import REVOCATIONS
from ..core.ports import Gate, Identity, Query, Snapshot, Store, Unit
from ..core.wire import Delivery
from .gate import method_of

MOST = 10_000  # tokens; some 6 MB


class Observed(Protocol):
    """Told of what metrics show."""

    def looked_up(self, found: bool, seconds: float) -> None:
        """A value was found in the cache, or not, after so long."""

    def auth(self, method: str, outcome: str) -> None: ...


@frozen
class _Known:
    identity: Identity
    until: float  # by the clock


@define(eq=False, repr=False)
class KnownTokens:
    """`core.ports.Gate`, in front of one that asks the store."""

    _gate: Gate
    _audience: Audience
    _clock: IReactorTime
    _lifetime: float  # seconds that a token is known for at most; 0: not at all
    _observed: Observed
    _keys: Callable[[], object] = lambda: (
        None
    )  # that tokens are verified with; another object when they change
    _most: int = MOST
    _known: dict[bytes, _Known] = Factory(dict)  # by the token's digest; the oldest first
    _digests: dict[str, set[bytes]] = Factory(dict)  # of the tokens that end with a session or a user
    _endings: int = 0  # that were heard of
    _verified_with: object = None

    def __attrs_post_init__(self) -> None:
        for topic in ("users", REVOCATIONS):
            self._audience.add(topic, self)
        self._audience.guards.append(self)

    def __len__(self) -> int:
        return len(self._known)

    async def identify(self, token: str, host: str = "") -> Identity:
        self._look_at_keys()
        began, digest = self._clock.seconds(), _digest(token)
        known = self._known.get(digest) if self._current else None
        if known is not None and began >= known.until:
            self._drop(digest)
            known = None
        self._observed.looked_up(known is not None, self._clock.seconds() - began)
        if known is not None:
            self._observed.auth(method_of(known.identity), "success")
            return known.identity
        endings = self._endings
        identity = await self._gate.identify(token, host)
        if self._current and endings == self._endings:  # else what was read may be over already
            self._keep(digest, _Known(identity, min(identity.until, began + self._lifetime)))
        return identity

    def hear(self, delivery: Delivery) -> bool:
        content = delivery.content
        assert isinstance(content, dict)
        self.forget(ended(str(delivery.metadata["eventType"]), content))
        return True

    def forget(self, ids: Sequence[str]) -> None:
        """The users and sessions with these ids have no rights any more."""
        self._endings += len(ids)
        for id in ids:
            for digest in list(self._digests.get(id, ())):
                self._drop(digest)

    def _look_at_keys(self) -> None:
        """What was good by other keys must prove itself again."""
        keys = self._keys()
        if keys is not self._verified_with:
            self._verified_with = keys
            self._endings += 1
            self._known.clear()
            self._digests.clear()

    @property
    def _current(self) -> bool:
        """Whether this instance would have heard of an end."""
        sight = self._audience.sight
        return self._lifetime > 0 and sight is not None and not sight.blind

    def _keep(self, digest: bytes, known: _Known) -> None:
        self._drop(digest)  # two may have looked for one token at once
        while len(self._known) >= self._most:
            self._drop(next(iter(self._known)))
        self._known[digest] = known
        for id in _ids(known.identity):
            self._digests.setdefault(id, set()).add(digest)

    def _drop(self, digest: bytes) -> None:
        known = self._known.pop(digest, None)
        for id in _ids(known.identity) if known else ():
            self._digests[id].discard(digest)
            if not self._digests[id]:
                del self._digests[id]


@frozen
class Telling:
    """A store that tells of the rights which end with what it commits, before anybody can read so in the log."""

    _store: Store
    _tell: Callable[[Sequence[str]], object]

    def read(self, *queries: Query) -> Awaitable[Snapshot]:
        return self._store.read(*queries)

    async def commit(self, unit: Unit) -> str:
        cursor = await self._store.commit(unit)
        for event in unit.events:
            if isinstance(event.content, dict):
                self._tell(ended(event.type, event.content))
        return cursor

    def cursor_of(self, position: int) -> str:
        return self._store.cursor_of(position)


def _ids(who: Identity) -> tuple[str, str]:
    return who.user_id, who.session_id


def _digest(token: str) -> bytes:
    """So that no token is kept."""
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()
