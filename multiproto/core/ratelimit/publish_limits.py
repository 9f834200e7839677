"""How often one may publish, whatever the protocol: as a user, and with one credential of theirs."""

from __future__ import annotations

from attrs import frozen

from ..errors import RateLimited
from ..identity import Identity
from .shared_bucket import SharedBuckets


@frozen(eq=False)
class PublishLimits:
    """Without allotments, as often as one likes."""

    _by_user: SharedBuckets | None = None
    _by_credential: SharedBuckets | None = None

    def charge(self, who: Identity) -> None:
        """One publication or message more, whatever becomes of it.  Raises `RateLimited`."""
        if self._by_credential is not None and (wait := self._by_credential.acquire(who.session_id)):
            raise RateLimited("Too many publications with this credential", retry_after=wait)
        if self._by_user is not None and (wait := self._by_user.acquire(who.user_id)):
            raise RateLimited("Too many publications by this user", retry_after=wait)
