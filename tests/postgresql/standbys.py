"""A primary and its synchronous standby, and what can happen to them."""

from __future__ import annotations

import time
from typing import Any, Sequence

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.servers import Postgres
from tests.timing import RESCUE

from .cases import DatabaseCase

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class Standby(Postgres):
    """Follows its primary, or stays where it is while it is cut off."""

    is_cut_off = False

    def command(self) -> Sequence[str]:
        return [*super().command(), *(["--primary_conninfo="] if self.is_cut_off else [])]

    def restart(self, is_cut_off: bool) -> None:
        self.kill()
        self.is_cut_off = is_cut_off
        self.start()


class StandbyCase(DatabaseCase):
    """`server` is the primary, whose commits wait for `standby`."""

    is_patient = False

    def setUp(self) -> Deferred[None] | None:
        super().setUp()
        self.standby = Standby(primary=self.server)
        self.addCleanup(self.standby.stop)
        self.addCleanup(self.wait_for_none)
        self.server.set("synchronous_standby_names", "*")
        until(self.server, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
        return None

    def use_server(self) -> Postgres:
        server = Postgres()
        self.addCleanup(server.stop)
        return server

    @property
    def standby_conninfo(self) -> str:
        """The address of the same database there."""
        return self.conninfo.replace(f":{self.server.port}/", f":{self.standby.port}/")

    def wait_for_none(self) -> None:
        """Commits wait for no standby any more."""
        if not self.server.has_ended:
            self.server.set("synchronous_standby_names", "")

    def cut_off(self) -> None:
        """The standby gets nothing more, and what is committed from here on waits."""
        self.standby.restart(is_cut_off=True)

    def reconnect(self) -> None:
        self.standby.restart(is_cut_off=False)

    def promote(self) -> None:
        self.standby.ask("SELECT pg_promote()")

    async def commit_waits(self) -> None:
        """Returns when a COMMIT waits for the standby."""
        await true(self.server, f"{WAITING} HAVING count(*) > 0")

    def signal_waiting(self, function: str) -> None:
        """`pg_terminate_backend`, say, of every session whose COMMIT waits."""
        self.server.ask(f"SELECT count({function}(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


def until(server: Postgres, holds: str) -> None:
    """Blocks until the query `holds` gives true."""
    give_up = time.monotonic() + RESCUE
    while not server.ask(holds):
        assert time.monotonic() < give_up, holds
        time.sleep(0.02)


async def true(server: Postgres, query: str) -> None:
    """Return when `query` has a row."""
    while not server.ask(f"SELECT count(*) FROM ({query}) AS found"):
        await later(0.01)


def later(seconds: float) -> Deferred[Any]:
    return deferLater(reactor, seconds)  # type: ignore[arg-type]
