"""What can befall the PostgreSQL of several instances; each returns when all is well again, and says how long what took."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Iterator, Mapping

from tests.servers import Postgres
from tests.timing import RESCUE

from .health import HEALED_WITHIN, NOTICED_WITHIN

if TYPE_CHECKING:
    from .fleet import Fleet

DOWN = 1.5  # seconds
READ_ONLY = 3.0


def kill(fleet: Fleet) -> str:
    fleet.postgres.kill()
    gone = time.monotonic()
    noticed = fleet.health.until("unhealthy", NOTICED_WITHIN)
    time.sleep(max(0.0, gone + DOWN - time.monotonic()))
    fleet.postgres.start()
    healed = fleet.health.until_healed()
    return f"killed PostgreSQL; noticed in {noticed:.2f} s, well {healed:.2f} s after it was back"


def restart(fleet: Fleet) -> str:
    """As an operator does it: "fast", which ends all sessions in order."""
    begun = time.monotonic()
    fleet.postgres.signal(signal.SIGINT)
    fleet.postgres.wait()
    fleet.postgres.start()
    away = time.monotonic() - begun
    return f"restarted PostgreSQL in {away:.2f} s; well {fleet.health.until_healed():.2f} s after it was back"


def terminate(fleet: Fleet) -> str:
    """Every session ends, whatever it does."""
    ended = end_sessions(fleet.postgres)
    healed = fleet.health.until_healed()
    return f"ended {ended} sessions of PostgreSQL; well {healed:.2f} s after"


def default_to_read_only(fleet: Fleet) -> str:
    """The server's default changes, and all sessions begin anew with it: each overrules it."""
    fleet.postgres.set("default_transaction_read_only", "on")
    end_sessions(fleet.postgres)
    healed = fleet.health.until_healed()
    fleet.health.stays("healthy", READ_ONLY)
    fleet.postgres.set("default_transaction_read_only", "off")
    return f"made PostgreSQL's sessions read-only by default; well {healed:.2f} s after, and it stayed so"


def demote(fleet: Fleet) -> str:
    """It is started again as a standby, which can be read and not written, and then promoted."""
    fleet.postgres.kill()
    (fleet.postgres.directory / "data/standby.signal").touch()
    fleet.postgres.start()
    time.sleep(HEALED_WITHIN)  # by then all sessions are back, and each instance has tried to write
    fleet.health.stays("unhealthy", READ_ONLY)
    fleet.postgres.ask("SELECT pg_promote()")
    healed = fleet.health.until_healed()
    return (
        f"made PostgreSQL a standby, which was said all the time; well {healed:.2f} s after it was promoted"
    )


def promote(fleet: Fleet) -> str:
    """A synchronous standby takes the place of the primary, which is killed, and the address leads to it."""
    former = fleet.postgres
    standby = Postgres(primary=former)
    synchronize(former, standby)
    former.kill()
    noticed = fleet.health.until("unhealthy", NOTICED_WITHIN)
    time.sleep(DOWN)
    standby.ask("SELECT pg_promote()")
    for number in range(len(fleet.instances)):
        fleet.lead(number, standby.port)
    fleet.postgres = standby
    healed = fleet.health.until_healed()
    former.stop()
    return f"promoted a standby of PostgreSQL; noticed in {noticed:.2f} s, well {healed:.2f} s after the name led to it"


def end_sessions(server: Postgres) -> int:
    return int(
        server.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    )


def synchronize(primary: Postgres, standby: Postgres) -> None:
    """Returns when what `primary` acknowledges is on the standby's disk, whatever it is.

    `pg_stat_replication` says `sync` as soon as one process has read the setting; commits wait once another one
    has. So the standby is halted until one is seen to wait.
    """
    primary.set("synchronous_standby_names", "*")
    until(primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
    with _halted(standby.ask("SELECT pid FROM pg_stat_wal_receiver")):
        until(primary, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        reached = primary.ask("SELECT pg_current_wal_flush_lsn()")  # by what was committed before that
    until(standby, f"SELECT pg_last_wal_receive_lsn() >= '{reached}'")


def cut_off(standby: Postgres) -> None:
    """It receives nothing any more: with synchronous replication, commits wait from here on."""
    standby.set("primary_conninfo", "")
    until(standby, "SELECT count(*) = 0 FROM pg_stat_wal_receiver")


@contextmanager
def _halted(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def until(server: Postgres, holds: str) -> None:
    give_up = time.monotonic() + RESCUE
    while not server.ask(holds):
        if time.monotonic() > give_up:
            raise SystemExit(f"not so: {holds}")
        time.sleep(0.05)


FAULTS: Mapping[str, Callable[[Fleet], str]] = {
    "postgresql": kill,
    "postgresql-restarted": restart,
    "postgresql-terminated": terminate,
    "postgresql-read-only": default_to_read_only,
    "postgresql-standby": demote,
    "postgresql-promoted": promote,
}
MOVING = frozenset({"postgresql-promoted"})  # those that need a way that can lead elsewhere
