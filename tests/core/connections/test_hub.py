"""All connections together: limits, revocation, shutdown."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.timestamps import format_timestamp
from multiproto.core import events
from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.connections.connection import Connection
from multiproto.core.connections.hub import SHUTDOWN_GRACE
from multiproto.core.errors import TooManyConnections, Unavailable
from multiproto.core.events import EventBuilder
from multiproto.core.identity import Identity
from multiproto.core.protocol import Authenticate, Authenticated, CloseReason, Farewell, Ping, Reply
from multiproto.core.pubsub.namespaces import USERS
from multiproto.core.transactions import Entry, Event

from ...fakes import RecordingTransport, make_core, sequential_ids

GOODBYE = Farewell(CloseReason.SHUTDOWN, "server is shutting down")
REVOKED = Farewell(CloseReason.REVOKED, "Token revoked")


class HubCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock)
        self.hub = self.core.hub
        self.admission = self.core.admission(
            limits=ConnectionLimits(close_timeout=5), max_connections=3, max_connections_per_network=2
        )
        self.events = EventBuilder(sequential_ids("event"))

    def connect(self, name: str = "", host: str = "192.0.2.1") -> tuple[RecordingTransport, Connection]:
        peer = RecordingTransport()
        connection = self.hub.admit(peer, host, self.admission)
        if name:
            connection.receive(Authenticate(f"token-{name}"))
        return peer, connection

    def happen(self, event: Event) -> None:
        """What the follower does with `event` of the log."""
        self.core.dispatcher.dispatch_logged(Entry(1, "cursor1", event))


class CapacityTests(HubCase):
    def test_from_one_address(self) -> None:
        """Two are taken, the third is not, until one of them leaves."""
        (_, first), _ = self.connect(), self.connect()
        self.assertRaises(TooManyConnections, self.connect)
        first.connection_lost()
        self.connect()
        self.assertEqual(
            self.admission.stats.connections_by_status, {"accepted": 3, "rejected": 1, "closed": 1}
        )

    def test_a_network_is_one_address(self) -> None:
        """A customer has a /64 of IPv6: five addresses of it are one; the next /64 is another."""
        for host in ("2001:db8::1", "2001:db8::2"):
            self.connect(host=host)
        self.assertRaises(TooManyConnections, self.connect, host="2001:db8::ffff:0:0:3")
        self.connect(host="2001:db8:0:1::1")
        self.assertEqual(
            self.admission.stats.connections_by_network, {"2001:db8::/64": 2, "2001:db8:0:1::/64": 1}
        )

    def test_an_ipv4_address_is_the_same_in_ipv6(self) -> None:
        """As a socket that listens for both reports it."""
        self.connect(host="192.0.2.1")
        self.connect(host="::ffff:192.0.2.1")
        self.assertRaises(TooManyConnections, self.connect, host="::ffff:192.0.2.1")

    def test_in_all(self) -> None:
        for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            self.connect(host=host)
        self.assertRaises(TooManyConnections, self.connect, host="192.0.2.4")
        self.assertEqual(len(self.hub), 3)

    def test_each_line_has_limits_of_its_own(self) -> None:
        for _ in range(2):
            self.connect()
        other = self.core.admission("websocket", max_connections_per_network=1)
        self.hub.admit(RecordingTransport(), "192.0.2.1", other)
        self.assertRaises(TooManyConnections, self.hub.admit, RecordingTransport(), "192.0.2.1", other)


class RevocationTests(HubCase):
    def test_a_closed_account(self) -> None:
        """All of its connections end, and nobody else's (docs/predecessor-faults.md#fault-15)."""
        (ann, _), (bob, _) = self.connect("ann"), self.connect("bob")
        self.happen(self.events.user_deleted("ann", format_timestamp(0)))
        self.assertEqual(ann.sent[1:], [REVOKED])
        self.assertEqual(bob.sent, [Authenticated("bob", "id2")])

    def test_a_revoked_session(self) -> None:
        """The same user's other session goes on."""
        peer, connection = self.connect("ann")
        other = RecordingTransport()
        self.hub.admit(
            other, "192.0.2.9", self.admission, Identity("ann", "another", 1000.0, deadline=1000.0)
        )
        self.happen(self.events.sessions_revoked("ann", ["session-ann"], format_timestamp(0)))
        self.assertEqual(peer.sent[1:], [REVOKED])
        self.assertEqual(other.sent, [])

    def test_other_events_end_nobody(self) -> None:
        peer, _ = self.connect("ann")
        self.happen(
            Event(
                "e",
                events.USER_UPDATED,
                ("users", "users.ann"),
                {"user": {}},
                "ann",
                format_timestamp(0),
                USERS,
            )
        )
        self.assertEqual(len(peer.sent), 1)


class BrokenTransport(RecordingTransport):
    """Fails at whatever is sent on it; all that it can do is to be aborted."""

    def send(self, reply: Reply) -> int:
        raise ZeroDivisionError

    def close(self, why: Farewell) -> None:
        raise ZeroDivisionError


class BrokenConnectionTests(HubCase):
    """A connection that breaks costs the others nothing."""

    def setUp(self) -> None:
        super().setUp()
        identity = Identity("ann", "session-ann", 1000.0, deadline=1000.0)
        self.broken = BrokenTransport()
        self.hub.admit(self.broken, "192.0.2.9", self.admission, identity)
        self.other = RecordingTransport()
        self.hub.admit(self.other, "192.0.2.1", self.admission, identity)

    def test_the_timers_of_the_others_go_on(self) -> None:
        self.clock.pump([1] * 30)
        self.assertEqual((self.broken.sent, self.other.sent), (["abort"], [Ping()]))
        self.clock.pump([1] * 30)
        self.assertEqual(self.other.sent, [Ping(), Ping()])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)  # of the ping, of the farewell

    def test_the_others_are_revoked(self) -> None:
        self.happen(self.events.user_deleted("ann", format_timestamp(0)))
        self.assertEqual((self.broken.sent, self.other.sent), (["abort"], [REVOKED]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_others_are_closed_at_shutdown(self) -> None:
        self.hub.stopService()
        self.assertEqual((self.broken.sent, self.other.sent), (["abort"], [GOODBYE]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Unbreakable(RecordingTransport):
    """A transport that can't be cut off."""

    def abort(self) -> None:
        raise ZeroDivisionError


class ShutdownTests(HubCase):
    def test_nobody_is_there(self) -> None:
        self.successResultOf(self.hub.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_prompt_one_leaves_no_timer(self) -> None:
        peer, connection = self.connect()
        done = self.hub.stopService()
        self.assertEqual(peer.sent, [GOODBYE])
        connection.connection_lost()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_waits_for_the_last_line_and_then_cuts_it(self) -> None:
        """A peer that does not take its farewell has time, but a stop has, too.

        docs/predecessor-faults.md#fault-24
        """
        self.clock.advance(0.7)  # the timers tick from then on; what is cut waits for none
        (_, prompt), (stuck, connection) = self.connect(), self.connect()
        done = self.hub.stopService()
        prompt.connection_lost()
        self.clock.pump([0.5] * 7)
        self.assertEqual(stuck.sent, [GOODBYE])
        self.clock.advance(0.5)
        self.assertEqual(stuck.sent, [GOODBYE, "abort"])
        self.assertNoResult(done)
        connection.connection_lost()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_does_not_wait_for_who_reads_slowly(self) -> None:
        slow, connection = self.connect("ann")
        connection.close(CloseReason.SLOW_CONSUMER)  # before the shutdown: it has a minute
        self.hub.stopService()
        for slow.acknowledged in range(3):
            self.clock.advance(1)
        self.assertNotIn("abort", slow.sent)
        self.clock.advance(1)
        self.assertEqual(slow.sent[-1], "abort")

    def test_each_is_cut_even_if_cutting_one_fails(self) -> None:
        self.hub.admit(Unbreakable(), "192.0.2.2", self.admission)
        second, _ = self.connect()
        self.hub.stopService()
        self.clock.advance(SHUTDOWN_GRACE)
        self.assertEqual(second.sent, [GOODBYE, "abort"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nobody_comes_in_any_more(self) -> None:
        self.connect()
        self.hub.stopService()
        self.assertRaises(Unavailable, self.connect)
