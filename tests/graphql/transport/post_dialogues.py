"""Requests posted to /graphql and their responses, byte for byte: the tables of `test_http`."""

from __future__ import annotations

JSON, NEWER = "application/json", "application/graphql-response+json"

# Headers of a request, by its caller; {ann} is a user's id.
CALLERS: dict[str, dict[str, str]] = {
    "nobody": {},
    "ann": {"Authorization": "Bearer token-{ann}"},
    "a bad token": {"Authorization": "Bearer nobody"},
}

# The same response to every caller: the body, its status as JSON, its status as NEWER, and the text.
FOR_ANY_CALLER = (
    (
        '{"query": "{ me { name } nothing }"}',
        200,
        400,
        '{"errors":[{"message":"Cannot query field \'nothing\' on type \'Query\'.","extensions":{"code":"GRAPHQL_VALIDATION_FAILED","status":400},"locations":[{"line":1,"column":15}]}]}',
    ),
    (
        '{"query": "{ me {"}',
        200,
        400,
        '{"errors":[{"message":"Syntax Error: Expected Name, found <EOF>.","extensions":{"code":"GRAPHQL_PARSE_FAILED","status":400},"locations":[{"line":1,"column":7}]}]}',
    ),
    (
        '{"query": "query($a: Int!) { users(limit: $a) { cursor } }", "variables": {"a": "x"}}',
        200,
        400,
        '{"errors":[{"message":"Variable \'$a\' has invalid value: Int cannot represent non-integer value","extensions":{"code":"BAD_REQUEST","status":400},"locations":[{"line":1,"column":7}]}]}',
    ),
    (
        '{"query": "subscription { topic(pattern: \\"a\\") { data } }"}',
        406,
        406,
        '{"errors":[{"message":"Subscriptions need Accept: text/event-stream, or graphql-transport-ws","extensions":{"code":"BAD_REQUEST","status":406}}]}',
    ),
    (
        '{"query": 1}',
        400,
        400,
        '{"errors":[{"message":"query must be a non-empty string","extensions":{"code":"BAD_REQUEST","status":400}}]}',
    ),
    (
        "[]",
        400,
        400,
        '{"errors":[{"message":"A batch has 1 to 10 requests","extensions":{"code":"BAD_REQUEST","status":400}}]}',
    ),
    (
        "",
        400,
        400,
        '{"errors":[{"message":"Malformed JSON: not JSON in UTF-8: it is empty","extensions":{"code":"BAD_REQUEST","status":400}}]}',
    ),
    (
        "{",
        400,
        400,
        '{"errors":[{"message":"Malformed JSON: not JSON in UTF-8: it ends too early","extensions":{"code":"BAD_REQUEST","status":400}}]}',
    ),
)

# The body, and the text for each of CALLERS; the status is 200.
FOR_EACH_CALLER = (
    (
        '{"query": "{ me { name } }"}',
        '{"errors":[{"message":"Authentication required","extensions":{"code":"UNAUTHORIZED","status":401},"locations":[{"line":1,"column":3}],"path":["me"]}],"data":{"me":null}}',
        '{"data":{"me":{"name":"Ann"}}}',
        '{"errors":[{"message":"Invalid token","extensions":{"code":"UNAUTHORIZED","status":401},"locations":[{"line":1,"column":3}],"path":["me"]}],"data":{"me":null}}',
    ),
    (
        '{"query": "query A { me { id } } query B { me { name } }", "operationName": "B"}',
        '{"errors":[{"message":"Authentication required","extensions":{"code":"UNAUTHORIZED","status":401},"locations":[{"line":1,"column":33}],"path":["me"]}],"data":{"me":null}}',
        '{"data":{"me":{"name":"Ann"}}}',
        '{"errors":[{"message":"Invalid token","extensions":{"code":"UNAUTHORIZED","status":401},"locations":[{"line":1,"column":33}],"path":["me"]}],"data":{"me":null}}',
    ),
    (
        '[{"query": "{ me { name } }"}, {"query": "{ nothing }"}]',
        '[{"errors":[{"message":"Authentication required","extensions":{"code":"UNAUTHORIZED","status":401},"locations":[{"line":1,"column":3}],"path":["me"]}],"data":{"me":null}},{"errors":[{"message":"Cannot query field \'nothing\' on type \'Query\'.","extensions":{"code":"GRAPHQL_VALIDATION_FAILED","status":400},"locations":[{"line":1,"column":3}]}]}]',
        '[{"data":{"me":{"name":"Ann"}}},{"errors":[{"message":"Cannot query field \'nothing\' on type \'Query\'.","extensions":{"code":"GRAPHQL_VALIDATION_FAILED","status":400},"locations":[{"line":1,"column":3}]}]}]',
        '[{"errors":[{"message":"Invalid token","extensions":{"code":"UNAUTHORIZED","status":401},"locations":[{"line":1,"column":3}],"path":["me"]}],"data":{"me":null}},{"errors":[{"message":"Cannot query field \'nothing\' on type \'Query\'.","extensions":{"code":"GRAPHQL_VALIDATION_FAILED","status":400},"locations":[{"line":1,"column":3}]}]}]',
    ),
)

# Content types with which every body has this response, with status 415.
UNSUPPORTED: tuple[dict[str, str], ...] = (
    {"Content_Type": "application/json; charset=latin-1"},
    {"Content_Type": "text/plain"},
    {},
)
UNSUPPORTED_TEXT = '{"errors":[{"message":"The body must be application/json or application/graphql, in UTF-8","extensions":{"code":"BAD_REQUEST","status":415}}]}'
