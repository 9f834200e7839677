"""Connections that send at the end of the turn: the same bytes, producers and endings as stock ones."""

from __future__ import annotations

import socket
from typing import Any

from attrs import Factory, define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Factory as ProtocolFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Port, Server
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from multiproto.reactor.write_coalescing import (
    CONNECTIONS_PER_CLOCK_CHECK,
    FLUSH_TIME_SLICE,
    CoalescingTransport,
    WriteCoalescer,
    coalesce_writes,
)
from tests.examples import examples

HOST = ("192.0.2.1", 1)


@implementer(IHalfCloseableProtocol)
class Talk(Protocol):
    """Notes how it ended."""

    ended: Failure | None = None
    half_closed = False

    def readConnectionLost(self) -> None:
        """Not of interest."""

    def writeConnectionLost(self) -> None:
        self.half_closed = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason


@implementer(IPushProducer)
@define(eq=False)
class Source:
    told: list[str] = Factory(list)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


@implementer(IPullProducer)
@define(eq=False)
class Well:
    """Gives its pieces as it is asked."""

    consumer: Any
    pieces: list[bytes]

    def resumeProducing(self) -> None:
        if self.pieces:
            self.consumer.write(self.pieces.pop(0))
        else:
            self.consumer.unregisterProducer()

    def stopProducing(self) -> None:
        """Nothing to stop."""


@define(eq=False)
class Line:
    """A connection over a real pair of sockets, and a reactor that does only what it is told."""

    prompt: bool
    reactor: Any = Factory(MemoryReactorClock)
    talk: Talk = Factory(Talk)
    heard: bytes = b""
    closed: bool = False  # the peer saw the end
    peer: socket.socket = field(init=False)
    server: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        ours, self.peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.peer.setblocking(False)
        arguments: Any = ours, self.talk, HOST, None, 0, self.reactor
        self.server = (
            CoalescingTransport(WriteCoalescer(self.reactor), *arguments)
            if self.prompt
            else Server(*arguments)
        )
        self.talk.makeConnection(self.server)

    def turn(self) -> None:
        """What a real reactor does in one: calls that are due, then whoever may write."""
        self.reactor.advance(0)
        for writer in list(self.reactor.writers):
            why = writer.doWrite()
            if why is not None:
                self.reactor.removeReader(writer)
                self.reactor.removeWriter(writer)
                writer.connectionLost(Failure(why))

    def listen(self) -> bytes:
        """All that came to the peer since."""
        came = b""
        while True:
            try:
                data = self.peer.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self.closed = True
                break
            came += data
        self.heard += came
        return came

    def settle(self) -> None:
        for _ in range(1000):
            self.turn()
            if not self.listen() and not self.reactor.writers and not self.reactor.getDelayedCalls():
                return
        raise AssertionError("it never ends")

    def close(self) -> None:
        self.peer.close()
        if self.server.connected:
            self.server.connectionLost(Failure(ConnectionAborted()))


class CoalescingTransportTests(SynchronousTestCase):
    def line(self, prompt: bool = True) -> Line:
        line = Line(prompt)
        self.addCleanup(line.close)
        return line

    def test_all_of_a_turn_goes_out_behind_it(self) -> None:
        line = self.line()
        line.server.write(b"one ")
        line.server.writeSequence([b"two ", b"three"])
        self.assertEqual((line.listen(), len(line.reactor.getDelayedCalls())), (b"", 1))
        line.reactor.advance(0)
        self.assertEqual((line.listen(), line.reactor.writers), (b"one two three", set()))

    def test_what_the_socket_does_not_take_is_the_stock_codes(self) -> None:
        line, source = self.line(), Source()
        line.server.registerProducer(source, True)
        said = bytes(range(256)) * 2000
        line.server.write(said[:65536])
        self.assertEqual(source.told, [])
        line.server.write(said[65536:])
        self.assertEqual(source.told, ["pause"])
        line.reactor.advance(0)
        self.assertEqual(line.reactor.writers, {line.server})
        line.server.write(b"more")
        line.settle()
        self.assertEqual((line.heard, source.told), (said + b"more", ["pause", "pause", "resume"]))

    def test_a_peer_that_is_gone_is_found_out(self) -> None:
        line = self.line()
        line.peer.close()
        line.server.write(b"x")
        line.turn()
        self.assertIsNotNone(line.talk.ended)

    def test_nothing_is_said_after_an_abort(self) -> None:
        line = self.line()
        line.server.write(b"x")
        line.server.abortConnection()
        line.settle()
        self.assertEqual((line.heard, line.closed), (b"", True))
        assert line.talk.ended is not None
        line.talk.ended.trap(ConnectionAborted)

    def test_a_connection_that_was_lost_before_the_end_of_the_turn(self) -> None:
        line = self.line()
        line.server.write(b"x")
        line.server.connectionLost(Failure(ConnectionAborted()))
        line.server.write(b"y")
        line.reactor.advance(0)
        self.assertEqual(line.listen(), b"")

    @given(
        st.lists(
            st.sampled_from([0, 1, 100, 3000, 70_000, 300_000])
            | st.sampled_from(["turn", "listen", "push", "pull", "unregister", "lose", "half", "close"]),
            max_size=12,
        )
    )
    @settings(max_examples=examples(150), deadline=None)
    def test_whatever_happens_it_is_as_with_stock_connections(self, does: list[Any]) -> None:
        """The peer hears the same, is left in the same way, and producers are asked to stop and go on alike."""
        stories = []
        for prompt in (False, True):
            line, source = Line(prompt), Source()
            for number, what in enumerate(does):
                self.do(line, source, what, number)
            line.server.unregisterProducer()
            line.settle()
            pauses = [told for told in source.told if told != "resume"]
            half_closed, ended = line.talk.half_closed, line.talk.ended is not None
            stories.append((line.heard, line.closed, half_closed, ended, pauses, source.told[-1:]))
            line.close()
        self.assertEqual(*stories)

    def do(self, line: Line, source: Source, what: int | str, number: int) -> None:
        server = line.server
        match what:
            case int():
                server.write(bytes([number]) * what)
            case "turn":
                line.turn()
                line.turn()  # a stock connection has asked only now
            case "listen":
                line.listen()
            case "push" if server.producer is None and server.connected:
                server.registerProducer(source, True)
            case "pull" if server.producer is None and server.connected:
                server.registerProducer(Well(server, [b"a" * 10, b"b" * 90_000]), False)
            case "unregister":
                server.unregisterProducer()
            case "lose":
                server.loseConnection()
            case "half" if server.connected and not server.disconnecting and not server._writeDisconnecting:
                server.loseWriteConnection()


class Ticking(MemoryReactorClock):
    """Each look at it takes a millisecond."""

    def turn(self) -> None:
        """Only what was due before it began."""
        due, self.calls = self.calls, []
        for call in due:
            call.func(*call.args, **call.kw)

    def seconds(self) -> float:
        self.rightNow += 0.001
        return float(self.rightNow)


class WriteCoalescerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Ticking()
        self.turn = WriteCoalescer(self.reactor)

    def line(self) -> Line:
        line = Line(True, self.reactor)
        self.addCleanup(line.close)
        line.server._coalescer = self.turn
        line.server.write(b"x")
        return line

    def heard(self, lines: list[Line]) -> int:
        """How many have, at the end of the next turn."""
        self.reactor.turn()
        for line in lines:
            line.listen()
        return sum(line.heard == b"x" for line in lines)

    def test_a_burst_to_many_leaves_the_reactor_its_turns(self) -> None:
        a_turn = CONNECTIONS_PER_CLOCK_CHECK * (int(FLUSH_TIME_SLICE / 2 * 1000) - 1)
        lines = [self.line() for _ in range(a_turn * 2 + 1)]
        self.assertEqual([self.heard(lines) for _ in range(3)], [a_turn, 2 * a_turn, 2 * a_turn + 1])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_an_answer_does_not_wait_for_a_burst(self) -> None:
        a_turn = CONNECTIONS_PER_CLOCK_CHECK * (int(FLUSH_TIME_SLICE / 2 * 1000) - 1)
        lines = [self.line() for _ in range(a_turn * 3)]
        self.heard(lines)
        self.assertEqual(self.heard([self.line()]), 1)
        self.assertEqual(self.heard(lines), 3 * a_turn)

    def test_a_burst_does_not_wait_for_answers(self) -> None:
        a_turn = CONNECTIONS_PER_CLOCK_CHECK * (int(FLUSH_TIME_SLICE / 2 * 1000) - 1)
        lines = [self.line() for _ in range(a_turn * 2)]
        self.heard(lines)
        for _ in range(a_turn * 2):
            self.line()
        self.assertEqual(self.heard(lines), 2 * a_turn)

    def test_only_ports_of_plain_tcp_are_changed(self) -> None:
        class Other(Port):
            transport = CoalescingTransport

        reactor: Any = MemoryReactorClock()
        port, other = (kind(0, ProtocolFactory(), reactor=reactor) for kind in (Port, Other))
        for each in (port, other, object()):
            coalesce_writes(each, WriteCoalescer(reactor))
        self.assertIsNot(port.transport, Server)
        self.assertIs(other.transport, CoalescingTransport)
