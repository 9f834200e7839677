"""What is derived from the head of a request; kept for the next one, as clients repeat their heads."""

from __future__ import annotations

from typing import Sequence

from attrs import define, field, frozen
from twisted.internet.interfaces import IAddress

from ..core.addresses import AddressRules
from ..core.errors import InvalidInput, Refusal
from .codec import RequestHead, split_list
from .compression import accepts_gzip
from .cors import CorsPolicy
from .proxy_headers import ClientResolver
from .request_id import request_id_of
from .routing import RequestTarget
from .security_headers import HSTS_HEADER, SECURITY_HEADERS

HeaderLines = tuple[tuple[bytes, bytes], ...]

VARY_ORIGIN: HeaderLines = ((b"Vary", b"Origin"),)
VARY_BOTH: HeaderLines = ((b"Vary", b"Origin"), (b"Vary", b"Accept-Encoding"))


def format_lines(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%s: %s\r\n" % field for field in fields])


@frozen
class AnswerPolicy:
    """The settings that apply to all responses of a site."""

    cors: CorsPolicy
    compression: bool
    security_headers: bool
    address_rules: AddressRules
    client_resolver: ClientResolver = field(init=False)

    @client_resolver.default
    def _make_client_resolver(self) -> ClientResolver:
        return ClientResolver(self.address_rules)


@define(eq=False, repr=False)
class ResolvedHeaders:
    """What is derived from the header fields of a request alone; treat it as immutable."""

    client: IAddress  # as a trusted proxy reports it, or the peer
    client_address: str
    refusal: Refusal | None  # why the client is rejected
    secure: bool  # whether the client used TLS
    request_id: str | None
    origin: bytes | None
    accepts_gzip: bool
    wants_websocket_upgrade: bool
    has_token: bool  # an Authorization header, whatever it says
    has_preflight_method: bool  # Access-Control-Request-Method
    cors_headers: HeaderLines
    vary_lines: bytes  # Vary and CORS
    vary_both_lines: bytes  # the same, if the response varies with Accept-Encoding, too
    security_headers: HeaderLines
    security_lines: bytes

    @classmethod
    def of(cls, head: RequestHead, peer: IAddress, secure: bool, policy: AnswerPolicy) -> ResolvedHeaders:
        refusal: Refusal | None = None
        client = peer
        try:
            forwarded = policy.client_resolver.resolve(head, peer)
        except Refusal as fault:
            refusal = fault
        else:
            client = forwarded.address
            secure = secure if forwarded.secure is None else forwarded.secure
        repeated = head.repeated_singleton()
        if repeated is not None and refusal is None:
            refusal = InvalidInput(f"A request has at most one {repeated}")
        origin = head.last(b"origin")
        cors = policy.cors.response_headers(origin, secure, head.host)
        cors_lines = format_lines(cors) if cors else b""
        security: HeaderLines = ()
        if policy.security_headers:
            security = _SECURE if secure else SECURITY_HEADERS
        return cls(
            client,
            str(getattr(client, "host", "")),
            refusal,
            secure,
            request_id_of(head),
            origin,
            accepts_gzip(head.joined(b"accept-encoding") or b""),
            b"websocket" in split_list(head.joined(b"upgrade") or b""),
            head.last(b"authorization") is not None,
            head.last(b"access-control-request-method") is not None,
            cors,
            _LINES[VARY_ORIGIN] + cors_lines,
            _LINES[VARY_BOTH] + cors_lines,
            security,
            _LINES[security],
        )

    def for_client(self, head: RequestHead, peer: IAddress, policy: AnswerPolicy) -> ResolvedHeaders | None:
        """A copy for a head that differs in the forwarded client alone; `None` if it needs a new one."""
        if self.refusal is not None:
            return None
        try:
            client = policy.client_resolver.resolve(head, peer).address
        except Refusal:
            return None
        return ResolvedHeaders(
            client,
            str(getattr(client, "host", "")),
            None,
            self.secure,
            self.request_id,
            self.origin,
            self.accepts_gzip,
            self.wants_websocket_upgrade,
            self.has_token,
            self.has_preflight_method,
            self.cors_headers,
            self.vary_lines,
            self.vary_both_lines,
            self.security_headers,
            self.security_lines,
        )


_SECURE = (*SECURITY_HEADERS, HSTS_HEADER)
_LINES = {each: format_lines(each) for each in ((), SECURITY_HEADERS, _SECURE, VARY_ORIGIN, VARY_BOTH)}


@define(eq=False, repr=False)
class ResolvedHead:
    """A head, and all that is derived from it; the connection keeps it until a different head follows."""

    head: RequestHead
    headers: ResolvedHeaders
    target: RequestTarget
    query: bytes
    turn_key: str  # whose share of the reactor's time the request has
    routes_version: int  # the version of the routes that `target` was found with
    is_upgrade: bool = field(default=False)  # to another protocol, at a path that supports one
    is_preflight: bool = field(default=False)  # a preflight request of CORS
