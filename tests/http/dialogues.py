"""Requests to the site and its responses, byte for byte: the table of `test_dialogues`.

The clock stands at 0, ids are correlation1, correlation2, …, an address may make 1000 requests in a minute; pages
of localhost are allowed, 10.0.0.0/8 are trusted proxies, and 203.0.113.0/24 is denied.
"""

from __future__ import annotations

import gzip

from attrs import frozen

EPOCH = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
SECURITY = (
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
)
LIMIT = "Ratelimit-Policy: 1000;w=60\r\nRatelimit-Limit: 1000\r\nRatelimit-Remaining: %d\r\nRatelimit-Reset: 60\r\n"
CLOSE = "Connection: close\r\n"
FIRST, SECOND = LIMIT % 999, LIMIT % 998  # of a client's requests

TIMESTAMP = '"timestamp":"1970-01-01T00:00:00.000Z"'


def json_response(
    status: str,
    body: str,
    headers: str = "Cache-Control: no-store\r\n",
    limit: str = "",
    number: int = 1,
    closing: bool = False,
) -> str:
    """A response with its own `headers` and those of a rate limit; `number` counts the requests of a client."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}{EPOCH}"
        f"X-Correlation-Id: correlation{number}\r\nVary: Origin\r\n{limit}{SECURITY}"
        f"{CLOSE if closing else ''}\r\n{body}"
    )


def success(status: str, data: str, limit: str = "") -> str:
    """A response in the envelope of a success; `data` is JSON."""
    return json_response(status, f'{{"success":true,"data":{data},{TIMESTAMP}}}', limit=limit)


def error(
    status: str,
    code: int,
    message: str,
    details: str = "",
    headers: str = "",
    limit: str = "",
    number: int = 1,
    closing: bool = False,
) -> str:
    """A response in the envelope of an error; `details` is JSON."""
    fields = f'"code":{code},"message":"{message}"' + (f',"details":{details}' if details else "")
    body = f'{{"success":false,"error":{{{fields}}},{TIMESTAMP}}}'
    return json_response(status, body, headers, limit, number, closing)


def graphql_response(status: str, body: str, headers: str = "") -> str:
    return (
        f"HTTP/1.1 {status}\r\n{headers}Content-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{EPOCH}X-Correlation-Id: correlation1\r\nVary: Origin\r\n{FIRST}{SECURITY}\r\n{body}"
    )


def graphql_error(status: str, message: str, headers: str = "", code: str = "BAD_REQUEST") -> str:
    extensions = f'"extensions":{{"code":"{code}","status":{status[:3]}}}'
    return graphql_response(status, f'{{"errors":[{{"message":"{message}",{extensions}}}]}}', headers)


def without_body(response: str) -> str:
    """As HEAD has it."""
    return response.partition("\r\n\r\n")[0] + "\r\n\r\n"


def preflight(requested: str) -> str:
    """The request of a page of localhost that wants to send these headers."""
    return (
        "OPTIONS /api/v1/users/x HTTP/1.1\r\nHost: a\r\nOrigin: http://localhost:5000\r\n"
        f"Access-Control-Request-Method: PUT\r\n{requested}\r\n"
    )


def preflight_response(allowed: str) -> str:
    return (
        "HTTP/1.1 204 No Content\r\n"
        "Access-Control-Allow-Origin: http://localhost:5000\r\n"
        "Access-Control-Allow-Credentials: true\r\n"
        "Access-Control-Expose-Headers: X-Correlation-ID, Retry-After, RateLimit-Policy, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset\r\n"
        "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE\r\n"
        f"Access-Control-Allow-Headers: {allowed}\r\n"
        f"Access-Control-Max-Age: 7200\r\n{EPOCH}X-Correlation-Id: correlation1\r\nVary: Origin\r\n{SECURITY}\r\n"
    )


KNOWN_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Correlation-ID, X-Request-ID"
HANDSHAKE = (
    "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
UPGRADE_REQUIRED = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n"
)
NO_WEBSOCKET = "This is a WebSocket endpoint of version 13"
TYPENAME = '{"data":{"__typename":"Query"}}'
POST_TOPIC = "POST /api/v1/topics/room HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-ann\r\n"
POST_GRAPHQL = "POST /graphql HTTP/1.1\r\nHost: a\r\n"
ZIPPED = gzip.compress(b'{"data":1}', mtime=0).decode("latin-1")
ZIPPED_QUERY = gzip.compress(b'{"query":"{__typename}"}', mtime=0).decode("latin-1")


def with_body(head: str, body: str) -> str:
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}"


def not_found(path: str, limit: str = "", number: int = 1) -> str:
    details = f'{{"resource":"Route","id":"{path}"}}'
    return error("404 Not Found", 3, "Route not found", details, limit=limit, number=number)


@frozen
class Dialogue:
    name: str
    said: str
    heard: str
    by_proxy: bool = False
    closes: bool = False  # the server, afterwards
    upgrades: bool = False  # the connection is HTTP's no longer


DIALOGUES = (
    Dialogue(
        "a public answer",
        "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue(
        "HTTP/1.0",
        "GET /health/live HTTP/1.0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 18\r\n"
        "Cache-Control: no-store\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + SECURITY + "Connection: close\r\n"
        "\r\n"
        '{"status":"alive"}',
        closes=True,
    ),
    Dialogue(
        "HEAD",
        "HEAD /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 18\r\n"
        "Cache-Control: no-store\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + SECURITY + "\r\n",
    ),
    Dialogue(
        "OPTIONS",
        "OPTIONS /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n"
        "Allow: GET, HEAD, OPTIONS\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + SECURITY + "\r\n",
    ),
    Dialogue(
        "OPTIONS of the server",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n"
        "Allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE\r\n"
        + EPOCH
        + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + SECURITY + "\r\n",
    ),
    Dialogue(
        "a wrong method",
        "DELETE /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        error("405 Method Not Allowed", 1, "Method not allowed", headers="Allow: GET, HEAD, OPTIONS\r\n"),
    ),
    Dialogue(
        "an unknown method",
        "BREW /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        error("501 Not Implemented", 1, "Unknown method", closing=True),
        closes=True,
    ),
    Dialogue(
        "another version",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        error(
            "505 HTTP Version Not Supported", 1, "Only HTTP/1.1 and HTTP/1.0 are spoken here", closing=True
        ),
        closes=True,
    ),
    Dialogue(
        "no Host",
        "GET /health/live HTTP/1.1\r\n\r\n",
        error("400 Bad Request", 1, "A request has exactly one Host", closing=True),
        closes=True,
    ),
    Dialogue(
        "two Hosts",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        error("400 Bad Request", 1, "A request has exactly one Host", closing=True),
        closes=True,
    ),
    Dialogue(
        "a bad field",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nBad Field: x\r\n\r\n",
        error("400 Bad Request", 1, "Malformed header field", closing=True),
        closes=True,
    ),
    Dialogue(
        "a folded field",
        "GET /health/live HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        error("400 Bad Request", 1, "Malformed header field", closing=True),
        closes=True,
    ),
    Dialogue(
        "an unknown expectation",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n",
        error("417 Expectation Failed", 1, "The only expectation known here is 100-continue", closing=True),
        closes=True,
    ),
    Dialogue(
        "a client that closes",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 18\r\n"
        "Cache-Control: no-store\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + SECURITY + "Connection: close\r\n"
        "\r\n"
        '{"status":"alive"}',
        closes=True,
    ),
    Dialogue(
        "an absolute target",
        "GET http://b/health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue(
        "a slash at the end",
        "GET /health/live/ HTTP/1.1\r\nHost: a\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue(
        "two slashes at the end",
        "GET /health/live// HTTP/1.1\r\nHost: a\r\n\r\n",
        not_found("/health/live//"),
    ),
    Dialogue(
        "two slashes before",
        "GET //health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        not_found("//health/live", limit=FIRST),
    ),
    Dialogue(
        "two slashes within",
        "GET /health//live HTTP/1.1\r\nHost: a\r\n\r\n",
        not_found("/health//live"),
    ),
    Dialogue(
        "an escaped letter",
        "GET /health/%6cive HTTP/1.1\r\nHost: a\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue(
        "a bad escape",
        "GET /health/%6 HTTP/1.1\r\nHost: a\r\n\r\n",
        error("400 Bad Request", 1, "Malformed request target", closing=True),
        closes=True,
    ),
    Dialogue(
        "a path that is not UTF-8",
        "GET /api/v1/topics/%FF HTTP/1.1\r\nHost: a\r\n\r\n",
        error("400 Bad Request", 1, "The path is not UTF-8", limit=FIRST),
    ),
    Dialogue(
        "another case",
        "GET /HEALTH/live HTTP/1.1\r\nHost: a\r\n\r\n",
        not_found("/HEALTH/live", limit=FIRST),
    ),
    Dialogue(
        "nothing there",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        not_found("/nowhere", limit=FIRST),
    ),
    Dialogue(
        "an empty query",
        "GET /health/live? HTTP/1.1\r\nHost: a\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue(
        "fields that come twice",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nAccept: x\r\nAccept: y\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue(
        "the same head twice",
        "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        (
            json_response("200 OK", '{"status":"alive"}')
            + json_response("200 OK", '{"status":"alive"}', number=2)
        ),
    ),
    Dialogue(
        "the same fields, another path",
        "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /health/ready HTTP/1.1\r\nHost: a\r\n\r\n",
        (
            json_response("200 OK", '{"status":"alive"}')
            + json_response("200 OK", '{"status":"ready"}', number=2)
        ),
    ),
    Dialogue(
        "an id of the client's",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nX-Correlation-ID: mine\r\nX-Request-ID: other\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 18\r\n"
        "Cache-Control: no-store\r\n" + EPOCH + "X-Correlation-Id: mine\r\n"
        "Vary: Origin\r\n" + SECURITY + "\r\n"
        '{"status":"alive"}',
    ),
    Dialogue(
        "an id that will not do",
        "GET /health/live HTTP/1.1\r\n"
        "Host: a\r\n"
        "X-Correlation-ID: not a good one\r\n"
        "X-Request-ID: other\r\n"
        "\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 18\r\n"
        "Cache-Control: no-store\r\n" + EPOCH + "X-Correlation-Id: other\r\n"
        "Vary: Origin\r\n" + SECURITY + "\r\n"
        '{"status":"alive"}',
    ),
    Dialogue(
        "a page of localhost",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nOrigin: http://localhost:5000\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 18\r\n"
        "Cache-Control: no-store\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n"
        "Access-Control-Allow-Origin: http://localhost:5000\r\n"
        "Access-Control-Allow-Credentials: true\r\n"
        "Access-Control-Expose-Headers: X-Correlation-ID, Retry-After, RateLimit-Policy, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset\r\n"
        + SECURITY
        + "\r\n"
        '{"status":"alive"}',
    ),
    Dialogue(
        "a page of a stranger",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue("a preflight", preflight(""), preflight_response(KNOWN_HEADERS)),
    Dialogue(
        "a preflight of a page with tracing",
        preflight(
            "Access-Control-Request-Headers: authorization,baggage,content-type,sentry-trace,traceparent\r\n"
        ),
        preflight_response("authorization, baggage, content-type, sentry-trace, traceparent"),
    ),
    Dialogue(
        "a preflight in several lines",
        preflight("Access-Control-Request-Headers: X-A\r\nAccess-Control-Request-Headers: x-b,\r\n"),
        preflight_response("x-a, x-b"),
    ),
    Dialogue(
        "a preflight of as many headers as may be",
        preflight(f"Access-Control-Request-Headers: {','.join(f'x-{each}' for each in range(50))}\r\n"),
        preflight_response(", ".join(f"x-{each}" for each in range(50))),
    ),
    Dialogue(
        "a preflight of one header more",
        preflight(f"Access-Control-Request-Headers: {','.join(f'x-{each}' for each in range(51))}\r\n"),
        preflight_response(KNOWN_HEADERS),
    ),
    Dialogue(
        "a preflight of what is no header",
        preflight("Access-Control-Request-Headers: x-a, x b\r\n"),
        preflight_response(KNOWN_HEADERS),
    ),
    Dialogue(
        "a stranger's preflight",
        "OPTIONS /api/v1/users/x HTTP/1.1\r\n"
        "Host: a\r\n"
        "Origin: https://evil.example\r\n"
        "Access-Control-Request-Method: PUT\r\n"
        "\r\n",
        "HTTP/1.1 204 No Content\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + SECURITY + "\r\n",
    ),
    Dialogue(
        "the root for a program",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        json_response(
            "200 OK",
            '{"name":"multiproto","version":"","status":"running","timestamp":"1970-01-01T00:00:00.000Z"}',
            limit=FIRST,
        ),
    ),
    Dialogue(
        "the root for a person",
        "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        "Content-Length: 307\r\n"
        "Vary: Accept\r\n"
        "Vary: Origin\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n" + FIRST + SECURITY + "\r\n"
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<title>multiproto</title>\n<h1>multiproto </h1>\n<p>One conversation, whichever protocol you speak.</p>\n<ul>\n<li>REST: <code>/api/v1</code>\n<li>Health: <a href="/health"><code>/health</code></a>\n</ul>\n',
    ),
    Dialogue(
        "the keys",
        "GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/jwk-set+json\r\n"
        "Content-Length: 11\r\n"
        "Cache-Control: public, max-age=300\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + SECURITY + "\r\n"
        '{"keys":[]}',
    ),
    Dialogue(
        "no token",
        "GET /api/v1/topics/room/explain HTTP/1.1\r\nHost: a\r\n\r\n",
        error(
            "401 Unauthorized",
            4,
            "Authorization header missing",
            headers="WWW-Authenticate: Bearer\r\n",
            limit=FIRST,
        ),
    ),
    Dialogue(
        "another scheme",
        "GET /api/v1/topics/room/explain HTTP/1.1\r\nHost: a\r\nAuthorization: Basic x\r\n\r\n",
        error(
            "401 Unauthorized", 4, "Send a bearer token", headers="WWW-Authenticate: Bearer\r\n", limit=FIRST
        ),
    ),
    Dialogue(
        "a scheme alone",
        "GET /api/v1/topics/room/explain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n\r\n",
        error(
            "401 Unauthorized", 4, "Send a bearer token", headers="WWW-Authenticate: Bearer\r\n", limit=FIRST
        ),
    ),
    Dialogue(
        "a bad token",
        "GET /api/v1/topics/room/explain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer nobody\r\n\r\n",
        error("401 Unauthorized", 4, "Invalid token", headers="WWW-Authenticate: Bearer\r\n", limit=FIRST),
    ),
    Dialogue(
        "a good token",
        "GET /api/v1/topics/room/explain?verb=publish HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "\r\n",
        success(
            "200 OK",
            '{"topic":"room","verb":"publish","allowed":true,"why":"No rule is about this topic: it is everybody\'s","rule":null}',
            limit=FIRST,
        ),
    ),
    Dialogue(
        "a scheme in small letters",
        "GET /api/topics/room/explain HTTP/1.1\r\nHost: a\r\nauthorization: bearer  token-ann\r\n\r\n",
        success(
            "200 OK",
            '{"topic":"room","verb":"subscribe","allowed":true,"why":"No rule is about this topic: it is everybody\'s","rule":null}',
            limit=FIRST,
        ),
    ),
    Dialogue(
        "a device, about a topic",
        "GET /api/v1/topics/a.b/explain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-dev\r\n\r\n",
        success(
            "200 OK",
            '{"topic":"a.b","verb":"subscribe","allowed":false,"why":"The credential that you came with was not given this","rule":null}',
            limit=FIRST,
        ),
    ),
    Dialogue(
        "a device, about itself",
        "GET /api/v1/auth/audit HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-dev\r\n\r\n",
        error("403 Forbidden", 5, "This credential is for topics only", limit=FIRST),
    ),
    Dialogue(
        "a device, for operators",
        "GET /api/v1/audit HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-dev\r\n\r\n",
        error("403 Forbidden", 5, "This credential is for topics only", limit=FIRST),
    ),
    Dialogue(
        "a user, for operators",
        "GET /api/v1/audit HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-ann\r\n\r\n",
        error("403 Forbidden", 5, "Only operators may read this", limit=FIRST),
    ),
    Dialogue(
        "a query that says two things",
        "GET /api/v1/topics/room/explain?verb=eat&verb=publish HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "\r\n",
        error("400 Bad Request", 1, "A field of the query comes twice with different values", limit=FIRST),
    ),
    Dialogue(
        "a query that is not UTF-8",
        "GET /api/v1/topics/room/explain?a=%FF HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "\r\n",
        error("400 Bad Request", 1, "The query is not UTF-8", limit=FIRST),
    ),
    Dialogue(
        "a query of too many fields",
        "GET /api/v1/topics/room/explain?" + "a=1&" * 120 + " HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "\r\n",
        error("400 Bad Request", 1, "The query has at most 100 fields", limit=FIRST),
    ),
    Dialogue(
        "a bad topic",
        "GET /api/v1/topics/a..b/explain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-ann\r\n\r\n",
        error(
            "400 Bad Request",
            2,
            "Validation failed",
            details='{"errors":[{"path":["topic"],"message":"Not a topic: \'a..b\'"}]}',
            limit=FIRST,
        ),
    ),
    Dialogue(
        "a topic escaped",
        "GET /api/v1/topics/r%C3%B6m/explain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-ann\r\n\r\n",
        success(
            "200 OK",
            '{"topic":"rÃ¶m","verb":"subscribe","allowed":true,"why":"No rule is about this topic: it is everybody\'s","rule":null}',
            limit=FIRST,
        ),
    ),
    Dialogue(
        "a publication",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Content-Length: 10\r\n"
        "\r\n"
        '{"data":1}',
        success("202 Accepted", '{"id":"id1"}', limit=FIRST),
    ),
    Dialogue(
        "a publication in chunks",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Transfer-Encoding: chunked\r\n"
        "\r\n"
        "a\r\n"
        '{"data":1}\r\n'
        "0\r\n"
        "\r\n",
        success("202 Accepted", '{"id":"id1"}', limit=FIRST),
    ),
    Dialogue(
        "a form",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: 6\r\n"
        "\r\n"
        "data=1",
        success("202 Accepted", '{"id":"id1"}', limit=FIRST),
    ),
    Dialogue(
        "a body awaited",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Expect: 100-continue\r\n"
        "Content-Length: 10\r\n"
        "\r\n"
        '{"data":1}',
        "HTTP/1.1 100 Continue\r\n"
        "\r\n"
        "HTTP/1.1 202 Accepted\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 75\r\n"
        "Cache-Control: no-store\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + SECURITY + "\r\n"
        '{"success":true,"data":{"id":"id1"},"timestamp":"1970-01-01T00:00:00.000Z"}',
    ),
    Dialogue(
        "a body without data",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Content-Length: 2\r\n"
        "\r\n"
        "{}",
        error(
            "400 Bad Request",
            2,
            "Validation failed",
            details='{"errors":[{"path":["data"],"message":"Required"}]}',
            limit=FIRST,
        ),
    ),
    Dialogue(
        "no body",
        "POST /api/v1/topics/room HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-ann\r\n\r\n",
        error("400 Bad Request", 1, "Malformed JSON: not JSON in UTF-8: it is empty", limit=FIRST),
    ),
    Dialogue(
        "a broken body",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Content-Length: 9\r\n"
        "\r\n"
        '{"data":1',
        error("400 Bad Request", 1, "Malformed JSON: not JSON in UTF-8: it ends too early", limit=FIRST),
    ),
    Dialogue(
        "a body that is no object",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Content-Length: 3\r\n"
        "\r\n"
        "[1]",
        error("400 Bad Request", 1, "The body must be a JSON object", limit=FIRST),
    ),
    Dialogue(
        "a body in another character set",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Content-Type: application/json; charset=latin-1\r\n"
        "Content-Length: 2\r\n"
        "\r\n"
        "{}",
        error("415 Unsupported Media Type", 1, "The body must be in UTF-8", limit=FIRST),
    ),
    Dialogue(
        "a body of another kind",
        "POST /api/v1/topics/room HTTP/1.1\r\n"
        "Host: a\r\n"
        "Authorization: Bearer token-ann\r\n"
        "Content-Type: text/plain\r\n"
        "Content-Length: 2\r\n"
        "\r\n"
        "{}",
        error(
            "415 Unsupported Media Type",
            1,
            "The body must be application/json or application/x-www-form-urlencoded",
            limit=FIRST,
        ),
    ),
    Dialogue(
        "a compressed body",
        with_body(f"{POST_TOPIC}Content-Encoding: GZip\r\n", ZIPPED),
        success("202 Accepted", '{"id":"id1"}', limit=FIRST),
    ),
    Dialogue(
        "a body that is as it is",
        with_body(f"{POST_TOPIC}Content-Encoding: Identity\r\n", '{"data":1}'),
        success("202 Accepted", '{"id":"id1"}', limit=FIRST),
    ),
    Dialogue(
        "a body that is not as it says",
        with_body(f"{POST_TOPIC}Content-Encoding: gzip\r\n", '{"data":1}'),
        error("400 Bad Request", 1, "The body is not in gzip, as its Content-Encoding says", limit=FIRST),
    ),
    Dialogue(
        "a body compressed in another way",
        with_body(f"{POST_TOPIC}Content-Encoding: br\r\n", "{}"),
        error(
            "415 Unsupported Media Type",
            1,
            "A body must be as it is, or compressed once with gzip",
            headers="Accept-Encoding: gzip\r\n",
            limit=FIRST,
        ),
    ),
    *(
        Dialogue(
            f"{name} twice, {where}",
            f"{line} HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n{name.lower()}: {value}\r\n\r\n",
            error("400 Bad Request", 1, f"A request has at most one {name}"),
        )
        for name, value in (
            ("Authorization", "Bearer token-ann"),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", "a"),
            ("Last-Event-Id", "1"),
            ("Origin", "https://evil.example"),
            ("Sec-Websocket-Key", "x"),
        )
        for where, line in (("REST", "POST /api/v1/topics/room"), ("GraphQL", "POST /graphql"))
    ),
    Dialogue(
        "Authorization twice, HEAD",
        "HEAD /health/live HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        without_body(error("400 Bad Request", 1, "A request has at most one Authorization")),
    ),
    Dialogue(
        "Authorization twice, a handshake",
        f"GET /ws HTTP/1.1\r\n{HANDSHAKE}Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        error("400 Bad Request", 1, "A request has at most one Authorization", closing=True),
        closes=True,
    ),
    Dialogue(
        "a client that speaks TLS",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        error("400 Bad Request", 1, "This port speaks HTTP without TLS", closing=True),
        closes=True,
    ),
    Dialogue(
        "a client that speaks something else",
        "\x00\x01",
        error("400 Bad Request", 1, "Malformed request line", closing=True),
        closes=True,
    ),
    Dialogue(
        "HEAD with a bad field",
        "HEAD / HTTP/1.1\r\nHost: a\r\nBad Field: x\r\n\r\n",
        without_body(error("400 Bad Request", 1, "Malformed header field", closing=True)),
        closes=True,
    ),
    Dialogue(
        "HTTP/1.0 with a bad field",
        "GET / HTTP/1.0\r\nBad Field: x\r\n\r\n",
        error("400 Bad Request", 1, "Malformed header field", closing=True).replace("HTTP/1.1", "HTTP/1.0"),
        closes=True,
    ),
    Dialogue(
        "a WebSocket, without a handshake",
        "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
        error("426 Upgrade Required", 1, NO_WEBSOCKET, headers=UPGRADE_REQUIRED, limit=FIRST),
        closes=True,
    ),
    Dialogue(
        "a WebSocket of another version",
        f"GET /ws HTTP/1.1\r\n{HANDSHAKE.replace('13', '8')}\r\n",
        error("426 Upgrade Required", 1, NO_WEBSOCKET, headers=UPGRADE_REQUIRED),
        closes=True,
    ),
    Dialogue(
        "a WebSocket, another method",
        with_body("POST /ws HTTP/1.1\r\nHost: a\r\n", "{}"),
        error("405 Method Not Allowed", 1, "Method not allowed", headers="Allow: GET\r\n", limit=FIRST),
    ),
    Dialogue(
        "a WebSocket, HEAD",
        f"HEAD /ws HTTP/1.1\r\n{HANDSHAKE}\r\n",
        without_body(
            error("405 Method Not Allowed", 1, "Method not allowed", headers="Allow: GET\r\n", limit=FIRST)
        ),
    ),
    Dialogue(
        "a WebSocket, OPTIONS",
        "OPTIONS /ws HTTP/1.1\r\nHost: a\r\n\r\n",
        f"HTTP/1.1 204 No Content\r\nAllow: GET\r\n{EPOCH}X-Correlation-Id: correlation1\r\nVary: Origin\r\n{FIRST}{SECURITY}\r\n",
    ),
    Dialogue(
        "a WebSocket of a stranger's page",
        f"GET /ws HTTP/1.1\r\n{HANDSHAKE}Origin: https://evil.example\r\n\r\n",
        error("403 Forbidden", 5, "Origin not allowed: https://evil.example", closing=True),
        closes=True,
    ),
    Dialogue(
        "a WebSocket over HTTP/1.0",
        f"GET /ws HTTP/1.0\r\n{HANDSHAKE}\r\n",
        error(
            "505 HTTP Version Not Supported", 1, 'Unsupported HTTP version \\"HTTP/1.0\\"', closing=True
        ).replace("HTTP/1.1", "HTTP/1.0"),
        closes=True,
    ),
    Dialogue(
        "a WebSocket",
        f"GET /ws HTTP/1.1\r\n{HANDSHAKE.replace('websocket', 'h2c, WebSocket')}\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nX-Correlation-Id: correlation1\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        upgrades=True,
    ),
    Dialogue(
        "GraphQL of a stranger's page",
        f"GET /graphql HTTP/1.1\r\n{HANDSHAKE}Origin: https://evil.example\r\n\r\n",
        json_response(
            "403 Forbidden",
            '{"errors":[{"message":"Origin not allowed: https://evil.example","extensions":{"code":"FORBIDDEN","status":403}}]}',
            headers="",
            closing=True,
        ),
        closes=True,
    ),
    Dialogue(
        "GraphQL, a POST that might be upgraded",
        with_body(
            f"POST /graphql HTTP/1.1\r\n{HANDSHAKE}Content-Type: application/json\r\n",
            '{"query":"{__typename}"}',
        ),
        graphql_response("200 OK", TYPENAME),
    ),
    Dialogue(
        "GraphQL, another method that might be upgraded",
        f"PUT /graphql HTTP/1.1\r\n{HANDSHAKE}\r\n",
        graphql_error("405 Method Not Allowed", "Use GET or POST", "Allow: GET, HEAD, POST\r\n"),
    ),
    Dialogue(
        "GraphQL in ASCII",
        with_body(
            f"{POST_GRAPHQL}Content-Type: application/json; charset=US-ASCII\r\n", '{"query":"{__typename}"}'
        ),
        graphql_response("200 OK", TYPENAME),
    ),
    Dialogue(
        "GraphQL, a document",
        with_body(f"{POST_GRAPHQL}Content-Type: application/graphql\r\n", "{__typename}"),
        graphql_response("200 OK", TYPENAME),
    ),
    Dialogue(
        "GraphQL, compressed",
        with_body(
            f"{POST_GRAPHQL}Content-Type: application/json\r\nContent-Encoding: gzip\r\n", ZIPPED_QUERY
        ),
        graphql_response("200 OK", TYPENAME),
    ),
    Dialogue(
        "GraphQL, nothing compressed",
        "GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n",
        graphql_response("200 OK", TYPENAME),
    ),
    Dialogue(
        "GraphQL, compressed in another way",
        with_body(f"{POST_GRAPHQL}Content-Type: application/json\r\nContent-Encoding: br\r\n", "{}"),
        graphql_error(
            "415 Unsupported Media Type",
            "A body must be as it is, or compressed once with gzip",
            code="INVALID_INPUT",
        ),
    ),
    Dialogue(
        "GraphQL, variables without a value",
        "GET /graphql?query=%7B__typename%7D&operationName=&variables=&extensions= HTTP/1.1\r\nHost: a\r\n\r\n",
        graphql_response("200 OK", TYPENAME),
    ),
    Dialogue(
        "GraphQL, HEAD",
        "HEAD /graphql?query=%7B__typename%7D HTTP/1.1\r\nHost: a\r\n\r\n",
        without_body(graphql_response("200 OK", TYPENAME)),
    ),
    Dialogue(
        "GraphQL, what it accepts in several lines",
        "GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nHost: a\r\n"
        "Accept: text/plain\r\nAccept: application/graphql-response+json\r\n\r\n",
        graphql_response("200 OK", TYPENAME).replace("application/json", "application/graphql-response+json"),
    ),
    Dialogue(
        "a body and no token",
        "POST /api/v1/topics/room HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
        error(
            "401 Unauthorized",
            4,
            "Authorization header missing",
            headers="WWW-Authenticate: Bearer\r\n",
            limit=FIRST,
        ),
    ),
    Dialogue(
        "a body that is too long",
        "POST /api/v1/topics/room HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n",
        error(
            "413 Request Entity Too Large", 8, "A body has at most 1048576 bytes", limit=FIRST, closing=True
        ),
        closes=True,
    ),
    Dialogue(
        "events without a token",
        "GET /api/v1/topics/room/events HTTP/1.1\r\nHost: a\r\n\r\n",
        error(
            "401 Unauthorized",
            4,
            "Authorization header missing",
            headers="WWW-Authenticate: Bearer\r\n",
            limit=FIRST,
        ),
    ),
    Dialogue(
        "events",
        "GET /api/v1/topics/room/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-ann\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/event-stream\r\n"
        "Cache-Control: no-store\r\n"
        "X-Accel-Buffering: no\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + SECURITY + "Transfer-Encoding: chunked\r\n"
        "\r\n"
        "3d\r\n"
        'event: subscribed\ndata: {"topic":"room","retention":"live"}\n\n\r\n',
    ),
    Dialogue(
        "events over HTTP/1.0",
        "GET /api/v1/topics/room/events HTTP/1.0\r\nAuthorization: Bearer token-ann\r\n\r\n",
        "HTTP/1.0 200 OK\r\n"
        "Content-Type: text/event-stream\r\n"
        "Cache-Control: no-store\r\n"
        "X-Accel-Buffering: no\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + SECURITY + "Connection: close\r\n"
        "\r\n"
        'event: subscribed\ndata: {"topic":"room","retention":"live"}\n\n',
    ),
    Dialogue(
        "HEAD of events",
        "HEAD /api/v1/topics/room/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-ann\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/event-stream\r\n"
        "Cache-Control: no-store\r\n"
        "X-Accel-Buffering: no\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + SECURITY + "\r\n",
    ),
    Dialogue(
        "a mount",
        "GET /page?q=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/html\r\n"
        "Content-Security-Policy: script-src 'self'\r\n"
        "Content-Length: 6\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + "Cross-Origin-Opener-Policy: same-origin\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "X-Frame-Options: DENY\r\n"
        "\r\n"
        "page 1",
    ),
    Dialogue(
        "below a mount",
        "GET /page/a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/html\r\n"
        "Content-Security-Policy: script-src 'self'\r\n"
        "Content-Length: 8\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + "Cross-Origin-Opener-Policy: same-origin\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "X-Frame-Options: DENY\r\n"
        "\r\n"
        "page a/b",
    ),
    Dialogue(
        "a mount, another method",
        "POST /page HTTP/1.1\r\nHost: a\r\n\r\n",
        error("405 Method Not Allowed", 1, "Method not allowed", headers="Allow: HEAD, GET\r\n", limit=FIRST),
    ),
    Dialogue(
        "HEAD of a mount",
        "HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/html\r\n"
        "Content-Security-Policy: script-src 'self'\r\n"
        "Content-Length: 4\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n" + FIRST + "Cross-Origin-Opener-Policy: same-origin\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "X-Frame-Options: DENY\r\n"
        "\r\n",
    ),
    Dialogue(
        "an upgrade that is none",
        "GET /page HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\nGET /page HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/html\r\n"
        "Content-Security-Policy: script-src 'self'\r\n"
        "Content-Length: 4\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n"
        "Cross-Origin-Opener-Policy: same-origin\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "X-Frame-Options: DENY\r\n"
        "\r\n"
        "pageHTTP/1.1 200 OK\r\n"
        "Content-Type: text/html\r\n"
        "Content-Security-Policy: script-src 'self'\r\n"
        "Content-Length: 4\r\n" + EPOCH + "X-Correlation-Id: correlation2\r\n"
        "Vary: Origin\r\n" + FIRST + "Cross-Origin-Opener-Policy: same-origin\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "X-Frame-Options: DENY\r\n"
        "\r\n"
        "page",
    ),
    Dialogue(
        "an upgrade below a mount",
        "GET /page/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        not_found("/page/x", limit=FIRST),
    ),
    Dialogue(
        "an upgrade nowhere",
        "GET /health/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        json_response("200 OK", '{"status":"alive"}'),
    ),
    Dialogue(
        "a header of proxies from nobody's proxy",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: junk\r\nX-Forwarded-Proto: https\r\n\r\n",
        not_found("/nowhere", limit=FIRST),
    ),
    Dialogue(
        "a proxy",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n",
        not_found("/nowhere", limit=FIRST),
        by_proxy=True,
    ),
    Dialogue(
        "a proxy and TLS",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 150\r\n" + EPOCH + "X-Correlation-Id: correlation1\r\n"
        "Vary: Origin\r\n"
        + FIRST
        + SECURITY
        + "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"
        "\r\n"
        '{"success":false,"error":{"code":3,"message":"Route not found","details":{"resource":"Route","id":"/nowhere"}},"timestamp":"1970-01-01T00:00:00.000Z"}',
        by_proxy=True,
    ),
    Dialogue(
        "a proxy that names no address",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: junk\r\n\r\n",
        error("400 Bad Request", 1, "X-Forwarded-For holds what is no address"),
        by_proxy=True,
    ),
    Dialogue(
        "a proxy, for one who may not come in",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n",
        error("403 Forbidden", 5, "This address may not come in"),
        by_proxy=True,
    ),
    Dialogue(
        "a proxy, with a token",
        "GET /api/v1/topics/room/explain HTTP/1.1\r\n"
        "Host: a\r\n"
        "X-Forwarded-For: 192.0.2.7\r\n"
        "Authorization: Bearer token-ann\r\n"
        "\r\n",
        success(
            "200 OK",
            '{"topic":"room","verb":"subscribe","allowed":true,"why":"No rule is about this topic: it is everybody\'s","rule":null}',
            limit=FIRST,
        ),
        by_proxy=True,
    ),
    Dialogue(
        "a proxy, another client of the same fields",
        "GET /nowhere HTTP/1.1\r\n"
        "Host: a\r\n"
        "X-Forwarded-For: 192.0.2.7\r\n"
        "\r\n"
        "GET /nowhere HTTP/1.1\r\n"
        "Host: a\r\n"
        "X-Forwarded-For: 192.0.2.8\r\n"
        "\r\n",
        (not_found("/nowhere", limit=FIRST) + not_found("/nowhere", limit=FIRST, number=2)),
        by_proxy=True,
    ),
)
