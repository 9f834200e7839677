"""TLS on a connection in memory: its deadlines, and its ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate as Trusted
from twisted.internet.ssl import optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.edge.certificate import TlsCertificate
from multiproto.edge.tls import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT

from ..certificates import make


class Recorder(Protocol):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Wire(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Reactor(Clock):
    def callFromThread(self, call: Any) -> None:
        """No signal comes here."""


class TlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.clock = Reactor()
        files = make(directory, "localhost")
        certificate = TlsCertificate(files.certificate, files.key, self.clock, self.clock.seconds)
        certificate.privilegedStartService()
        self.ours, self.theirs = Recorder(), Recorder()
        self.server: Any = certificate.wrap_in_tls(self.factory(self.ours)).buildProtocol(None)
        root = trustRootFromCertificates([Trusted.loadPEM(files.authority.read_bytes())])
        trusting = optionsForClientTLS("localhost", root)
        client = TLSMemoryBIOFactory(trusting, True, self.factory(self.theirs), self.clock)
        self.client: Any = client.buildProtocol(None)
        self.wires = Wire(), Wire()
        self.server.makeConnection(self.wires[0])
        self.client.makeConnection(self.wires[1])

    def factory(self, protocol: Protocol) -> Factory:
        factory = Factory()
        factory.buildProtocol = lambda addr: protocol  # type: ignore[method-assign]
        return factory

    def pump(self) -> None:
        """Carry what was written until nobody says anything more."""
        while True:
            self.clock.advance(0)
            said = [wire.value() for wire in self.wires]
            for wire in self.wires:
                wire.clear()
            if not any(said):
                return
            for data, peer in zip(said, (self.client, self.server)):
                if data:
                    peer.dataReceived(data)

    def lose(self) -> None:
        """As the reactor tells, once the socket is closed."""
        self.server.connectionLost(connectionDone)

    def test_the_protocol_has_the_connection_before_the_handshake(self) -> None:
        """So that whoever does not shake hands counts, and is known as secure."""
        self.assertIs(self.ours.transport, self.server)
        self.assertTrue(ISSLTransport.providedBy(self.ours.transport))

    def test_a_handshake_has_its_time(self) -> None:
        """Also one that comes byte by byte."""
        hello = self.wires[1].value()
        for byte in hello[:9]:
            self.server.dataReceived(bytes([byte]))
            self.clock.advance(1)
        self.clock.advance(HANDSHAKE_TIMEOUT - 9 - 0.1)
        self.assertFalse(self.wires[0].aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.wires[0].aborted)
        self.assertEqual(self.ours.heard, b"")

    def test_one_that_ends_before_leaves_no_timer(self) -> None:
        self.lose()
        self.client.connectionLost(connectionDone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_has_shaken_hands_may_be_silent(self) -> None:
        self.pump()
        self.clock.advance(HANDSHAKE_TIMEOUT)
        self.assertFalse(self.wires[0].aborted)
        self.theirs.transport.write(b"hello")  # type: ignore[union-attr]
        self.pump()
        self.assertEqual(self.ours.heard, b"hello")

    def test_half_a_goodbye_reads_on(self) -> None:
        """Behind all that was written before, which Twisted would lose."""
        self.pump()
        self.ours.transport.write(b"the last words")  # type: ignore[union-attr]
        self.ours.transport.loseWriteConnection()  # type: ignore[union-attr]
        self.theirs.transport.write(b"said meanwhile")  # type: ignore[union-attr]
        self.pump()
        self.assertEqual((self.theirs.heard, self.ours.heard), (b"the last words", b"said meanwhile"))
        self.assertTrue(self.wires[0].disconnecting)  # for they said goodbye, too
        self.assertFalse(self.wires[0].aborted)

    def test_a_goodbye_that_is_not_answered(self) -> None:
        self.pump()
        self.ours.transport.loseConnection()  # type: ignore[union-attr]
        self.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.assertFalse(self.wires[0].aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.wires[0].aborted)

    def test_a_refusal_to_one_who_never_shakes_hands(self) -> None:
        """It waits for the handshake; not for ever."""
        self.ours.transport.write(b"too many")  # type: ignore[union-attr]
        self.ours.transport.loseConnection()  # type: ignore[union-attr]
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.wires[0].aborted)

    def test_a_refusal_is_read_behind_the_handshake(self) -> None:
        self.ours.transport.write(b"too many")  # type: ignore[union-attr]
        self.ours.transport.loseConnection()  # type: ignore[union-attr]
        self.pump()
        self.assertEqual(self.theirs.heard, b"too many")
        self.assertTrue(self.wires[0].disconnecting)

    def test_aborting_what_is_gone(self) -> None:
        """Twisted's breaks there: a timer of ours, or a request that failed, may come that late."""
        self.pump()
        self.lose()
        self.server.abortConnection()
        self.assertIsNotNone(self.ours.lost)
