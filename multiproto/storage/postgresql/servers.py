"""Which servers a connection string names, and at which addresses, in the order in which libpq would try them.

libpq's asynchronous way has one time for all of them, and looks names up while it
holds Python's lock.  So the string is taken apart, as libpq reads it, and each
address is tried by itself.
"""

from __future__ import annotations

import random
import socket
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, Callable, Iterator, Mapping, Sequence

from attrs import define, field, frozen
from psycopg import pq
from psycopg.conninfo import make_conninfo

# Seconds that an address has to answer in, where the connection string has no `connect_timeout`.
CONNECT_TIMEOUT = 2
# Seconds that looking a name up may take: more than the five after which resolv.conf(5) turns to the next name server.
LOOKUP_TIMEOUT = 6.0


class NameUnresolved(Exception):
    """A host has no address that can be found; the text names the host, and says why."""


@frozen
class Server:
    """One of the servers of a connection string; what it leaves out is empty."""

    host: str  # a name, an address, or a directory with a Unix socket
    hostaddr: str  # an address that makes looking the name up needless
    port: str

    @property
    def is_local(self) -> bool:
        """Whether it is reached by a Unix socket."""
        return not self.hostaddr and (not self.host or self.host.startswith(("/", "@")))


@frozen
class ConnectionAttempt:
    """One address to try."""

    conninfo: str = field(repr=False)
    address: str  # for people, in libpq's words
    timeout: float  # seconds for its handshake


@define(eq=False, repr=False)
class NameResolver:
    """Looks host names up in threads; those that ask for the same name at the same time share one.

    A lookup can't be broken off, and may take minutes where no name server answers.
    """

    _getaddrinfo: Callable[..., Sequence[Any]] = socket.getaddrinfo
    _lookups: dict[str, Future[list[str]]] = field(factory=dict, init=False)  # by host, those under way
    _lock: Any = field(factory=Lock, init=False)

    def resolve(self, host: str, timeout: float) -> list[str]:
        """All addresses of `host`, in the system's order.  Blocks.  Raises `NameUnresolved`."""
        with self._lock:
            lookup = self._lookups.get(host)
            if lookup is None:
                lookup = self._lookups[host] = Future()
                Thread(target=self._look_up, args=(host, lookup), name="name lookup", daemon=True).start()
        try:
            return lookup.result(timeout)
        except TimeoutError:
            raise NameUnresolved(f'host "{host}": no name server answers') from None
        except OSError as error:
            raise NameUnresolved(f'host "{host}": {error.strerror or error}') from error
        except UnicodeError:  # a label of more than 63 characters, or an empty one
            raise NameUnresolved(f'host "{host}": this is no host name') from None

    def _look_up(self, host: str, lookup: Future[list[str]]) -> None:
        addresses: list[str] = []
        failure: Exception | None = None
        try:
            found = self._getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        except Exception as error:
            failure = error
        with self._lock:
            del self._lookups[host]  # whoever asks from here on gets what is true then
        if failure is None:
            lookup.set_result(addresses)
        else:
            lookup.set_exception(failure)


def connection_attempts(
    conninfo: str, resolver: NameResolver
) -> Iterator[ConnectionAttempt | NameUnresolved]:
    """The addresses of `conninfo` in their order, each looked up when its turn comes, or why one has none.

    Blocks.  Raises `psycopg.ProgrammingError` for a string that libpq can't read.
    """
    options = _libpq_options(conninfo)
    servers = _split_servers(options)
    if servers is None:
        yield ConnectionAttempt(conninfo, "PostgreSQL", CONNECT_TIMEOUT)  # libpq refuses it, and says why
        return
    is_random = options.get("load_balance_hosts") == "random"
    if is_random:
        random.shuffle(servers)
    for session in _session_passes(options.get("target_session_attrs", "any")):
        for server in servers:
            try:
                addresses = _addresses_of(server, resolver)
            except NameUnresolved as unresolved:
                yield unresolved
                continue
            for address in random.sample(addresses, len(addresses)) if is_random else addresses:
                yield ConnectionAttempt(
                    make_conninfo(
                        conninfo,
                        host=server.host,
                        hostaddr=address,
                        port=server.port,
                        target_session_attrs=session,
                        application_name="multiproto",
                    ),
                    _describe(server, address),
                    _timeout_of(options),
                )


def _libpq_options(conninfo: str) -> Mapping[str, str]:
    """What libpq makes of `conninfo`, its environment, its service file and its defaults.

    An impossible mode of TLS stops it before it looks up any name.
    """
    refused = pq.PGconn.connect_start(make_conninfo(conninfo, sslmode="none").encode())
    try:
        return {each.keyword.decode(): each.val.decode() for each in refused.info if each.val is not None}
    finally:
        refused.finish()


def _split_servers(options: Mapping[str, str]) -> list[Server] | None:
    """The servers of `options`; `None` where its lists are not equally long: libpq lets only the port be one for all."""
    hosts, addresses, ports = (options.get(name, "").split(",") for name in ("host", "hostaddr", "port"))
    count = max(len(hosts), len(addresses))
    columns = [
        column * count if column == [""] or (column is ports and len(ports) == 1) else column
        for column in (hosts, addresses, ports)
    ]
    return [Server(*each) for each in zip(*columns)] if all(len(each) == count for each in columns) else None


def _session_passes(target: str) -> Sequence[str]:
    """What is asked of a session when all servers are tried, once for each of these."""
    return ("standby", "any") if target == "prefer-standby" else (target,)


def _addresses_of(server: Server, resolver: NameResolver) -> list[str]:
    """One empty address where there is nothing to look up."""
    if server.hostaddr or server.is_local:
        return [server.hostaddr]
    return resolver.resolve(server.host, LOOKUP_TIMEOUT)


def _describe(server: Server, address: str) -> str:
    if server.is_local:
        return f'server on socket "{server.host or "the default one"}", port {server.port}'
    found = f" ({address})" if server.host not in ("", address) else ""
    return f'server at "{server.host or address}"{found}, port {server.port}'


def _timeout_of(options: Mapping[str, str]) -> float:
    """As libpq, but never without an end."""
    text = options.get("connect_timeout", "")
    return int(text) if text.isdecimal() and int(text) > 0 else CONNECT_TIMEOUT
