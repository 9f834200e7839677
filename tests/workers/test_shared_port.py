"""Who may have a port that workers share.  With real ports of the kernel's choice; nothing connects to them."""

from __future__ import annotations

import socket
from contextlib import closing

from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from multiproto.lifecycle import describe_error
from multiproto.workers.shared_port import ReservedPort, SharedPort


def listening(host: str = "127.0.0.1", port: int = 0, shared: bool = False) -> socket.socket:
    """Any other program's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, reuse_port=shared)


def free(host: str) -> int:
    with closing(listening(host)) as taken:
        return int(taken.getsockname()[1])


class PortCase(SynchronousTestCase):
    host = "127.0.0.1"

    def setUp(self) -> None:
        try:
            self.port = free(self.host)
        except OSError:
            raise SkipTest(f"there is no {self.host} here") from None
        self.held = ReservedPort(self.host, self.port, "TCP_")
        self.addCleanup(self.held.stopService)

    def share(self) -> IListeningPort:
        port = self.successResultOf(
            SharedPort(reactor, self.port, 10, self.host).listen(Factory.forProtocol(Protocol))
        )
        self.addCleanup(port.stopListening)
        return port


class SharingTests(PortCase):
    def test_workers_share_what_is_held(self) -> None:
        self.held.privilegedStartService()
        addresses = [self.share().getHost() for _ in range(2)]
        self.assertEqual([(each.host, each.port) for each in addresses], [(self.host, self.port)] * 2)

    def test_nobody_else_gets_it(self) -> None:
        """Not while workers listen, and not while none is there."""
        self.held.privilegedStartService()
        self.assertRaises(OSError, listening, self.host, self.port)
        self.assertRaises(
            CannotListenError, ReservedPort(self.host, self.port, "TCP_").privilegedStartService
        )
        self.share()
        self.assertRaises(OSError, listening, self.host, self.port)
        self.assertRaises(
            CannotListenError, ReservedPort(self.host, self.port, "TCP_").privilegedStartService
        )

    def test_free_again_afterwards(self) -> None:
        self.held.privilegedStartService()
        self.held.stopService()
        listening(self.host, self.port).close()

    def test_a_port_that_is_taken(self) -> None:
        """Also by one who would share it: two servers would each get half of the clients."""
        for shared in (False, True):
            with closing(listening(self.host, self.port, shared)):
                error = self.assertRaises(CannotListenError, self.held.privilegedStartService)
                host = f"[{self.host}]" if ":" in self.host else self.host
                told = f"TCP_PORT: can't listen on {host}:{self.port}: Address already in use; "
                self.assertEqual(describe_error(error)[: len(told)], told)

    def test_sharing_what_is_not_ours(self) -> None:
        with closing(listening(self.host, self.port)):
            endpoint = SharedPort(reactor, self.port, 10, self.host)
            self.failureResultOf(endpoint.listen(Factory.forProtocol(Protocol)), CannotListenError)

    def test_an_address_that_is_not_here(self) -> None:
        self.assertRaises(CannotListenError, ReservedPort("192.0.2.1", self.port, "").privilegedStartService)


class SharingWithinIPv6Tests(SharingTests):
    host = "::1"
