"""Servers that break a promise, each in one way, so that a whole run of the checker can be seen to fail.

Each function changes the server's code before it starts; `MUTANTS` says what a
run must then find.  Run as `python -m tests.ledger.mutants`, which tries them all.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from multiproto.core.connections.connection import Connection
from multiproto.core.protocol import CloseReason, Delivery, Reply
from multiproto.storage.sqlite.store import SqliteStore
from multiproto.tcp.protocol import TcpProtocol

from .report import Fault

RARELY = 500  # of so many deliveries over TCP, one goes wrong
EARLY = 0.3  # seconds that an answer is ahead of its commit


def acknowledges_before_the_commit() -> None:
    """Needs a `kill -9` in between to be seen."""
    commit = SqliteStore.commit

    def early(store: SqliteStore, unit: Any) -> Deferred[str]:
        if not unit.events or unit.events[0].type not in ("message.sent", "publication"):
            return commit(store, unit)
        later = deferLater(reactor, EARLY, commit, store, unit)  # type: ignore[arg-type]
        later.addErrback(lambda failure: None)
        return succeed(store.cursor_of(store.newest + 1))

    SqliteStore.commit = early  # type: ignore[method-assign, assignment]


def drops_a_delivery() -> None:
    send, delivered = TcpProtocol.send, count(1)

    def lossy(protocol: TcpProtocol, reply: Reply) -> int:
        if isinstance(reply, Delivery) and next(delivered) % RARELY == 0:
            return protocol.size_of(reply)
        return send(protocol, reply)

    TcpProtocol.send = lossy  # type: ignore[method-assign, assignment]


def swaps_two_deliveries() -> None:
    send, delivered = TcpProtocol.send, count(1)
    held: dict[TcpProtocol, Delivery] = {}

    def confused(protocol: TcpProtocol, reply: Reply) -> int:
        if isinstance(reply, Delivery) and protocol not in held and next(delivered) % RARELY == 0:
            held[protocol] = reply
            return protocol.size_of(reply)
        size = send(protocol, reply)
        if isinstance(reply, Delivery) and protocol in held:
            send(protocol, held.pop(protocol))
        return size

    TcpProtocol.send = confused  # type: ignore[method-assign, assignment]


def trusts_devices() -> None:
    """Over TCP, whoever listens may read."""
    hear = Connection.deliver

    def trusting(session: Connection, delivery: Delivery) -> bool:
        if session.identity is None or not isinstance(session._transport, TcpProtocol):
            return hear(session, delivery)
        session.send(delivery)
        return True

    Connection.deliver = trusting  # type: ignore[method-assign, assignment]


def keeps_those_who_logged_out() -> None:
    """Live connections go on after the logout."""
    end = Connection.close

    def lenient(session: Connection, why: CloseReason) -> None:
        if why is not CloseReason.REVOKED:
            end(session, why)

    Connection.close = lenient  # type: ignore[method-assign, assignment]


def forgets_what_was_missed() -> None:
    """A resumed subscription says that it recovered, and is replayed nine in ten."""
    replay, skipped = Connection.deliver_replayed, count(1)

    def forgetful(session: Connection, delivery: Delivery) -> bool:
        if next(skipped) % 10 == 0:
            return session.farewell is None
        return replay(session, delivery)

    Connection.deliver_replayed = forgetful  # type: ignore[method-assign, assignment]


MUTANTS = {
    "acknowledges_before_the_commit": Fault.LOST,
    "drops_a_delivery": Fault.MISSING,
    "swaps_two_deliveries": Fault.SWAPPED,
    "trusts_devices": Fault.TRESPASS,
    "keeps_those_who_logged_out": Fault.LATE,
    "forgets_what_was_missed": Fault.MISSING,
}

if __name__ == "__main__":
    load = (sys.executable, "-m", "tests.ledger", "--seconds", "6")
    # A kill just behind the logout would end what this one keeps.
    kills = {mutant: "0" if fault is Fault.LATE else "2" for mutant, fault in MUTANTS.items()}
    sys.exit(max([subprocess.call((*load, "--kills", kills[each], "--mutant", each)) for each in MUTANTS]))
