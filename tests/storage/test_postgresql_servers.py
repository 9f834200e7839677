"""Which addresses a connection string of PostgreSQL stands for, and in which order; nothing is connected to."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from twisted.trial.unittest import SynchronousTestCase

from multiproto.storage.postgresql.servers import (
    CONNECT_TIMEOUT,
    ConnectionAttempt,
    NameResolver,
    NameUnresolved,
    connection_attempts,
)
from tests.timing import RESCUE

NAMES = {"one": ["10.0.0.1"], "two": ["10.0.0.2", "fd00::2"]}


def look_up(host: str, port: object, type: int) -> list[Any]:
    """As `socket.getaddrinfo`, of a network with few names."""
    if host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(None, None, None, "", (address, 0)) for address in NAMES[host]]


def attempts(conninfo: str) -> list[tuple[str, ...] | str]:
    """Host, address, port and kind of session of each attempt, or the text of a failure."""
    found: list[tuple[str, ...] | str] = []
    for attempt in connection_attempts(conninfo, NameResolver(look_up)):
        if isinstance(attempt, NameUnresolved):
            found.append(str(attempt))
        else:
            parts = conninfo_to_dict(attempt.conninfo)
            keys = ("host", "hostaddr", "port", "target_session_attrs")
            found.append(tuple(str(parts[key]) for key in keys))
    return found


class OrderTests(SynchronousTestCase):
    def test_one_host(self) -> None:
        self.assertEqual(attempts("postgresql://one/chat"), [("one", "10.0.0.1", "5432", "any")])

    def test_hosts_in_their_order_each_with_all_its_addresses(self) -> None:
        expected = [
            ("two", "10.0.0.2", "5433", "read-write"),
            ("two", "fd00::2", "5433", "read-write"),
            'host "none": Name or service not known',
            ("one", "10.0.0.1", "5435", "read-write"),
        ]
        address = "postgresql://two:5433,none:5434,one:5435/chat?target_session_attrs=read-write"
        self.assertEqual(attempts(address), expected)

    def test_one_port_for_all(self) -> None:
        self.assertEqual([each[2] for each in attempts("host=one,two port=6000")], ["6000"] * 3)

    def test_addresses_that_need_no_lookup(self) -> None:
        expected = [("db", "127.0.0.1", "5432", "any"), ("", "::1", "5432", "any")]
        self.assertEqual(attempts("host=db, hostaddr=127.0.0.1,::1"), expected)
        self.assertEqual(attempts("hostaddr=127.0.0.1"), [("", "127.0.0.1", "5432", "any")])

    def test_sockets(self) -> None:
        expected = [(host, "", "5432", "any") for host in ("/run/postgresql", "@abstract", "")]
        self.assertEqual(attempts("host=/run/postgresql,@abstract,"), expected)
        self.assertEqual(attempts(""), [("", "", "5432", "any")])

    def test_a_standby_is_preferred_to_all_others(self) -> None:
        found = attempts("host=one,two target_session_attrs=prefer-standby")
        self.assertEqual([each[3] for each in found], ["standby"] * 3 + ["any"] * 3)

    def test_at_random(self) -> None:
        address = "host=one,two load_balance_hosts=random"
        orders = {tuple(each[1] for each in attempts(address)) for _ in range(200)}
        self.assertGreater(len(orders), 1)
        self.assertEqual({tuple(sorted(order)) for order in orders}, {("10.0.0.1", "10.0.0.2", "fd00::2")})

    def test_the_environment_and_a_service(self) -> None:
        file = Path(self.mktemp())
        file.write_text("[chat]\nhost=two\ntarget_session_attrs=primary\n")
        for name, value in {"PGSERVICEFILE": str(file.absolute()), "PGHOST": "one", "PGPORT": "7"}.items():
            self.assertNotIn(name, os.environ)
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)
        self.assertEqual(attempts("dbname=chat"), [("one", "10.0.0.1", "7", "any")])
        self.assertEqual({each[::3] for each in attempts("service=chat")}, {("two", "primary")})
        self.assertEqual({each[::3] for each in attempts("service=chat host=one")}, {("one", "primary")})

    def test_lists_of_different_lengths_are_left_to_libpq(self) -> None:
        for address in ("host=one,two hostaddr=10.0.0.1", "host=one,two port=1,2,3", "hostaddr=::1 port=1,2"):
            (attempt,) = connection_attempts(address, NameResolver(look_up))
            assert isinstance(attempt, ConnectionAttempt)
            self.assertEqual(attempt.conninfo, address)

    def test_what_cannot_be_read(self) -> None:
        with self.assertRaises(psycopg.ProgrammingError):
            attempts("postgresql://[one/chat")

    def test_its_time(self) -> None:
        for text, seconds in (
            ("", CONNECT_TIMEOUT),
            ("0", CONNECT_TIMEOUT),
            ("-1", CONNECT_TIMEOUT),
            ("7", 7),
        ):
            (attempt,) = connection_attempts(f"host=one connect_timeout='{text}'", NameResolver(look_up))
            assert isinstance(attempt, ConnectionAttempt)
            self.assertEqual(attempt.timeout, seconds)

    def test_addresses_for_people(self) -> None:
        found = connection_attempts(
            "host=two,/run, hostaddr=,,10.0.0.9 password=Secret1!", NameResolver(look_up)
        )
        expected = [
            'server at "two" (10.0.0.2), port 5432',
            'server at "two" (fd00::2), port 5432',
            'server on socket "/run", port 5432',
            'server at "10.0.0.9", port 5432',
        ]
        self.assertEqual([each.address for each in found if isinstance(each, ConnectionAttempt)], expected)


class ResolverTests(SynchronousTestCase):
    def test_a_lookup_that_gets_no_answer_is_shared_and_given_up(self) -> None:
        asked: list[str] = []
        answer = Event()
        self.addCleanup(answer.set)

        def wait(host: str, port: object, type: int) -> list[Any]:
            asked.append(host)
            answer.wait(RESCUE)
            return look_up(host, port, type)

        resolver = NameResolver(wait)
        for _ in range(3):
            with self.assertRaisesRegex(NameUnresolved, 'host "one": no name server answers'):
                resolver.resolve("one", 0.01)
        self.assertEqual(asked, ["one"])
        found: list[list[str]] = []
        waiting = [Thread(target=lambda: found.append(resolver.resolve("one", RESCUE))) for _ in range(2)]
        for thread in waiting:
            thread.start()
        answer.set()
        for thread in waiting:
            thread.join(RESCUE)
        self.assertEqual(found, [["10.0.0.1"], ["10.0.0.1"]])

    def test_a_name_is_looked_up_again_each_time(self) -> None:
        addresses = iter(["10.0.0.7", "10.0.0.8"])
        resolver = NameResolver(lambda *_, **__: [(None, None, None, "", (next(addresses), 0))])
        self.assertEqual(resolver.resolve("moving", RESCUE), ["10.0.0.7"])
        self.assertEqual(resolver.resolve("moving", RESCUE), ["10.0.0.8"])

    def test_what_is_no_name(self) -> None:
        for host in ("a" * 64 + ".example", "..", "no where"):
            with self.assertRaisesRegex(NameUnresolved, "host "):
                NameResolver().resolve(host, RESCUE)
