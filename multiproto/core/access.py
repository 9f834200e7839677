"""The one door by which requests come in, whatever wire carries them; connections have their session's."""

from __future__ import annotations

from attrs import frozen

from .attempts import Attempts
from .client import Client
from .errors import Unauthorized
from .hub import Hub
from .ports import Gate, Identity


@frozen
class Access:
    _gate: Gate
    _hub: Hub
    _attempts: Attempts

    async def identify(self, token: str, client: Client) -> Identity:
        """What the gate says, unless the hub has heard otherwise while it was looking.  Raises `Unauthorized`."""
        who = await self._attempts.watch(self._gate, client).identify(token)
        if self._hub.has_revoked(who):
            raise Unauthorized("Token revoked", "revoked")
        return who
