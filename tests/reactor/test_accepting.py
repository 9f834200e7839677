"""Ports for which the system has no connection: how often they try, what they say, and that they go on."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from multiproto.reactor.accepting import (
    CONNECTION_ERRORS,
    LOG_INTERVAL,
    MAX_IN_A_ROW,
    PAUSE,
    SHORTAGES,
    AcceptFailures,
)
from multiproto.reactor.epoll import BoundedEpollReactor

TURNS = 20
OTHER = errno.EINVAL  # neither a shortage nor of one connection


class AcceptFailuresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.number: int | None = None  # of the error that the system gives
        self.attempts = self.counted = 0
        self.lines: list[str] = []
        self.built: list[object] = []
        accept = socket.socket.accept

        def try_to_accept(listening: socket.socket) -> tuple[socket.socket, Any]:
            self.attempts += 1
            if self.number is not None:
                raise OSError(self.number, os.strerror(self.number))
            return accept(listening)

        self.patch(socket.socket, "accept", try_to_accept)
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.clock, self.reactor = Clock(), BoundedEpollReactor()
        self.addCleanup(self.reactor.removeAll)
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        self.patch(factory, "buildProtocol", lambda address: self.built.append(address))
        self.failures = AcceptFailures(self.clock, self.count)
        self.port = Port(0, factory, interface="127.0.0.1", reactor=self.reactor)
        self.port.startListening()
        self.addCleanup(self.stop)
        self.failures.guard(self.port)
        self.clients: list[socket.socket] = []

    def stop(self) -> None:
        if self.port.connected:
            self.port.connectionLost(None)
        for client in self.clients:
            client.close()

    def count(self) -> None:
        self.counted += 1

    def observe(self, event: dict[str, Any]) -> None:
        """All that is logged of accepting, Twisted's own lines included."""
        if event.get("log_format") and "ccept" in event["log_format"]:
            self.lines.append(event["log_format"].format(**event))

    def connect(self) -> None:
        self.clients.append(socket.create_connection(("127.0.0.1", self.port.getHost().port)))

    def turns(self, number: int = TURNS) -> None:
        for _ in range(number):
            self.reactor.doPoll(0)

    def test_one_attempt_a_second_while_the_system_has_none(self) -> None:
        for number in (*SHORTAGES, OTHER):
            self.number, self.attempts = number, 0
            self.connect()
            self.turns()
            self.assertEqual(self.attempts, 1, errno.errorcode[number])
            self.clock.advance(PAUSE - 0.001)
            self.turns()
            self.assertEqual(self.attempts, 1)
            self.clock.advance(0.001)
            self.turns()
            self.assertEqual(self.attempts, 2)
            self.number = None
            self.clock.advance(PAUSE)
            self.turns()
        self.assertEqual(len(self.built), len(SHORTAGES) + 1)  # all clients were accepted in the end
        self.assertEqual(self.counted, 2 * (len(SHORTAGES) + 1))

    def test_one_line_a_minute(self) -> None:
        """Which says what is short, and where more is allowed."""
        self.number = errno.ENFILE
        self.connect()
        for _ in range(int(LOG_INTERVAL / PAUSE) + 1):
            self.turns()
            self.clock.advance(PAUSE)
        first, second = self.lines
        self.assertIn("fs.file-max); 1 attempts failed", first)
        self.assertIn("fs.file-max); 60 attempts failed", second)

    def test_what_one_connection_suffers_holds_up_no_other(self) -> None:
        for number in CONNECTION_ERRORS:
            self.number = number
            self.connect()
            self.turns(1)
            self.number = None
            self.turns(1)
        self.assertEqual(len(self.built), len(CONNECTION_ERRORS))
        self.assertEqual((self.counted, len(self.lines)), (len(CONNECTION_ERRORS), 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_where_no_connection_is_allowed_it_waits_in_the_end(self) -> None:
        self.number = errno.EPERM
        self.connect()
        while self.attempts < MAX_IN_A_ROW - 1:
            self.turns(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.turns()
        self.assertEqual(self.attempts, MAX_IN_A_ROW)
        self.clock.advance(PAUSE)
        self.turns()
        self.assertEqual(self.attempts, MAX_IN_A_ROW + 1)  # and again at once, until one succeeds

    def test_a_port_that_was_closed_meanwhile_stays_so(self) -> None:
        self.number = errno.ENFILE
        self.connect()
        self.turns()
        self.port.connectionLost(None)
        self.clock.advance(PAUSE)
        self.assertNotIn(self.port, self.reactor.getReaders())

    def test_stock_ports_would_try_in_each_turn(self) -> None:
        """Why this exists; and that these tests see it."""
        stock = Port(0, self.port.factory, interface="127.0.0.1", reactor=self.reactor)
        stock.startListening()
        self.addCleanup(stock.connectionLost, None)
        self.number = errno.ENFILE
        self.clients.append(socket.create_connection(("127.0.0.1", stock.getHost().port)))
        self.turns()
        self.assertEqual((self.attempts, len(self.lines)), (TURNS, TURNS))
