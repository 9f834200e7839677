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

from ..core.events import revoked_ids
from ..core.identity import Identity
from ..core.ports import Authenticator, Store
from ..core.protocol import Delivery
from ..core.pubsub.dispatcher import Dispatcher
from ..core.pubsub.namespaces import REVOCATIONS
from ..core.transactions import Query, Snapshot, Unit
from .authenticator import auth_method_of

MAX_TOKENS = 10_000  # tokens; some 6 MB


class TokenCacheObserver(Protocol):
    """Told of what metrics show."""

    def on_cache_lookup(self, found: bool, seconds: float) -> None:
        """A value was found in the cache, or not, after so long."""

    def auth(self, method: str, outcome: str) -> None: ...


@frozen
class _CachedIdentity:
    identity: Identity
    expires_at: float  # by the clock


@define(eq=False, repr=False)
class TokenCache:
    """`core.ports.Gate`, in front of one that asks the store."""

    _authenticator: Authenticator
    _dispatcher: Dispatcher
    _clock: IReactorTime
    _lifetime: float  # seconds that a token is known for at most; 0: not at all
    _observer: TokenCacheObserver
    _keys: Callable[[], object] = lambda: (
        None
    )  # that tokens are verified with; another object when they change
    _max_tokens: int = MAX_TOKENS
    _cached: dict[bytes, _CachedIdentity] = Factory(dict)  # by the token's digest; the oldest first
    _digests_by_owner: dict[str, set[bytes]] = Factory(
        dict
    )  # of the tokens that end with a session or a user
    _revocations: int = 0  # that were heard of
    _verified_with: object = None

    def __attrs_post_init__(self) -> None:
        for topic in ("users", REVOCATIONS):
            self._dispatcher.subscribe(topic, self)
        self._dispatcher.revocation_listeners.append(self)

    def __len__(self) -> int:
        return len(self._cached)

    async def authenticate(self, token: str, host: str = "") -> Identity:
        self._check_keys()
        began, digest = self._clock.seconds(), _token_digest(token)
        known = self._cached.get(digest) if self._is_usable else None
        if known is not None and began >= known.expires_at:
            self._evict(digest)
            known = None
        self._observer.on_cache_lookup(known is not None, self._clock.seconds() - began)
        if known is not None:
            self._observer.auth(auth_method_of(known.identity), "success")
            return known.identity
        endings = self._revocations
        identity = await self._authenticator.authenticate(token, host)
        if self._is_usable and endings == self._revocations:  # else what was read may be over already
            self._store_identity(
                digest, _CachedIdentity(identity, min(identity.expires_at, began + self._lifetime))
            )
        return identity

    def deliver(self, delivery: Delivery) -> bool:
        content = delivery.content
        assert isinstance(content, dict)
        self.revoke(revoked_ids(str(delivery.metadata["eventType"]), content))
        return True

    def revoke(self, ids: Sequence[str]) -> None:
        """The users and sessions with these ids have no rights any more."""
        self._revocations += len(ids)
        for id in ids:
            for digest in list(self._digests_by_owner.get(id, ())):
                self._evict(digest)

    def _check_keys(self) -> None:
        """What was good by other keys must prove itself again."""
        keys = self._keys()
        if keys is not self._verified_with:
            self._verified_with = keys
            self._revocations += 1
            self._cached.clear()
            self._digests_by_owner.clear()

    @property
    def _is_usable(self) -> bool:
        """Whether this instance would have heard of an end."""
        sight = self._dispatcher.freshness
        return self._lifetime > 0 and sight is not None and not sight.is_stale

    def _store_identity(self, digest: bytes, known: _CachedIdentity) -> None:
        self._evict(digest)  # two may have looked for one token at once
        while len(self._cached) >= self._max_tokens:
            self._evict(next(iter(self._cached)))
        self._cached[digest] = known
        for id in _owner_ids(known.identity):
            self._digests_by_owner.setdefault(id, set()).add(digest)

    def _evict(self, digest: bytes) -> None:
        known = self._cached.pop(digest, None)
        for id in _owner_ids(known.identity) if known else ():
            self._digests_by_owner[id].discard(digest)
            if not self._digests_by_owner[id]:
                del self._digests_by_owner[id]


@frozen
class RevocationNotifyingStore:
    """A store that tells of the rights which end with what it commits, before anybody can read so in the log."""

    _store: Store
    _on_revoked: Callable[[Sequence[str]], object]

    def read(self, *queries: Query) -> Awaitable[Snapshot]:
        return self._store.read(*queries)

    async def commit(self, unit: Unit) -> str:
        cursor = await self._store.commit(unit)
        for event in unit.events:
            if isinstance(event.content, dict):
                self._on_revoked(revoked_ids(event.type, event.content))
        return cursor

    def cursor_of(self, position: int) -> str:
        return self._store.cursor_of(position)


def _owner_ids(who: Identity) -> tuple[str, str]:
    return who.user_id, who.session_id


def _token_digest(token: str) -> bytes:
    """So that no token is kept."""
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()
