"""A device that authenticates with a credential: what it may publish and subscribe to, and when it is closed."""

from __future__ import annotations

from multiproto.base.timestamps import format_timestamp
from multiproto.core.events import EventBuilder
from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE
from multiproto.core.transactions import Entry

from ..fakes import sequential_ids
from .test_protocol import DeviceCase, error, subscribed
from .wire import frame

GRANTS = (Grant("pump.*", [PUBLISH]), Grant("all", [SUBSCRIBE]))
NOT_GRANTED = "The credential that you came with was not given this"


def end(audience: Dispatcher, id: str) -> None:
    event = EventBuilder(sequential_ids("event")).sessions_revoked("ann", [id], format_timestamp(0))
    audience.dispatch_logged(Entry(1, "cursor1", event))


class CredentialTests(DeviceCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.authenticator.identities["pump"] = Identity("ann", "id-pump", float("inf"), "pump", GRANTS)
        self.say(frame(0x01, token="token-pump"))

    def test_what_was_granted_and_no_more(self) -> None:
        self.assertEqual(
            self.say(
                frame(0x20, topic="pump.1", content=1, id=1),
                frame(0x20, topic="lamp.1", content=1, id=2),
                frame(0x10, topic="all", id=3),
                frame(0x10, topic="pump.*", id=4),
                frame(0x20, topic="all", content=1, id=5),
            ),
            [
                (0x22, {"id": 1}),
                error(5, NOT_GRANTED, id=2),
                (0x12, subscribed("all", "id3")[1] | {"id": 3}),
                error(5, NOT_GRANTED, id=4),
                error(5, NOT_GRANTED, id=5),
            ],
        )

    def test_it_does_not_expire(self) -> None:
        """A credential without an end is not taken for an expired one at the hub's tick."""
        for _ in range(200):
            self.clock.advance(1)
            self.say(frame(0x31))
        self.assertEqual(self.say(frame(0x30)), [(0x31, {"timestamp": 200_000})])

    def test_it_ends_where_it_is_revoked(self) -> None:
        end(self.house.dispatcher, "id-other")
        self.assertEqual(self.wire.said(), [])
        end(self.house.dispatcher, "id-pump")
        self.assertEqual(self.wire.said(), [error(4, "Token revoked")])
        self.assertEqual(self.say(frame(0x20, topic="pump.1", content=1, id=1)), [])

    def test_with_its_owners_token_it_may_more(self) -> None:
        self.assertEqual(
            self.say(frame(0x01, token="token-ann"), frame(0x20, topic="lamp.1", content=1, id=2))[1:],
            [(0x22, {"id": 2})],
        )
