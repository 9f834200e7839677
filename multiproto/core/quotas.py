"""How often one may publish, whatever the protocol: as a user, and with one credential of theirs."""

from __future__ import annotations

from attrs import frozen

from .errors import RateLimited
from .leases import Allotment
from .ports import Identity


@frozen(eq=False)
class Quotas:
    """Without allotments, as often as one likes."""

    _by_user: Allotment | None = None
    _by_credential: Allotment | None = None

    def charge(self, who: Identity) -> None:
        """One publication or message more, whatever becomes of it.  Raises `RateLimited`."""
        for allotment, key, whose in (
            (self._by_credential, who.session_id, "with this credential"),
            (self._by_user, who.user_id, "by this user"),
        ):
            wait = 0.0 if allotment is None else allotment.take(key)
            if wait:
                raise RateLimited(f"Too many publications {whose}", retry_after=wait)
