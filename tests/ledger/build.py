"""The server, or the servers, that a run needs for the faults that are to befall it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Sequence

from tests.disks import Disk, NoDisk
from tests.fake_clock import FakeClock, NoFakeClock

from . import clock_faults, halt_faults, history_faults, postgresql_faults
from .fleet import FAULTS, Fleet
from .server import LOGGED, Server

CLOCKS = frozenset({"clock", "clocks", *clock_faults.FAULTS})
DISK = "disk"
MOVING = postgresql_faults.MOVING | history_faults.MOVING  # those that need ways that can lead elsewhere
OF_ONE_SERVER = frozenset({"instance", "clock", DISK})
DISK_SIZE = {True: 600, False: 100}  # megabytes, of PostgreSQL and of a file: what a load needs fits
__all__ = ["FAULTS", "OF_ONE_SERVER", "NotHere", "build", "has_halts", "has_long_leaps"]


class NotHere(Exception):
    """This machine lacks what a fault needs; says what."""


def has_long_leaps(faults: Sequence[str]) -> bool:
    """Whether the users of the load need tokens that outlive them."""
    return not CLOCKS.isdisjoint(faults)


def has_halts(faults: Sequence[str]) -> bool:
    """Whether the log is pruned while the load lasts."""
    return not halt_faults.FAULTS.keys().isdisjoint(faults)


def build(
    directory: Path, chance: random.Random, instances: int, faults: Sequence[str], mutant: str | None
) -> Server | Fleet:
    """Raises `NotHere`."""
    settings, before = {}, ""
    if prunes := has_halts(faults):
        settings, before = halt_faults.pruning(LOGGED), halt_faults.PRELUDE
    if has_long_leaps(faults):
        settings, before = clock_faults.long_lived(LOGGED), clock_faults.PRELUDE
    try:
        clock = FakeClock.make(directory) if has_long_leaps(faults) else None  # instances have their own
        disk = Disk.mount(DISK_SIZE[bool(instances)]) if DISK in faults else None
    except (NoDisk, NoFakeClock) as why:
        raise NotHere(str(why)) from None
    if not instances:
        return Server(directory, mutant, settings=settings, before=before, clock=clock, disk=disk)
    return Fleet(
        directory,
        chance,
        instances,
        database_moves=not MOVING.isdisjoint(faults),
        settings=settings,
        before=before,
        has_clocks=has_long_leaps(faults),
        disk=disk,
        prunes=prunes,
        mutant=mutant,
    )
