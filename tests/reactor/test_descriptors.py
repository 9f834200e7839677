"""File descriptors when they become short; the limits of the process are those of the test."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from multiproto.reactor.accepting import LOG_INTERVAL
from multiproto.reactor.descriptors import (
    MAX_RESERVE,
    DescriptorLimit,
    DescriptorReserve,
    lowest_free_descriptor,
)

HERE = IPv4Address("TCP", "192.0.2.1", 1)
RAISE = """
from multiproto.reactor.descriptors import raise_descriptor_limit
import resource
limit = raise_descriptor_limit()
print(limit.initial, limit.count, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def no_socket() -> socket.socket:
    raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))


class LimitTests(SynchronousTestCase):
    def test_the_soft_limit_becomes_the_hard_one(self) -> None:
        for limits, shown in (
            ("ulimit -S -n 200; ulimit -H -n 300", "200 300 300 300"),
            ("ulimit -n 200", "200 200 200 200"),
        ):
            command = ("sh", "-c", f'{limits}; exec "$@"', "sh", sys.executable, "-c", RAISE)
            self.assertEqual(subprocess.check_output(command, text=True).split(), shown.split())

    def test_the_reserve(self) -> None:
        """A third where there are few."""
        self.assertEqual(DescriptorLimit(300, 300).reserve, 100)
        self.assertEqual(DescriptorLimit(100_000, 1024).reserve, MAX_RESERVE)

    def test_the_lowest_that_is_free(self) -> None:
        free = lowest_free_descriptor()
        with socket.socket() as taken:
            self.assertEqual(taken.fileno(), free)
            self.assertGreater(lowest_free_descriptor(), free)
        self.assertEqual(lowest_free_descriptor(), free)


class ReserveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rejected = 0
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict[str, object]) -> None:
        if event.get("log_namespace") == "multiproto.reactor.descriptors.DescriptorReserve":
            self.lines.append(str(event["log_format"]).format(**event))

    def count(self) -> None:
        self.rejected += 1

    def guarded(self, room: int) -> Factory:
        """A factory that may have connections until `room` more descriptors are open."""
        count = next(n for n in range(3, 10**6) if n - n // 3 == lowest_free_descriptor() + room)
        reserve = DescriptorReserve(DescriptorLimit(count, count), self.clock, self.count)
        return reserve.guard(Factory.forProtocol(Protocol))  # type: ignore[return-value]

    def test_the_last_connection_and_one_past_it(self) -> None:
        factory = self.guarded(1)
        self.assertIsInstance(factory.buildProtocol(HERE), Protocol)
        taken = os.open(os.devnull, os.O_RDONLY)
        self.assertIsNone(factory.buildProtocol(HERE))
        os.close(taken)
        self.assertIsInstance(factory.buildProtocol(HERE), Protocol)
        self.assertEqual(self.rejected, 1)

    def test_one_line_a_minute(self) -> None:
        """With how many there were since the last one, and what to do."""
        factory = self.guarded(0)
        for seconds in (0, LOG_INTERVAL - 1, 1):
            self.clock.advance(seconds)
            for _ in range(50):
                factory.buildProtocol(HERE)
        self.assertEqual(
            [line.partition(" connections turned away;")[0] for line in self.lines],
            ["file descriptors are used up: 1", "file descriptors are used up: 100"],
        )
        self.assertIn("LimitNOFILE=", self.lines[0])
        self.assertEqual(self.rejected, 150)

    def test_the_system_has_none(self) -> None:
        """The last one of all was that of the connection: it must not be kept, and the line says whose limit it is."""
        factory = self.guarded(1)
        self.patch(socket, "socket", no_socket)
        self.assertIsNone(factory.buildProtocol(HERE))
        self.assertEqual(self.rejected, 1)
        self.assertIn("fs.file-max", self.lines[0])
