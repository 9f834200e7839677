"""Limits how often a user, and a single credential, may publish, whatever the protocol."""

from __future__ import annotations

from attrs import frozen

from ..errors import RateLimited
from ..identity import Identity
from .shared_bucket import SharedBuckets


@frozen(eq=False)
class PublishLimits:
    """Without buckets there is no limit."""

    _by_user: SharedBuckets | None = None
    _by_credential: SharedBuckets | None = None

    def charge(self, identity: Identity) -> None:
        """Count one publication or message, even if it is refused later.  Raises `RateLimited`."""
        if self._by_credential is not None and (wait := self._by_credential.acquire(identity.session_id)):
            raise RateLimited("Too many publications with this credential", retry_after=wait)
        if self._by_user is not None and (wait := self._by_user.acquire(identity.user_id)):
            raise RateLimited("Too many publications by this user", retry_after=wait)
