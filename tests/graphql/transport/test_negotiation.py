from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.graphql.execution.request import BadGraphQLRequest, GraphQLRequest
from multiproto.graphql.transport.negotiation import (
    EVENT_STREAM_TYPE,
    GRAPHQL_RESPONSE_TYPE,
    HTML_TYPE,
    JSON_TYPE,
    UnsupportedContentType,
    check_content_type,
    parse_accept,
    parse_body,
    parse_document,
    parse_query_string,
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
            (None, [JSON_TYPE]),
            ("*/*", [JSON_TYPE]),
            ("application/*;q=0.5", [JSON_TYPE]),
            ("image/png", []),
            ("application/graphql-response+json", [GRAPHQL_RESPONSE_TYPE]),
            ("application/json;q=0.5, application/graphql-response+json", [GRAPHQL_RESPONSE_TYPE, JSON_TYPE]),
            ("text/html,application/xhtml+xml,*/*;q=0.8", [HTML_TYPE, JSON_TYPE]),
            ("TEXT/EVENT-STREAM ; charset=utf-8", [EVENT_STREAM_TYPE]),
            ("application/json;q=0, text/event-stream;q=0.1", [EVENT_STREAM_TYPE]),
            ("application/json;q=x", []),
        ):
            self.assertEqual(list(parse_accept(header)), wanted, header)


class ContentTypeTests(SynchronousTestCase):
    def test_only_what_a_page_must_ask_for_and_in_utf8(self) -> None:
        for header, media_type in (
            ("application/json", "application/json"),
            ('Application/JSON; charset="UTF-8"', "application/json"),
            ("application/json;charset=utf8", "application/json"),
            ("application/json; charset = US-ASCII", "application/json"),
            ("application/graphql; charset=utf-8", "application/graphql"),
        ):
            self.assertEqual(check_content_type(header), media_type)
        for header in (
            None,
            "",
            "text/plain",
            "application/json; charset=latin-1",
            "application/graphql;charset=x",
        ):
            self.assertRaises(UnsupportedContentType, check_content_type, header)


class DocumentTests(SynchronousTestCase):
    """A body of `application/graphql`."""

    def test_the_rest_is_in_the_url(self) -> None:
        args = {b"query": [b"{other}"], b"variables": [b'{"x":1}'], b"operationName": [b"Q"]}
        self.assertEqual(
            parse_document('{a(b:"é")}'.encode(), args), GraphQLRequest('{a(b:"é")}', "Q", {"x": 1})
        )
        self.assertEqual(parse_document(b"{a}", {}), GraphQLRequest("{a}"))

    def test_what_is_no_document(self) -> None:
        for body in (b"", b"\xff"):
            self.assertRaises(BadGraphQLRequest, parse_document, body, {})


class RequestTests(SynchronousTestCase):
    def test_a_parameter_of_a_url_without_a_value_is_none(self) -> None:
        args = {b"query": [b"{a}"], b"operationName": [b""], b"variables": [b""], b"extensions": [b""]}
        self.assertEqual(parse_query_string(args), GraphQLRequest("{a}"))
        self.assertRaises(BadGraphQLRequest, parse_query_string, {b"query": [b""]})

    def test_a_parameter_of_a_url_that_is_misspelt_or_says_two_things(self) -> None:
        for args, why in (
            ({b"qurey": [b"{a}"]}, "qurey: Unknown field: did you mean query?"),
            ({b"Query": [b"{a}"]}, "Query: Unknown field: did you mean query?"),
            (
                {b"query": [b"{a}"], b"variabels": [b"{}"]},
                "variabels: Unknown field: did you mean variables?",
            ),
            (
                {b"query": [b"{a}"], b"operationname": [b"Q"]},
                "operationname: Unknown field: did you mean operationName?",
            ),
            ({b"query": [b"{a}", b"{b}"]}, "query comes twice with different values"),
            (
                {b"query": [b"{a}"], b"variables": [b"{}", b"{}", b'{"x":1}']},
                "variables comes twice with different values",
            ),
            (
                {b"query": [b"{a}"], b"operationName": [b"Q", b"P"]},
                "operationName comes twice with different values",
            ),
            (
                {b"query": [b"{a}"], b"extensions": [b"{}", b" {}"]},
                "extensions comes twice with different values",
            ),
        ):
            refusal = self.assertRaises(BadGraphQLRequest, parse_query_string, args)
            self.assertEqual(str(refusal), why)
            if b"query" in args and len(args[b"query"]) == 1:
                document = {name: values for name, values in args.items() if name != b"query"}
                self.assertEqual(
                    str(self.assertRaises(BadGraphQLRequest, parse_document, b"{a}", document)), why
                )

    def test_what_else_a_url_may_have(self) -> None:
        """A value that is there twice, or once without a value, and what is meant for somebody else."""
        for more in (
            {b"_": [b"1", b"2"], b"utm_source": [b"x"], b"\xff": [b"x"], b"raw": [b""]},
            {b"query": [b"{a}", b"{a}", b""]},
            {b"qurey": [b""], b"variabels": [b""]},
        ):
            self.assertEqual(parse_query_string({b"query": [b"{a}"], **more}), GraphQLRequest("{a}"))

    def refusal(self, body: object) -> str:
        return str(self.assertRaises(BadGraphQLRequest, parse_body, json.dumps(body).encode(), 2))

    def test_parameters(self) -> None:
        body = {"query": "{a}", "operationName": "Q", "variables": {"x": 1}, "extensions": {}}
        self.assertEqual(parse_body(json.dumps(body).encode(), 2), GraphQLRequest("{a}", "Q", {"x": 1}))
        body = {"query": "{a}", "operationName": None, "variables": None, "extensions": None}
        self.assertEqual(parse_body(json.dumps(body).encode(), 2), GraphQLRequest("{a}"))
        self.assertEqual(parse_body(b'[{"query":"{a}"}]', 2), [GraphQLRequest("{a}")])
        args = {b"query": [b"{a}"], b"operationName": [b"Q"], b"variables": [b'{"x":1}']}
        self.assertEqual(parse_query_string(args), GraphQLRequest("{a}", "Q", {"x": 1}))

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
            str(self.assertRaises(BadGraphQLRequest, parse_body, b"{", 2)),
            "Malformed JSON: not JSON in UTF-8: it ends too early",
        )
        for name in ("variables", "extensions"):
            bad = {b"query": [b"{a}"], name.encode(): [b'{"x":1e999}']}
            refusal = self.assertRaises(BadGraphQLRequest, parse_query_string, bad)
            self.assertEqual(str(refusal), f"Malformed JSON in {name}: a number is out of range")
        for args in ({b"query": [b"\xff"]}, {b"query": [b"{a}"], b"variables": [b"{"]}):
            self.assertRaises(BadGraphQLRequest, parse_query_string, args)

    @given(ANYTHING)
    def test_any_json_is_a_request_or_refused(self, value: object) -> None:
        try:
            parse_body(json.dumps(value).encode(), 2)
        except BadGraphQLRequest as refusal:
            self.assertEqual((refusal.name, refusal.status), ("BAD_REQUEST", 400))
