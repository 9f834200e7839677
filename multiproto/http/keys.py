"""The keys that tokens can be verified with by others, as a JWK Set (RFC 7517)."""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from attrs import define

from .. import jsontext
from .call import Call, Route

MAX_AGE = 300  # seconds that others may go without asking; a new key is to be here that long before it signs

Published = Callable[[], Sequence[Mapping[str, str]]]


@define(eq=False, repr=False)
class KeyRoutes:
    _published: Published

    def routes(self) -> list[Route]:
        return [Route("GET", "/.well-known/jwks.json", self.keys, whole=False)]

    async def keys(self, call: Call) -> None:
        body = jsontext.dumps({"keys": self._published()})
        may_keep = ((b"Cache-Control", b"public, max-age=%d" % MAX_AGE),)
        call.exchange.write(call.exchange.prepare(200, body, may_keep, b"application/jwk-set+json"))
