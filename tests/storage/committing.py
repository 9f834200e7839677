"""A process that commits without pause and prints each unit's number once it is acknowledged.

Run as `python -m tests.storage.committing DIRECTORY`, and killed by its parent.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from multiproto.storage.sqlite.store import SqliteStore

from .units import add_message, add_user, event

AT_ONCE = 20  # units on their way


async def _commit_for_ever(directory: Path) -> None:
    store = SqliteStore(directory, reactor, reactor, lambda *observed: None)
    store.open()
    await store.commit(add_user("ada"))
    numbers = count()

    async def one_after_another() -> None:
        for n in numbers:
            await store.commit(add_message(f"m{n}", "ada", n, event(f"e{n}", f"m{n}", n=n)))
            print(n, flush=True)

    for _ in range(AT_ONCE):
        Deferred.fromCoroutine(one_after_another())


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_commit_for_ever(Path(sys.argv[1]))))
    reactor.run()
