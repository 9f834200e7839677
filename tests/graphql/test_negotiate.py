from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.graphql.execute import Request
from multiproto.graphql.negotiate import (
    EVENTS,
    HTML,
    JSON,
    RESPONSE,
    BadRequest,
    accepted,
    from_body,
    from_query,
    is_json,
)

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("query", "operationName", "variables", "extensions", "x")), inner, max_size=4
        )
    ),
    max_leaves=8,
)


class AcceptTests(SynchronousTestCase):
    def test_the_most_wanted_comes_first(self) -> None:
        for header, wanted in (
            (None, [JSON]),
            ("*/*", [JSON]),
            ("application/*;q=0.5", [JSON]),
            ("image/png", []),
            ("application/graphql-response+json", [RESPONSE]),
            ("application/json;q=0.5, application/graphql-response+json", [RESPONSE, JSON]),
            ("text/html,application/xhtml+xml,*/*;q=0.8", [HTML, JSON]),
            ("TEXT/EVENT-STREAM ; charset=utf-8", [EVENTS]),
            ("application/json;q=0, text/event-stream;q=0.1", [EVENTS]),
            ("application/json;q=x", []),
        ):
            self.assertEqual(list(accepted(header)), wanted, header)


class ContentTypeTests(SynchronousTestCase):
    def test_only_json_in_utf8(self) -> None:
        for header in (
            "application/json",
            'Application/JSON; charset="UTF-8"',
            "application/json;charset=utf8",
        ):
            self.assertTrue(is_json(header), header)
        for header in (None, "", "text/plain", "application/json; charset=latin-1", "application/graphql"):
            self.assertFalse(is_json(header), header)


class RequestTests(SynchronousTestCase):
    def refusal(self, body: object) -> str:
        return str(self.assertRaises(BadRequest, from_body, json.dumps(body).encode(), 2))

    def test_parameters(self) -> None:
        body = {"query": "{a}", "operationName": "Q", "variables": {"x": 1}, "extensions": {}}
        self.assertEqual(from_body(json.dumps(body).encode(), 2), Request("{a}", "Q", {"x": 1}))
        body = {"query": "{a}", "operationName": None, "variables": None, "extensions": None}
        self.assertEqual(from_body(json.dumps(body).encode(), 2), Request("{a}"))
        self.assertEqual(from_body(b'[{"query":"{a}"}]', 2), [Request("{a}")])
        args = {b"query": [b"{a}"], b"operationName": [b"Q"], b"variables": [b'{"x":1}']}
        self.assertEqual(from_query(args), Request("{a}", "Q", {"x": 1}))

    def test_what_is_wrong_is_said(self) -> None:
        for body, why in (
            (1, "A request must be an object"),
            ({}, "query must be a non-empty string"),
            ({"query": ""}, "query must be a non-empty string"),
            ({"query": 7}, "query must be a non-empty string"),
            ({"query": "{a}", "operationName": 7}, "operationName must be a string"),
            ({"query": "{a}", "variables": []}, "variables must be an object"),
            ({"query": "{a}", "extensions": "x"}, "extensions must be an object"),
            ([], "A batch has 1 to 2 requests"),
            ([{"query": "{a}"}] * 3, "A batch has 1 to 2 requests"),
        ):
            self.assertEqual(self.refusal(body), why)
        self.assertEqual(
            str(self.assertRaises(BadRequest, from_body, b"{", 2)), "The body must be JSON: not JSON in UTF-8"
        )
        for args in ({b"query": [b"\xff"]}, {b"query": [b"{a}"], b"variables": [b"{"]}):
            self.assertRaises(BadRequest, from_query, args)

    @given(ANYTHING)
    def test_any_json_is_a_request_or_refused(self, value: object) -> None:
        try:
            from_body(json.dumps(value).encode(), 2)
        except BadRequest as refusal:
            self.assertEqual((refusal.name, refusal.status), ("BAD_REQUEST", 400))
