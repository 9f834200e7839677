"""An address that names several servers: each has its own time, and all are tried, as libpq does."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from multiproto.core.errors import Refusal
from multiproto.storage.errors import StoreUnusable
from multiproto.storage.postgresql.store import PostgresStore
from tests.ports import free_port
from tests.servers import HOST, Postgres
from tests.storage.units import add_user, event, user_by_id

from .cases import DatabaseCase, outcome


def silent_server(case: TestCase, queue: int = 8) -> int:
    """The port of a server that never says anything; with a `queue` of 0 it does not even complete a handshake."""
    listening = socket.socket()
    case.addCleanup(listening.close)
    listening.bind((HOST, 0))
    listening.listen(queue)
    for _ in range(0 if queue else 3):
        filling = socket.socket()
        filling.setblocking(False)
        filling.connect_ex(listening.getsockname())
        case.addCleanup(filling.close)
    return int(listening.getsockname()[1])


class HostsTests(DatabaseCase):
    """Each test starts a store, which migrates, reads and writes by connections of their own."""

    def address(self, hosts: str, ports: str, **others: str) -> str:
        return make_conninfo(self.conninfo, host=hosts, port=ports, **others)

    def without(self, *names: str) -> str:
        """The address of the database, but for these parts."""
        parts = conninfo_to_dict(self.conninfo)
        return make_conninfo("", **{name: part for name, part in parts.items() if name not in names})

    def set_environment(self, name: str, value: str) -> None:
        self.assertNotIn(name, os.environ)
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name)

    async def use(self, conninfo: str) -> PostgresStore:
        """Start a store there, and write to it."""
        store = await self.make_store(conninfo)
        await store.commit(add_user("ada", 0, event("e1", "ada")))
        self.assertEqual([entry.event.id for entry in await store.read_after(0, 9)], ["e1"])
        return store

    async def test_a_first_one_that_is_silent(self) -> None:
        await self.use(self.address(f"{HOST},{HOST}", f"{silent_server(self)},{self.server.port}"))

    async def test_a_first_one_that_is_cut_off(self) -> None:
        await self.use(self.address(f"{HOST},{HOST}", f"{silent_server(self, 0)},{self.server.port}"))

    async def test_a_first_one_whose_name_has_no_address(self) -> None:
        await self.use(self.address(f"nowhere.invalid,{HOST}", str(self.server.port)))

    async def test_a_last_one_that_is_cut_off_is_not_asked(self) -> None:
        await self.use(self.address(f"{HOST},nowhere.invalid", str(self.server.port)))

    async def test_ports_one_for_each_and_a_server_that_refuses(self) -> None:
        await self.use(
            self.address(f"{HOST},{HOST},{HOST}", f"{free_port()},{self.server.port},{free_port()}")
        )

    async def test_a_socket_behind_a_server_that_refuses(self) -> None:
        hosts = f"{HOST},{self.server.directory}"
        await self.use(self.address(hosts, f"{free_port()},{self.server.port}"))

    async def test_hosts_of_the_environment(self) -> None:
        self.set_environment("PGHOST", f"nowhere.invalid,{HOST}")
        await self.use(self.without("host", "hostaddr"))

    async def test_hosts_of_a_service(self) -> None:
        file = Path(self.mktemp())
        file.write_text(f"[chat]\nhost=nowhere.invalid,{HOST}\nport={self.server.port}\n")
        self.set_environment("PGSERVICEFILE", str(file.absolute()))
        await self.use(make_conninfo(self.without("host", "port"), service="chat"))

    async def test_the_kind_of_session_that_is_asked_for(self) -> None:
        standby = Postgres(primary=self.server)
        self.addCleanup(standby.stop)
        ports = f"{standby.port},{self.server.port}"
        await self.use(self.address(f"{HOST},{HOST}", ports, target_session_attrs="read-write"))

    async def test_none_of_them_stops_the_start_and_each_is_named(self) -> None:
        silent, closed = silent_server(self), free_port()
        store = self.new_store(self.address(f"{HOST},nowhere.invalid,{HOST}", f"{silent},1,{closed}"))
        error = await self.assertFailure(deferToThread(store.open), StoreUnusable)
        for part in (
            f'connection to server at "{HOST}", port {silent} failed: no answer within 2 s',
            'host "nowhere.invalid": Name or service not known',
            f'connection to server at "{HOST}", port {closed} failed: Connection refused',
        ):
            self.assertIn(part, str(error))
        self.assertNotIn(self.server.password, str(error))

    async def test_one_that_falls_silent_is_left_for_the_next(self) -> None:
        proxy, _ = await self.proxied()
        lines = logged_lines(self)
        store = await self.use(self.address(f"{HOST},{HOST}", f"{proxy.port},{self.server.port}"))
        self.assertNotIn("connected to", "\n".join(lines))
        proxy.silent = True
        while isinstance(await outcome(store.commit(add_user("bob", 0, event("e2", "bob")))), Refusal):
            await deferLater(reactor, 0.05)
        while isinstance(found := await outcome(store.read(user_by_id("bob"))), Refusal):
            await deferLater(reactor, 0.05)
        self.assertEqual(found.results[0][0]["id"], "bob")
        expected = (
            f'connected to server at "{HOST}", port {self.server.port}, since connection to server at "{HOST}", '
            f"port {proxy.port} failed: no answer within 2 s"
        )
        self.assertIn(expected, lines)
        self.assertNotIn(self.server.password, "\n".join(lines))

    async def test_a_stop_does_not_wait_for_one_that_is_silent(self) -> None:
        proxy, conninfo = await self.proxied()
        store = await self.make_store(make_conninfo(conninfo, connect_timeout=1000))
        proxy.silent = True
        while not isinstance(await outcome(store.commit(add_user("ada"))), Refusal) or store.connections:
            proxy.cut()
            await deferLater(reactor, 0.05)
        await store.stopService()


def logged_lines(case: TestCase) -> list[str]:
    """The events of the log from now on that are warnings or worse, as text."""
    lines: list[str] = []

    def observe(happened: LogEvent) -> None:
        if happened["log_level"] >= LogLevel.warn:
            lines.append(formatEvent(happened))

    globalLogPublisher.addObserver(observe)
    case.addCleanup(globalLogPublisher.removeObserver, observe)
    return lines
