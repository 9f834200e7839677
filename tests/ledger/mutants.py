"""Servers that break a promise, each in one way, so that a whole run of the checker can be seen to fail.

Each function changes the server's code before it starts; `MUTANTS` says what a
run must then find.  Run as `python -m tests.ledger.mutants`, which tries them all.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from typing import Any, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from multiproto.core.connections.connection import Connection
from multiproto.core.connections.hub import Hub
from multiproto.core.protocol import CloseReason, Delivery, Reply
from multiproto.core.transactions import Entry
from multiproto.log.follower import Follower
from multiproto.log.pruner import Pruner
from multiproto.observe.wall_clock import WallClock
from multiproto.storage.postgresql.store import PostgresStore
from multiproto.storage.postgresql.transaction import PostgresTransaction
from multiproto.storage.postgresql.writer import PostgresWriter
from multiproto.storage.sqlite.store import SqliteStore
from multiproto.tcp.protocol import TcpProtocol

from ..command_line import make_parser
from .report import SKIPPED, Fault

RARELY = 500  # of so many deliveries over TCP, one goes wrong
EARLY = 0.3  # seconds that an answer is ahead of its commit


def acknowledges_before_the_commit() -> None:
    """Needs a `kill -9` in between to be seen, or a commit that fails."""
    for each in (SqliteStore, PostgresStore):
        _acknowledge_early(each)


def _acknowledge_early(kind: Any) -> None:
    commit = kind.commit

    def early(store: Any, unit: Any) -> Deferred[str]:
        from twisted.internet import reactor  # not before the server has chosen its own

        if not unit.events or unit.events[0].type not in ("message.sent", "publication"):
            return commit(store, unit)  # type: ignore[no-any-return]
        later = deferLater(reactor, EARLY, commit, store, unit)  # type: ignore[arg-type]
        later.addErrback(lambda failure: None)
        return succeed(store.cursor_of(store.newest + 1))

    kind.commit = early


def prunes_by_a_clock_that_leapt() -> None:
    Pruner._may_prune_by_age = property(lambda pruner: bool(pruner.running))  # type: ignore[method-assign, assignment]
    WallClock.earliest_now = lambda clock: clock._now()  # type: ignore[method-assign]


def forgets_keys_by_a_clock_that_is_wrong() -> None:
    """The same server, started with such a clock: a send is repeated with its key, which seems to be 40 days old."""
    prunes_by_a_clock_that_leapt()


def prunes_what_another_has_yet_to_deliver() -> None:
    """And whoever has yet to deliver it goes on behind the hole."""

    async def delivered_here(pruner: Pruner) -> int:
        return pruner._dispatcher.position

    async def nothing(follower: Follower, entries: Sequence[Entry]) -> bool:
        return False

    Pruner._delivered_everywhere = delivered_here  # type: ignore[method-assign]
    Follower._has_missed_entries = nothing  # type: ignore[method-assign]


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


def ends_connections_at_their_next_delivery() -> None:
    """Whose rights have ended is looked at when there is something for them: idle connections stay."""
    deliver, ended = Connection.deliver, set[Connection]()

    def note_revoked(hub: Hub, ids: Sequence[str]) -> None:
        for each in hub:
            if each.identity is not None and {each.identity.user_id, each.identity.session_id} & {*ids}:
                ended.add(each)

    def deliver_or_end(connection: Connection, delivery: Delivery) -> bool:
        if connection in ended:
            connection.close(CloseReason.REVOKED)
        return deliver(connection, delivery)

    Hub._close_revoked = note_revoked  # type: ignore[method-assign]
    Connection.deliver = deliver_or_end  # type: ignore[method-assign]


def forgets_what_was_missed() -> None:
    """A resumed subscription says that it recovered, and is replayed nine in ten."""
    replay, skipped = Connection.deliver_replayed, count(1)

    def forgetful(session: Connection, delivery: Delivery) -> bool:
        if next(skipped) % 10 == 0:
            return session.farewell is None
        return replay(session, delivery)

    Connection.deliver_replayed = forgetful  # type: ignore[method-assign, assignment]


def takes_every_waiting_commit_for_kept() -> None:
    """Whatever the database has of it, once that can be asked."""
    was_committed = PostgresWriter._was_committed

    async def sure(writer: PostgresWriter, transaction: PostgresTransaction) -> bool | None:
        return True if await was_committed(writer, transaction) is not None else None

    PostgresWriter._was_committed = sure  # type: ignore[method-assign]


def keeps_connections_when_the_log_goes_back() -> None:
    """Who has heard of what is gone goes on as if nothing had happened."""
    Hub._close_all_of_replaced_log = lambda hub: None  # type: ignore[method-assign]


MUTANTS = {
    "acknowledges_before_the_commit": Fault.LOST,
    "drops_a_delivery": Fault.MISSING,
    "swaps_two_deliveries": Fault.SWAPPED,
    "trusts_devices": Fault.TRESPASS,
    "keeps_those_who_logged_out": Fault.LATE,
    "forgets_what_was_missed": Fault.MISSING,
    "prunes_by_a_clock_that_leapt": Fault.LOST,
    "forgets_keys_by_a_clock_that_is_wrong": Fault.TWICE,
    "takes_every_waiting_commit_for_kept": Fault.LOST,
    "keeps_connections_when_the_log_goes_back": Fault.UNTOLD,
    "ends_connections_at_their_next_delivery": Fault.UNWELL,
    "prunes_what_another_has_yet_to_deliver": Fault.MISSING,
}
KILLED = ("--seconds", "12", "--kills", "2")
INSTANCES = ("--instances", "2", "--kills", "0")
RUNS = (
    ("acknowledges_before_the_commit", KILLED),
    ("drops_a_delivery", KILLED),
    ("swaps_two_deliveries", KILLED),
    ("trusts_devices", KILLED),
    (
        "keeps_those_who_logged_out",
        ("--seconds", "12", "--kills", "0"),
    ),  # a kill would end what this one keeps
    ("forgets_what_was_missed", KILLED),
    ("prunes_by_a_clock_that_leapt", ("--seconds", "10", "--kills", "0", "--fault", "clock")),
    ("acknowledges_before_the_commit", ("--seconds", "10", "--kills", "0", "--fault", "disk")),
    ("acknowledges_before_the_commit", ("--seconds", "10", *INSTANCES, "--fault", "disk")),
    ("acknowledges_before_the_commit", ("--seconds", "10", *INSTANCES, "--fault", "postgresql-standby")),
    (
        "takes_every_waiting_commit_for_kept",
        ("--seconds", "20", *INSTANCES, *("--fault", "failover-150") * 4),  # commits wait in two of three
    ),
    ("keeps_connections_when_the_log_goes_back", ("--seconds", "10", *INSTANCES, "--fault", "standby-lag")),
    ("ends_connections_at_their_next_delivery", ("--seconds", "10", *INSTANCES, "--fault", "halt")),
    ("prunes_what_another_has_yet_to_deliver", ("--seconds", "10", *INSTANCES, "--fault", "halt")),
    (
        "forgets_keys_by_a_clock_that_is_wrong",
        ("--seconds", "10", *INSTANCES, "--fault", "clock-wrong-at-start", "--seed", "2"),  # it is ahead
    ),
)

if __name__ == "__main__":
    make_parser(__doc__).parse_args()
    load = (sys.executable, "-m", "tests.ledger")
    statuses = [subprocess.call((*load, *options, "--mutant", mutant)) for mutant, options in RUNS]
    sys.exit(max(status for status in statuses if status != SKIPPED))
