"""Parses the head of an HTTP/1.1 request: bytes in, `RequestHead` or `HttpProtocolError` out.

Pure and strict, after RFC 9112 and RFC 9110: what two parsers could understand
differently is refused, so that a proxy in front of the server never disagrees
with it on where a request ends (request smuggling).
"""

from __future__ import annotations

import re

from attrs import define, field

from ..base.tls_hello import TLS_HANDSHAKE

HeaderFields = tuple[tuple[bytes, bytes], ...]
_ValuesByName = dict[bytes, list[bytes]]  # in lower case

MAX_REQUEST_LINE = 8192  # bytes of a request line (RFC 9112, 3: at least 8000)
MAX_FIELDS = 100
MAX_FIELD_BYTES = 16_384  # of all fields together
FORWARDED_FOR = b"x-forwarded-for"
MAX_FORWARDED = 256  # bytes of addresses in it, for a head to be taken as a repeated one
MAX_REMEMBERED_HEAD = 2048  # bytes of a head that are remembered, as each idle connection does
# Fields of which this server uses the value, and of which there can be only one (RFC 9110, 5.3): two readers could
# each take another.
SINGLETONS = frozenset(
    {
        *(b"authorization", b"content-type", b"idempotency-key", b"last-event-id", b"origin"),
        *(b"access-control-request-method", b"sec-websocket-key"),
    }
)
METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"))

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
TOKEN = re.compile(_TOKEN)  # the name of a field or a method (RFC 9110, 5.6.2)
# Of a request line.
_FIRST_BYTES = frozenset(byte for byte in range(256) if TOKEN.fullmatch(bytes([byte])))
_REQUEST_LINE = re.compile(rb"(%s) ([^\x00-\x20\x7f#]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
# One way to match each byte: with a pattern of its own for the white space around the value, 16 kB of spaces
# took seconds.
_FIELD = re.compile(rb"(%s):([^\x00-\x08\x0a-\x1f\x7f]*)" % _TOKEN)
_ADDRESSES = re.compile(rb"[0-9A-Fa-f:.](?:[0-9A-Fa-f:., ]*[0-9A-Fa-f:.])?")
_HEAD_END = re.compile(rb"\n\r?\n")
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_HOST_LABEL = rb"[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"
_HOST = re.compile(rb"(?:%s(?:\.%s)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?" % (_HOST_LABEL, _HOST_LABEL))
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class HttpProtocolError(Exception):
    """An error after which the connection is closed: the client receives `status` and `message`."""

    method = b""  # of the request, as far as it is known
    version = b"HTTP/1.1"

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        """`retry_after` in seconds."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


@define(eq=False, repr=False)
class ForwardedField:
    """The position of a head's only X-Forwarded-For, whose value a proxy changes from request to request.

    Heads with the same `around` differ in that value alone.
    """

    around: tuple[bytes, bytes]  # the bytes before its value, and after it
    index: int  # among the fields


@define
class RequestHead:
    """The parsed head of a request.

    Treat it as immutable: each request makes one, and a frozen one takes three times as long.
    """

    method: bytes
    target: bytes = field(repr=False)  # path and query, or "*"
    version: bytes
    fields: HeaderFields = field(repr=False)  # one may carry a token
    host: bytes  # from the target when that is absolute; empty only in HTTP/1.0
    length: int | None  # bytes of the body; `None`: chunked
    keep_alive: bool
    expects_continue: bool
    # By name in lower case; `None` if a name is repeated.
    fields_by_name: dict[bytes, bytes] | None = field(default=None, repr=False)
    raw: bytes = field(default=b"", repr=False, eq=False)  # its bytes; empty if they are not remembered
    forwarded: ForwardedField | None = field(default=None, repr=False, eq=False)

    def raw_fields(self) -> bytes:
        """The bytes after the request line."""
        return self.raw[self.raw.find(b"\n") + 1 :]

    def values(self, name: bytes) -> list[bytes]:
        """Every value of the field `name`, in lower case; for `host`, the host that the request is for."""
        if name == b"host":
            return [self.host]
        if self.fields_by_name is not None:
            value = self.fields_by_name.get(name)
            return [] if value is None else [value]
        return _field_values(self.fields, name)

    def first(self, name: bytes) -> bytes | None:
        if self.fields_by_name is not None and name != b"host":
            return self.fields_by_name.get(name)
        return next(iter(self.values(name)), None)

    def last(self, name: bytes) -> bytes | None:
        if self.fields_by_name is not None and name != b"host":
            return self.fields_by_name.get(name)
        return next(reversed(self.values(name)), None)

    def joined(self, name: bytes) -> bytes | None:
        """The list in all fields `name`, in lower case, which may be several lines (RFC 9110, 5.3)."""
        if self.fields_by_name is not None:
            return self.fields_by_name.get(name)
        return b", ".join(self.values(name)) or None

    def repeated_singleton(self) -> str | None:
        """The name of a field that may come only once, and has come twice with whatever values."""
        if self.fields_by_name is not None:
            return None
        names = [name.lower() for name, _ in self.fields]
        return next(
            (name.decode("ascii").title() for name in names if name in SINGLETONS and names.count(name) > 1),
            None,
        )


def head_size(buffer: bytearray, start: int = 0) -> int | None:
    """The size of the head at the start of `buffer`, its empty line included; `None` while it is incomplete.

    Its end is searched from `start`.  Raises `HttpProtocolError` as soon as a limit
    is passed, the same for any fragmentation of the stream; and at once for what begins no request, so that
    who speaks another protocol does not wait for an answer.
    """
    if buffer and buffer[0] not in _FIRST_BYTES and buffer != b"\r":  # with which an empty line may begin
        secure = buffer[0] == TLS_HANDSHAKE
        raise HttpProtocolError(
            400, "This port speaks HTTP without TLS" if secure else "Malformed request line"
        )
    line = buffer.find(b"\n", 0, MAX_REQUEST_LINE + 2)
    if line < 0 and len(buffer) >= MAX_REQUEST_LINE + 2:
        raise HttpProtocolError(414, f"A request line has at most {MAX_REQUEST_LINE} bytes")
    end = _HEAD_END.search(buffer, start)
    fields = (end.end() if end else len(buffer)) - line - 1
    if line >= 0 and fields > MAX_FIELD_BYTES + 2:
        raise HttpProtocolError(431, f"Header fields have at most {MAX_FIELD_BYTES} bytes")
    return end.end() if end else None


def parse_head(block: bytes, previous: RequestHead | None = None) -> RequestHead:
    """Parse `block`, a head with its empty line.  Raises `HttpProtocolError`, never anything else.

    `previous` is the last head of the connection: a client repeats its fields, and these are parsed once.
    """
    if not block.endswith(b"\r\n\r\n"):
        raise HttpProtocolError(400, "Lines end with CR LF")
    request_line, _, field_lines = block.partition(b"\r\n")
    method, target, version = _parse_request_line(request_line)
    try:
        if (
            previous is not None
            and target.startswith(b"/")
            and version == previous.version
            and field_lines == previous.raw_fields()
        ):
            _parse_target(method, target)
            return _repeat_head(previous, method, target, block)
        lines = field_lines.split(b"\r\n")[:-2]
        if len(lines) > MAX_FIELDS:
            raise HttpProtocolError(431, f"At most {MAX_FIELDS} header fields")
        fields = tuple(map(parse_field, lines))
        target, authority = _parse_target(method, target)
        by_name = _group_by_name(fields)
        host = _parse_host(by_name.get(b"host", []), version)
        raw = block if not authority and len(block) <= MAX_REMEMBERED_HEAD else b""
        return RequestHead(
            method,
            target,
            version,
            fields,
            authority or host,
            _parse_body_length(by_name, version),
            version != b"HTTP/1.0" and b"close" not in _list_members(by_name, b"connection"),
            _parse_expect(by_name, version),
            {name: value for name, [value] in by_name.items()} if len(by_name) == len(fields) else None,
            raw,
            _find_forwarded(raw, fields) if FORWARDED_FOR in by_name and raw else None,
        )
    except HttpProtocolError as fault:
        fault.method, fault.version = method, version
        raise


def unparsable_head(fault: HttpProtocolError) -> RequestHead:
    """The head of a request that can't be parsed, with what is known of it."""
    return RequestHead(fault.method, b"", fault.version, (), b"", 0, False, False, {})


def repeat_for_other_client(previous: RequestHead, buffer: bytearray) -> RequestHead | None:
    """The head at the start of `buffer`, if it is `previous` but for the addresses in X-Forwarded-For.

    A proxy sends the requests of many clients on one connection: parsing all their
    fields again took twice the time of the rest of a small request.
    """
    forwarded = previous.forwarded
    if forwarded is None or not buffer.startswith(forwarded.around[0]):
        return None
    start, rest = len(forwarded.around[0]), forwarded.around[1]
    end = buffer.find(b"\r\n", start, start + MAX_FORWARDED)
    value = bytes(buffer[start : max(start, end)])
    if not _ADDRESSES.fullmatch(value) or not buffer.startswith(rest, end):
        return None
    fields, index = previous.fields, forwarded.index
    return RequestHead(
        previous.method,
        previous.target,
        previous.version,
        (*fields[:index], (fields[index][0], value), *fields[index + 1 :]),
        previous.host,
        previous.length,
        previous.keep_alive,
        previous.expects_continue,
        {**(previous.fields_by_name or {}), FORWARDED_FOR: value},
        bytes(buffer[: end + len(rest)]),
        forwarded,
    )


def _find_forwarded(raw: bytes, fields: HeaderFields) -> ForwardedField | None:
    """The X-Forwarded-For of a head; `None` if there is not exactly one, if its value is not a plain list
    of addresses, or if the head is not remembered (`raw` is empty)."""
    names = [name.lower() for name, _ in fields]
    if names.count(FORWARDED_FOR) != 1 or len(set(names)) < len(names):
        return None
    index = names.index(FORWARDED_FOR)
    name, value = fields[index]
    start = raw.find(b"\r\n%s: %s\r\n" % (name, value)) + len(name) + 4
    if not _ADDRESSES.fullmatch(value) or raw[start : start + len(value) + 2] != value + b"\r\n":
        return None
    return ForwardedField((raw[:start], raw[start + len(value) :]), index)


def _repeat_head(previous: RequestHead, method: bytes, target: bytes, block: bytes) -> RequestHead:
    raw = block if len(block) <= MAX_REMEMBERED_HEAD else b""
    return RequestHead(
        method,
        target,
        previous.version,
        previous.fields,
        previous.host,
        previous.length,
        previous.keep_alive,
        previous.expects_continue,
        previous.fields_by_name,
        raw,
        _find_forwarded(raw, previous.fields) if previous.forwarded is not None and raw else None,
    )


def parse_field(line: bytes) -> tuple[bytes, bytes]:
    """One field as (name, value).  Raises `HttpProtocolError` for folding and control characters."""
    found = _FIELD.fullmatch(line)
    if found is None:
        raise HttpProtocolError(400, "Malformed header field")
    return found[1], found[2].strip(b" \t")


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise HttpProtocolError(400, "Malformed request line")
    method, target, major, minor = found.groups()
    if major != b"1":
        raise HttpProtocolError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
    if method not in METHODS:
        raise HttpProtocolError(501, "Unknown method")
    return method, target, b"HTTP/1.0" if minor == b"0" else b"HTTP/1.1"


def _parse_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Split a target into (target without authority, authority): RFC 9112, 3.2."""
    authority = b""
    absolute = _ABSOLUTE_FORM.fullmatch(target)
    if absolute is not None:
        authority, target = absolute.groups()
        if not _HOST.fullmatch(authority):
            raise HttpProtocolError(400, "Malformed host")
        target = target if target.startswith(b"/") else b"/" + target
    elif target == b"*" and method == b"OPTIONS":
        return target, authority
    if not target.startswith(b"/") or _BAD_ESCAPE.search(target):
        raise HttpProtocolError(400, "Malformed request target")
    return target, authority


def _parse_host(hosts: list[bytes], version: bytes) -> bytes:
    if not hosts and version == b"HTTP/1.0":
        return b""
    if len(hosts) != 1:
        raise HttpProtocolError(400, "A request has exactly one Host")
    if not _HOST.fullmatch(hosts[0]):
        raise HttpProtocolError(400, "Malformed host")
    return hosts[0]


def _parse_body_length(by_name: _ValuesByName, version: bytes) -> int | None:
    """The length of the body, `None` if it is chunked (RFC 9112, 6.3); what is ambiguous is refused."""
    codings, lengths = by_name.get(b"transfer-encoding", []), by_name.get(b"content-length", [])
    if codings:
        if lengths or version == b"HTTP/1.0":
            raise HttpProtocolError(400, "Transfer-Encoding and Content-Length exclude each other")
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise HttpProtocolError(501, "The only transfer coding known here is chunked")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise HttpProtocolError(400, "A request has at most one Content-Length, in digits")
    # `int` accepts at most 4300 digits; 16 of them are longer than any body.
    return int(lengths[0].lstrip(b"0")[:16] or b"0")


def _parse_expect(by_name: _ValuesByName, version: bytes) -> bool:
    expected = _list_members(by_name, b"expect")
    if expected - {b"100-continue"}:
        raise HttpProtocolError(417, "The only expectation known here is 100-continue")
    return bool(expected) and version != b"HTTP/1.0"


def _field_values(fields: HeaderFields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key.lower() == name]


def _group_by_name(fields: HeaderFields) -> _ValuesByName:
    """The values of each name.

    Made once for a head: searching all fields for each name took twice the time of parsing them.
    """
    found: _ValuesByName = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return found


def _list_members(by_name: _ValuesByName, name: bytes) -> set[bytes]:
    """The members of a comma-separated list, in lower case."""
    return set(split_list(b",".join(by_name.get(name, []))))


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case (RFC 9110, 5.6.1)."""
    return [member for each in value.lower().split(b",") if (member := each.strip(b" \t"))]
