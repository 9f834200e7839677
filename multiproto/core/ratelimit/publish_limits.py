"""Limits how often and how much a user, and a single credential, may publish, whatever the protocol.

Who publishes by a request is refused beyond a limit, and learns when to try
again.  Who publishes on a socket has no request to repeat: it waits, and what
it sends meanwhile is read later.
"""

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
    _bytes_by_user: SharedBuckets | None = None

    def check(self, identity: Identity) -> None:
        """Count one publication or message, even if it is refused later.  Raises `RateLimited`."""
        if self._bytes_by_user is not None and (wait := self._bytes_by_user.charge(identity.user_id, 0)):
            raise RateLimited("Too many bytes published by this user", "USER_BYTES_RATE", wait)
        if self._by_credential is not None and (wait := self._by_credential.acquire(identity.session_id)):
            raise RateLimited(
                "Too many publications with this login or credential", "CREDENTIAL_PUBLISH_RATE", wait
            )
        if self._by_user is not None and (wait := self._by_user.acquire(identity.user_id)):
            raise RateLimited("Too many publications by this user", "PUBLISH_RATE", wait)

    def charge(self, identity: Identity) -> float:
        """Count one publication or message that nothing refuses: the seconds that it has to wait."""
        wait = 0.0
        if self._by_credential is not None:
            wait = self._by_credential.charge(identity.session_id)
        if self._by_user is not None:
            wait = max(wait, self._by_user.charge(identity.user_id))
        if self._bytes_by_user is not None:
            wait = max(wait, self._bytes_by_user.charge(identity.user_id, 0))
        return wait

    def charge_bytes(self, identity: Identity, size: int) -> None:
        """Count the bytes of a publication that was admitted: beyond the limit, the next one has to wait."""
        if self._bytes_by_user is not None:
            self._bytes_by_user.charge(identity.user_id, size)
