"""What the kernel tells of a connection, on real sockets of loopback."""

from __future__ import annotations

import contextlib
import socket
import sys
from time import sleep

from attrs import frozen
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.tcp_socket import MAX_UNSENT, acknowledged_bytes, limit_unsent

CHUNK = 64 * 1024  # bytes, as the reactor sends at most


@frozen
class Transport:
    """As much of Twisted's as is asked for."""

    socket: socket.socket

    def getHandle(self) -> socket.socket:
        return self.socket


class TcpSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.client = socket.create_connection(server.getsockname())
            self.server, _ = server.accept()
        self.addCleanup(self.client.close)
        self.addCleanup(self.server.close)
        self.server.setblocking(False)
        self.transport = Transport(self.server)

    def fill(self) -> None:
        """Send until the kernel takes no more, to a client that does not read."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.server.send(b"x" * CHUNK)

    def unsent(self) -> int:
        """The bytes that the kernel holds back."""
        info = self.server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 148)
        return int.from_bytes(info[144:], sys.byteorder)  # tcpi_notsent_bytes

    def test_what_the_peer_acknowledged(self) -> None:
        self.assertEqual(acknowledged_bytes(self.transport), 0)
        self.server.send(b"x" * 1000)
        while acknowledged_bytes(self.transport) == 0:
            sleep(0.001)
        self.assertEqual(acknowledged_bytes(self.transport), 1000)

    def test_what_is_unsent_is_limited_for_as_long_as_is_said(self) -> None:
        limit_unsent(self.transport, True)
        self.fill()
        self.assertLessEqual(self.unsent(), MAX_UNSENT + CHUNK)
        limit_unsent(self.transport, False)
        self.fill()
        self.assertGreater(self.unsent(), 4 * MAX_UNSENT)

    def test_where_there_is_no_such_socket(self) -> None:
        ours, theirs = socket.socketpair()  # of the UNIX domain
        ours.close(), theirs.close()
        for transport in (StringTransport(), Transport(ours)):
            self.assertIsNone(acknowledged_bytes(transport))
            limit_unsent(transport, True)
