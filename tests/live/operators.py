"""What operators are shown by a server, on its metrics port."""

from __future__ import annotations

import treq
from attrs import evolve

from tests import canary

from .clients import Address, Rest

PAGES = ("/metrics", "/metrics/json", "/stats", "/health")


async def look_over(address: Address) -> str:
    """All of it, as text: there is no secret in it."""
    shown, port = [], evolve(address, http=address.metrics)
    agent = Rest(port).agent(port)
    for page in PAGES:
        shown.append(await treq.text_content(await treq.get(port.url(page), agent=agent)))
        canary.look(page, shown[-1])
    return "\n".join(shown)
