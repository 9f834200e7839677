"""What operators are shown by a server, on its metrics port."""

from __future__ import annotations

import treq
from twisted.internet import reactor
from twisted.web.client import Agent

from tests import canary

from .clients import Address

PAGES = ("/metrics", "/metrics/json", "/stats", "/health")


async def look_over(address: Address) -> str:
    """All of it, as text: there is no secret in it."""
    shown = []
    for page in PAGES:
        url = f"http://{address.host}:{address.metrics}{page}"
        shown.append(await treq.text_content(await treq.get(url, agent=Agent(reactor))))
        canary.look(page, shown[-1])
    return "\n".join(shown)
