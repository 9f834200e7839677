"""The one door by which requests come in, whatever wire carries them; connections have their session's."""

from __future__ import annotations

from attrs import frozen

from .errors import Unauthorized
from .hub import Hub
from .ports import Gate, Identity


@frozen
class Access:
    """`core.ports.Gate`: what the gate says, unless the hub has heard otherwise while it was looking."""

    _gate: Gate
    _hub: Hub

    async def identify(self, token: str) -> Identity:
        who = await self._gate.identify(token)
        if self._hub.has_revoked(who):
            raise Unauthorized("Token revoked", "revoked")
        return who
