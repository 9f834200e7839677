"""An instance that is halted (SIGSTOP) while another one acknowledges, and prunes what the halted one has not read."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Callable, Mapping

import psycopg

if TYPE_CHECKING:
    from .fleet import Fleet

HALTED = 20.0  # seconds
KEPT = 50  # events of the topics that clients publish to: a load writes so many in a few seconds
PRELUDE = "from multiproto.log import pruner; pruner.INTERVAL = 0.5; "
ARCHIVE = "ledger_archive"  # what was ever in the log, pruned or not

# A row comes here in the transaction in which it comes into the log.
ARCHIVING = f"""
CREATE TABLE {ARCHIVE} AS SELECT position, id, type, topics, content, namespace FROM events;
CREATE FUNCTION {ARCHIVE}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO {ARCHIVE} SELECT position, id, type, topics, content, namespace FROM added;
    RETURN NULL;
END $$;
CREATE TRIGGER {ARCHIVE} AFTER INSERT ON events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {ARCHIVE}();
"""


def namespace(logged: str) -> str:
    return f"{logged}.**"


def pruning(logged: str) -> dict[str, str]:
    """Settings with which the pruner always has something to do."""
    return {"NAMESPACES": json.dumps([{"match": namespace(logged), "most": KEPT}])}


def begin_archive(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(ARCHIVING.encode())


def halt(fleet: Fleet) -> str:
    """Meanwhile somebody logs out on another one."""
    one, *others = fleet.random.sample(fleet.instances, len(fleet.instances))
    logout = fleet.prepare_logout()
    one.signal(signal.SIGSTOP)
    try:
        logout.begin(others[0].ports.http)
        time.sleep(HALTED)
    finally:
        one.signal(signal.SIGCONT)
    healed = fleet.health.until_healed()
    return f"halted one instance for {HALTED:g} s; well {healed:.2f} s after; {logout.check()}"


FAULTS: Mapping[str, Callable[[Fleet], str]] = {"halt": halt}
