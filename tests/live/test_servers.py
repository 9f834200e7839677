"""The servers that tests bring up for themselves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import psycopg
from twisted.trial.unittest import SynchronousTestCase

from tests import servers
from tests.servers import HOST, Postgres, Redis, needs

from .processes import ROOT


@needs("postgresql", "redis")
class ServersTests(SynchronousTestCase):
    def test_what_was_committed_is_there_after_a_kill_and_a_start(self) -> None:
        server = Postgres()
        self.addCleanup(server.stop)
        url = server.new_database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
        server.kill()
        server.start()
        with psycopg.connect(url) as connection:
            self.assertEqual(connection.execute("SELECT value FROM kept").fetchone(), (42,))

    def test_a_killed_test_run_leaves_no_server_behind(self) -> None:
        program = "from tests.servers import Postgres, Redis; p, r = Postgres(), Redis(); print(p.port, r.port, flush=True); input()"
        run = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with run:
            assert run.stdout is not None
            ports = [int(port) for port in run.stdout.readline().split()]
            self.assertEqual([answers(port) for port in ports], [True, True])
            os.kill(run.pid, signal.SIGKILL)
        give_up = time.monotonic() + 10
        while any(map(answers, ports)) and time.monotonic() < give_up:
            time.sleep(0.01)
        self.assertEqual([answers(port) for port in ports], [False, False])

    def test_redis_takes_options(self) -> None:
        server = Redis("requirepass s3cret")
        self.addCleanup(server.stop)
        with socket.create_connection((HOST, server.port), 5) as connection:
            connection.sendall(b"PING\r\n")
            self.assertTrue(connection.recv(100).startswith(b"-NOAUTH"))


class FindingTests(SynchronousTestCase):
    def test_a_missing_server_is_told_with_what_to_do(self) -> None:
        self.patch(os, "environ", {"MULTIPROTO_POSTGRESQL_BIN": "/nowhere", "MULTIPROTO_REDIS_SERVER": "/no"})
        for find in (servers.postgresql_bin, servers.redis_server):
            with self.assertRaisesRegex(servers.Missing, "MULTIPROTO_TEST_WITHOUT"):
                find()

    def test_only_who_asks_for_it_goes_without(self) -> None:
        class Case:
            skip: str

        self.patch(os, "environ", {})
        self.assertFalse(hasattr(needs("redis")(Case), "skip"))
        self.patch(os, "environ", {"MULTIPROTO_TEST_WITHOUT": "postgresql, redis"})
        self.assertEqual(needs("redis")(Case).skip, "MULTIPROTO_TEST_WITHOUT=redis")


def answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
