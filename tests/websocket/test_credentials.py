"""A service that authenticates with a credential, by a message or in the handshake: what it may do, and when it is closed."""

from __future__ import annotations

from multiproto.base.timestamps import format_timestamp
from multiproto.core.events import EventBuilder
from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE
from multiproto.core.transactions import Entry

from ..fakes import sequential_ids
from ..rfc6455.wire import spoken, text
from .test_protocol import WELCOME, WebSocketCase, error, subscribe, subscribed

GRANTS = (Grant("pump.*", [PUBLISH]), Grant("all", [SUBSCRIBE]))
NOT_GRANTED = "The credential that you came with was not given this"


class CredentialCase(WebSocketCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.authenticator.identities["pump"] = Identity("ann", "id-pump", float("inf"), "pump", GRANTS)

    def end(self, id: str) -> None:
        event = EventBuilder(sequential_ids("event")).sessions_revoked("ann", [id], format_timestamp(0))
        self.house.dispatcher.dispatch_logged(Entry(1, "cursor1", event))


class CredentialTests(CredentialCase):
    def test_what_was_granted_and_no_more(self) -> None:
        self.assertEqual(
            self.say(
                text(type="auth", token="token-pump"),
                text(type="message", topic="pump.1", data=1, id=1),
                text(type="message", topic="lamp.1", data=1, id=2),
                subscribe("all"),
                subscribe("pump.*"),
            ),
            [
                WELCOME,
                {"type": "ack", "id": 1},
                error(403, "FORBIDDEN", NOT_GRANTED, id=2),
                subscribed("all"),
                error(403, "FORBIDDEN", NOT_GRANTED),
            ],
        )

    def test_it_ends_where_it_is_revoked(self) -> None:
        self.say(text(type="auth", token="token-pump"))
        self.end("id-other")
        self.assertEqual(spoken(self.wire.take()), [])
        self.end("id-pump")
        self.assertEqual(spoken(self.wire.take()), [("close", 4401, "Token revoked")])


class HandshakeTests(CredentialCase):
    def setUp(self) -> None:
        super().setUp()
        self.headers = {"Authorization": "Bearer token-pump"}
        self.protocol, self.wire = self.connect()

    def test_it_is_taken_there_too(self) -> None:
        self.assertEqual(spoken(self.wire.take()), [WELCOME | {"connectionId": "id2"}])
        self.assertEqual(
            self.say(text(type="message", topic="lamp.1", data=1, id=2)),
            [error(403, "FORBIDDEN", NOT_GRANTED, id=2)],
        )
