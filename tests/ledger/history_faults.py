"""What takes another history than the instances know into their database: failovers and restores.

Each returns when all is well again, and says how long what took.  What the log
was before, and up to where it is still so, is added to the fleet's `partings`.
"""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping

import psycopg

from tests.servers import Postgres
from tests.timing import RESCUE

from . import log
from .histories import Parting
from .log import Log
from .logouts import Logout
from .postgresql_faults import cut_off, end_sessions, synchronize, until

if TYPE_CHECKING:
    from .fleet import Fleet

TAIL = (0.5, 3.0)  # seconds for which a standby lacks what is written, or that passed since a dump
PAUSE = 1.0  # seconds, at most, until a standby is promoted
SPLIT = 5.0  # seconds for which one instance is on the former primary
ATTEMPTS = 5  # to restore
# Of pg_restore, so that in a deadlock the instances give way: else it fails on every attempt, see docs/instances.md.
PATIENT = "-c deadlock_timeout=1min"
APART = (0.0, 0.15, 0.5)  # seconds between the instances' arrivals at a new primary


def fail_over(fleet: Fleet, apart: float) -> str:
    """A synchronous standby takes over, and the instances come to it `apart` from each other.

    The primary may have been cut off from its standby before it died: then
    commits of every instance are waiting, and its sessions may be ended while they do.
    """
    former, standby = fleet.postgres, Postgres(primary=fleet.postgres)
    synchronize(former, standby)
    logout = fleet.prepare_logout()
    before = fleet.random.choice(("", "while commits waited", "while commits waited and sessions ended"))
    if before:
        cut_off(standby)
        until(former, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        time.sleep(fleet.random.uniform(0, 0.3))
    if before.endswith("ended"):
        end_sessions(former)
        time.sleep(fleet.random.uniform(0, 0.5))
    former.kill()
    said = _take_over(fleet, standby, logout, partial(_arrive, fleet, standby, apart, logout))
    return f"failed over{before and ' '}{before}, {apart:g} s apart; {said}"


def promote_a_late_standby(fleet: Fleet) -> str:
    """It is asynchronous, and lacks what was acknowledged last."""
    former, standby = fleet.postgres, Postgres(primary=fleet.postgres)
    logout = fleet.prepare_logout()
    reached = former.ask("SELECT pg_current_wal_flush_lsn()")
    until(standby, f"SELECT pg_last_wal_replay_lsn() >= '{reached}'")
    cut_off(standby)
    time.sleep(fleet.random.uniform(*TAIL))
    former.kill()
    apart = fleet.random.choice(APART)
    lead = partial(_arrive, fleet, standby, apart, logout)
    said = _take_over(fleet, standby, logout, lead, takes_away=True)
    return f"promoted a late standby, {apart:g} s apart; {said}"


def split(fleet: Fleet) -> str:
    """The standby is promoted while the primary lives on: one instance stays there, where commits wait for ever."""
    former, standby = fleet.postgres, Postgres(primary=fleet.postgres)
    synchronize(former, standby)
    logout = fleet.prepare_logout()
    cut_off(standby)
    *early, last = fleet.random.sample(range(len(fleet.instances)), len(fleet.instances))

    def lead() -> None:
        for number in early:
            fleet.lead(number, standby.port)
        logout.begin(fleet.instances[early[0]].ports.http)
        time.sleep(SPLIT)
        fleet.lead(last, standby.port)
        former.kill()

    said = _take_over(fleet, standby, logout, lead)
    return f"promoted a standby beside its primary, for {SPLIT:g} s; {said}"


def restore(fleet: Fleet) -> str:
    """A dump of the running database is restored under the running instances, as docs/instances.md says it."""
    logout, dump = fleet.prepare_logout(), fleet.directory / "multiproto.dump"
    kept = _dump(fleet, dump)
    time.sleep(fleet.random.uniform(*TAIL))
    former = _restore(fleet, dump)
    fleet.partings.append(Parting(former, kept, time.time(), takes_away=True))
    logout.begin(fleet.random.choice(fleet.instances).ports.http)
    return f"restored a dump that lacked {len(former.entries) - kept} events; {_heal(fleet, logout)}"


def _dump(fleet: Fleet, file: Path) -> int:
    """Give the position up to which `file` has the log."""
    with psycopg.connect(fleet.database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        snapshot, kept = connection.execute(
            "SELECT pg_export_snapshot(), (SELECT coalesce(max(position), 0) FROM events)"
        ).fetchone() or ("", 0)
        command = [*_program(fleet, "pg_dump"), "--format=custom", f"--snapshot={snapshot}"]
        subprocess.run([*command, f"--file={file}", fleet.database_url], check=True)
    return int(kept)


def _restore(fleet: Fleet, file: Path) -> Log:
    """Give the whole log as it was at the moment at which it was replaced.

    This holds a lock on the events with which the restore has to wait for it,
    behind which no writer comes any more: what can be read then is all there ever was.
    """
    options = ("--clean", "--if-exists", "--single-transaction", f"--dbname={fleet.database_url}")
    for _ in range(ATTEMPTS):
        with (
            psycopg.connect(fleet.database_url) as holder,
            psycopg.connect(fleet.database_url, autocommit=True) as other,
        ):
            terms = other.execute(log.TERMS).fetchall()
            events = other.execute("SELECT 'events'::regclass::oid").fetchone() or (0,)
            holder.execute("LOCK TABLE events IN ACCESS SHARE MODE")
            process = subprocess.Popen(
                [*_program(fleet, "pg_restore"), *options, str(file)],
                env={**os.environ, "PGOPTIONS": PATIENT},
                stderr=subprocess.PIPE,
            )
            alone = (
                "SELECT bool_or(NOT granted AND mode = 'AccessExclusiveLock')"
                f" AND NOT bool_or(granted AND pid <> {holder.info.backend_pid})"
                f" FROM pg_locks WHERE relation = {events[0]}"
            )
            while process.poll() is None and not (other.execute(alone.encode()).fetchone() or (False,))[0]:
                time.sleep(0.005)
            rows = holder.execute(log.ROWS).fetchall()
        _, said = process.communicate(timeout=RESCUE)
        if process.returncode == 0:
            return log.from_rows(terms, rows)
        print(f"        pg_restore failed, and is tried again: {said.decode().strip()}", flush=True)
    raise SystemExit(f"pg_restore failed {ATTEMPTS} times")


def _program(fleet: Fleet, name: str) -> list[str]:
    return [str(fleet.postgres.programs / name)]


def _arrive(fleet: Fleet, standby: Postgres, apart: float, logout: Logout) -> None:
    """The instances are led to `standby`, one after the other; as soon as one is there, the user logs out by it."""
    order = fleet.random.sample(range(len(fleet.instances)), len(fleet.instances))
    begun = time.monotonic()
    for place, number in enumerate(order):
        time.sleep(max(0.0, begun + place * apart - time.monotonic()))
        fleet.lead(number, standby.port)
        if place == 0:
            logout.begin(fleet.instances[number].ports.http)


def _take_over(
    fleet: Fleet, standby: Postgres, logout: Logout, lead: Callable[[], None], takes_away: bool = False
) -> str:
    """Promote `standby`, `lead` the instances there, and see that all is well; the former primary has ended then."""
    former = fleet.postgres
    time.sleep(fleet.random.uniform(0, PAUSE))
    standby.ask("SELECT pg_promote()")
    with psycopg.connect(fleet.database_url_on(standby)) as connection:
        kept = (connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone() or (0,))[0]
    lead()
    led = time.time()
    fleet.postgres = standby
    try:
        return _heal(fleet, logout)
    finally:
        former.start()  # nobody is led there any more: only to read what it had
        whole = log.from_postgresql(fleet.database_url_on(former))
        fleet.partings.append(Parting(whole, kept, led, takes_away))
        former.stop()


def _heal(fleet: Fleet, logout: Logout) -> str:
    healed = fleet.health.until_healed()
    return f"well {healed:.2f} s after; {logout.check()}"


FAULTS: Mapping[str, Callable[[Fleet], str]] = {
    **{
        f"failover{f'-{1000 * apart:.0f}' if apart else ''}": partial(fail_over, apart=apart)
        for apart in APART
    },
    "standby-lag": promote_a_late_standby,
    "split": split,
    "restore": restore,
    "restore-quiet": restore,
}
MOVING = frozenset(FAULTS) - {"restore", "restore-quiet"}  # those that need ways that can lead elsewhere
QUIET = frozenset({"restore-quiet"})  # those during which nobody sends
