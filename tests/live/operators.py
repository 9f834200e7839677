"""What operators are shown by a server, on its metrics port."""

from __future__ import annotations

import treq
from attrs import evolve

from tests import canary

from .clients import Address, Rest

PAGES = ("/metrics", "/metrics/json", "/stats", "/health")


async def look_over(address: Address) -> str:
    """All of it, as text: there is no secret in it."""
    return "\n".join([await _page(address, page) for page in PAGES])


async def metrics(address: Address) -> str:
    """As Prometheus reads them."""
    return await _page(address, PAGES[0])


async def _page(address: Address, page: str) -> str:
    port = evolve(address, http=address.metrics)
    shown: str = await treq.text_content(await treq.get(port.url(page), agent=Rest(port).agent(port)))
    canary.look(page, shown)
    return shown
