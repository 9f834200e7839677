"""A port that several processes listen on, and no others.

The kernel shares a port only among sockets with SO_REUSEPORT of the same user
(socket(7)), but it would share it as well between two servers that were started
on one port by mistake.  So the supervisor binds the port exclusively first, and
keeps it bound as long as it lives, without listening.
"""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from ..lifecycle import PortUnavailable


@define(eq=False, repr=False)
class ReservedPort(Service):
    """Binds a port, for `SharedPort`s of the same user to listen on."""

    _host: str
    _port: int
    _setting_prefix: str  # as `PortUnavailable` has it
    _socket: socket.socket | None = None

    def privilegedStartService(self) -> None:
        """Raises `PortUnavailable` when any process has the port, even one that would share it."""
        super().privilegedStartService()
        try:
            self._socket = _bind(self._host, self._port, shared=False)
        except CannotListenError as error:
            raise PortUnavailable(error, self._setting_prefix) from error
        # From here on sockets with SO_REUSEPORT may bind it, and only they.  Linux checks the options as they are when
        # the other one binds, not as they were when we did.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def stopService(self) -> None:
        super().stopService()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@implementer(IStreamServerEndpoint)
@frozen
class SharedPort:
    """Listens on a port together with other workers; the kernel spreads new connections over them."""

    _reactor: Any  # IReactorSocket
    _port: int
    _backlog: int  # connections that may wait to be accepted
    _host: str

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fails with `CannotListenError`."""
        try:
            with _bind(self._host, self._port, shared=True) as listening:
                listening.listen(self._backlog)
                listening.setblocking(False)
                # The reactor keeps a duplicate.
                port = self._reactor.adoptStreamPort(listening.fileno(), listening.family, factory)
        except CannotListenError as error:
            return fail(error)
        return succeed(port)


def _bind(host: str, port: int, shared: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListenError(host, port, error) from error
    try:
        # As every server does: connections in TIME_WAIT don't block the port.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise CannotListenError(host, port, error) from error
    return bound
