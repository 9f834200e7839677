"""The one door by which requests come in, whatever wire carries them; connections have their session's.

A connection can do nothing but what is about topics, where `policy` knows what a
credential was granted.  A request can be about anything; so who came with a
credential is turned away, unless what they ask for says that it is about topics.
"""

from __future__ import annotations

from attrs import frozen

from .client_info import ClientInfo
from .connections.hub import Hub
from .domain.failed_attempts import FailedAttempts
from .errors import Unauthorized
from .identity import Identity
from .ports import Authenticator


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
