"""A cache of verified tokens and credentials, invalidated by revocations.

Rights end through the log.  So a token is cached only while this instance is
caught up with the log, and is forgotten as soon as the log, or somebody in this
process, announces the end of its session or its user.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Callable, Sequence

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ..base.bounded_map import BoundedMap
from ..core.identity import Identity
from ..core.pubsub.dispatcher import Dispatcher

MAX_TOKENS = 10_000  # tokens; some 6 MB


@frozen
class _CachedIdentity:
    identity: Identity
    deadline: float  # by the clock


@define(eq=False, repr=False)
class TokenCache:
    """Keeps digests, so that no token is in memory longer than its request."""

    _dispatcher: Dispatcher  # whose view of the log decides whether the cache may be used
    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch: a token that has expired by it proves nothing
    _lifetime: float  # seconds that a token is cached for at most; 0: not at all
    _keys: Callable[[], object] = lambda: None  # that verify tokens: another object once they are replaced
    _max_tokens: int = MAX_TOKENS
    version: int = field(default=0, init=False)  # another one after each invalidation
    _by_digest: BoundedMap[bytes, _CachedIdentity] = field(init=False)
    _digests_by_owner: dict[str, set[bytes]] = Factory(dict)  # by the id of their session and of their user
    _verified_with: object = None

    def __attrs_post_init__(self) -> None:
        self._by_digest = BoundedMap(self._max_tokens)
        self._dispatcher.revocations.on_revoked.append(self.revoke)
        self._dispatcher.on_log_replaced.append(self.clear)

    def __len__(self) -> int:
        return len(self._by_digest)

    def get(self, token: str) -> Identity | None:
        """The identity that `token` has proven, if that still stands."""
        self._check_keys()
        if not self._is_usable:
            return None
        digest = _token_digest(token)
        cached = self._by_digest.get(digest)
        if cached is None:
            return None
        if self._clock.seconds() >= cached.deadline or self._now() >= cached.identity.expires_at:
            self._remove(digest)
            return None
        return cached.identity

    def put(self, token: str, identity: Identity, version: int) -> None:
        """Cache that `token` proves `identity`, unless it was verified before the last invalidation.

        `version` is the cache's, from before the token was verified.
        """
        if not self._is_usable or version != self.version:
            return
        digest = _token_digest(token)
        self._remove(digest)  # two may have verified one token at once
        deadline = min(identity.deadline, self._clock.seconds() + self._lifetime)
        for id in _owner_ids(identity):
            self._digests_by_owner.setdefault(id, set()).add(digest)
        for evicted, cached in self._by_digest.put(digest, _CachedIdentity(identity, deadline)):
            self._forget_owners(evicted, cached)

    def revoke(self, ids: Sequence[str]) -> None:
        """The users and sessions with these ids have no rights any more."""
        self.version += 1
        for id in ids:
            for digest in list(self._digests_by_owner.get(id, ())):
                self._remove(digest)

    def _check_keys(self) -> None:
        """What older keys have verified must be verified again."""
        keys = self._keys()
        if keys is not self._verified_with:
            self._verified_with = keys
            self.clear()

    def clear(self) -> None:
        """All must be verified again."""
        self.version += 1
        self._by_digest.clear()
        self._digests_by_owner.clear()

    @property
    def _is_usable(self) -> bool:
        """Whether this instance would know of a revocation."""
        freshness = self._dispatcher.freshness
        return self._lifetime > 0 and freshness is not None and not freshness.is_stale

    def _remove(self, digest: bytes) -> None:
        cached = self._by_digest.pop(digest)
        if cached is not None:
            self._forget_owners(digest, cached)

    def _forget_owners(self, digest: bytes, cached: _CachedIdentity) -> None:
        for id in _owner_ids(cached.identity):
            self._digests_by_owner[id].discard(digest)
            if not self._digests_by_owner[id]:
                del self._digests_by_owner[id]


def _owner_ids(identity: Identity) -> tuple[str, str]:
    return identity.user_id, identity.session_id


def _token_digest(token: str) -> bytes:
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()
