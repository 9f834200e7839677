"""The public keys with which other services verify tokens, as a JWK Set (RFC 7517)."""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from attrs import define

from ...base import strict_json
from ..envelope import RawResponse
from ..route import Auth, RequestContext, Route

# Seconds that the set may be cached; a new key has to be in it for so long before it signs.
JWKS_MAX_AGE = 300

PublicKeySource = Callable[[], Sequence[Mapping[str, str]]]


@define(eq=False, repr=False)
class JwksRoutes:
    _public_keys: PublicKeySource

    def routes(self) -> list[Route]:
        return [Route("GET", "/.well-known/jwks.json", self.jwks, auth=Auth.NONE)]

    async def jwks(self, context: RequestContext) -> RawResponse:
        body = strict_json.dumps({"keys": self._public_keys()})
        headers = ((b"Cache-Control", b"public, max-age=%d" % JWKS_MAX_AGE),)
        return RawResponse(200, b"application/jwk-set+json", body, headers)
