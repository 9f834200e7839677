"""The one door by which requests come in, whatever wire carries them; connections have their session's.

A connection can do nothing but what is about topics, where `policy` knows what a
credential was granted.  A request can be about anything; so who came with a
credential is turned away, unless what they ask for says that it is about topics.
"""

from __future__ import annotations

from attrs import frozen

from .attempts import Attempts
from .client import Client
from .errors import Forbidden, Unauthorized
from .hub import Hub
from .ports import Gate, Identity


@frozen
class Access:
    _gate: Gate
    _hub: Hub
    _attempts: Attempts

    async def identify(self, token: str, client: Client) -> Identity:
        """What the gate says, unless the hub has heard otherwise while it was looking.  Raises `Unauthorized`."""
        who = await self._attempts.watch(self._gate, client).identify(token, client.address)
        if self._hub.has_revoked(who):
            raise Unauthorized("Token revoked", "revoked")
        return who


def check_whole(who: Identity) -> None:
    """Raise `Forbidden` for who may not do all that their user may."""
    if who.grants is not None:
        raise Forbidden("This credential is for topics only")
