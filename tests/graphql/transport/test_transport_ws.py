from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.graphql.execution.request import GraphQLRequest
from multiproto.graphql.transport import transport_ws
from multiproto.graphql.transport.transport_ws import (
    CompleteMessage,
    ConnectionInitMessage,
    InvalidMessage,
    PingMessage,
    PongMessage,
    SubscribeMessage,
)


def decode(value: object) -> Any:
    return transport_ws.decode(json.dumps(value).encode())


class DecodeTests(SynchronousTestCase):
    def test_messages(self) -> None:
        query = {"query": "{a}", "variables": {"x": 1}, "operationName": "Q"}
        for message, said in (
            ({"type": "ping", "payload": {"x": 1}}, PingMessage()),
            ({"type": "pong"}, PongMessage()),
            ({"type": "complete", "id": "1"}, CompleteMessage("1")),
            (
                {"type": "subscribe", "id": "1", "payload": query},
                SubscribeMessage("1", GraphQLRequest("{a}", "Q", {"x": 1})),
            ),
            ({"type": "connection_init"}, ConnectionInitMessage()),
            ({"type": "connection_init", "payload": {"authorization": None}}, ConnectionInitMessage()),
            (
                {"type": "connection_init", "payload": {"Authorization": "Bearer t"}},
                ConnectionInitMessage("Bearer t"),
            ),
            (
                {"type": "connection_init", "payload": {"x": 1, "authorization": "Bearer t"}},
                ConnectionInitMessage("Bearer t"),
            ),
        ):
            self.assertEqual(decode(message), said)

    def test_where_clients_put_their_token(self) -> None:
        for payload in (
            {"authorization": "Bearer t"},
            {"AUTHORIZATION": "Bearer t"},
            {"headers": {"Authorization": "Bearer t"}},
            {"Headers": {"authorization": "Bearer t", "x": 1}},
            {"headers": {"Authorization": "Bearer other"}, "Authorization": "Bearer t"},
            {"headers": None, "authToken": "t"},
            {"headers": {}, "accessToken": "t"},
            {"headers": {"token": "Bearer t"}},
            {"token": "t"},
        ):
            said = decode({"type": "connection_init", "payload": payload})
            self.assertEqual(said, ConnectionInitMessage("Bearer t"), payload)
        for payload in ({}, {"headers": "x"}, {"headers": ["Authorization"]}, {"token": ""}):
            self.assertEqual(decode({"type": "connection_init", "payload": payload}), ConnectionInitMessage())

    def test_why_a_payload_is_malformed(self) -> None:
        for payload, why in (
            ({"query": 7}, "query must be a non-empty string"),
            ({"query": "{a}", "variables": []}, "variables must be an object"),
            ({"query": "{a}", "operationName": 1}, "operationName must be a string"),
            ({"query": "{a}", "extensions": 1}, "extensions must be an object"),
            ({"query": "{a}", "variabels": {}}, "variabels: Unknown field: did you mean variables?"),
            ({"qeury": "{a}"}, "qeury: Unknown field: did you mean query?"),
            (None, "A request must be an object"),
        ):
            with self.assertRaises(InvalidMessage) as raised:
                decode({"type": "subscribe", "id": "1", "payload": payload})
            self.assertEqual(str(raised.exception), f"Invalid message: {why}")

    def test_everything_else_is_malformed(self) -> None:
        for message in (
            1,
            [],
            {},
            {"type": "start"},
            {"type": ["ping"]},
            {"type": "subscribe", "payload": {"query": "{a}"}},
            {"type": "subscribe", "id": "", "payload": {"query": "{a}"}},
            {"type": "subscribe", "id": "x" * 256, "payload": {"query": "{a}"}},
            {"type": "complete", "id": 1},
            {"type": "connection_init", "payload": "x"},
            {"type": "connection_init", "payload": {"authorization": {"token": "t"}}},
            {"type": "connection_init", "payload": {"headers": {"authorization": ["Bearer t"]}}},
        ):
            self.assertRaises(InvalidMessage, decode, message)
        for payload in (b"", b"{", b"\xff", b'{"type":"ping","x":NaN}', b"[" * 1000):
            self.assertRaises(InvalidMessage, transport_ws.decode, payload)

    @given(st.binary(max_size=50))
    def test_any_bytes(self, payload: bytes) -> None:
        with self.suppressing():
            transport_ws.decode(payload)

    @given(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    ("connection_init", "subscribe", "complete", "ping", "pong", "next", 1, None)
                )
            },
            optional={
                "id": st.one_of(st.text(max_size=3), st.integers(), st.none()),
                "payload": st.recursive(
                    st.one_of(st.none(), st.text(max_size=3), st.integers()),
                    lambda inner: st.dictionaries(
                        st.sampled_from(("query", "variables", "authorization", "x")), inner, max_size=3
                    ),
                    max_leaves=5,
                ),
            },
        )
    )
    def test_any_message(self, message: object) -> None:
        with self.suppressing():
            decode(message)

    def suppressing(self) -> Any:
        """It is total: a message or `InvalidMessage`."""
        from contextlib import suppress

        return suppress(InvalidMessage)


class EncodeTests(SynchronousTestCase):
    def test_messages(self) -> None:
        for encoded, message in (
            (
                transport_ws.encode_next("1", {"data": None}),
                {"id": "1", "type": "next", "payload": {"data": None}},
            ),
            (
                transport_ws.encode_error("1", [{"message": "m"}]),
                {"id": "1", "type": "error", "payload": [{"message": "m"}]},
            ),
            (transport_ws.encode_complete("1"), {"id": "1", "type": "complete"}),
        ):
            self.assertEqual(json.loads(encoded), message)
