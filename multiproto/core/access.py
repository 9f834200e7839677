"""The one door by which requests come in, whatever wire carries them; connections have their session's.

A connection can do nothing but what is about topics, where `policy` knows what a
credential was granted.  A request can be about anything; so who came with a
credential is turned away, unless what they ask for says that it is about topics.
"""

from __future__ import annotations

from attrs import frozen

from .attempts import FailedAttempts
from .client import ClientInfo
from .errors import Forbidden, Unauthorized
from .hub import Hub
from .ports import Authenticator, Identity


@frozen
class RequestAuthenticator:
    _authenticator: Authenticator
    _hub: Hub
    _failed_attempts: FailedAttempts

    async def authenticate(self, token: str, client: ClientInfo) -> Identity:
        """What the gate says, unless the hub has heard otherwise while it was looking.  Raises `Unauthorized`."""
        who = await self._failed_attempts.recording(self._authenticator, client).authenticate(
            token, client.address
        )
        if self._hub.is_revoked(who):
            raise Unauthorized("Token revoked", "revoked")
        return who


def check_full_access(who: Identity) -> None:
    """Raise `Forbidden` for who may not do all that their user may."""
    if who.grants is not None:
        raise Forbidden("This credential is for topics only")
