"""A process that commits without pause and prints each unit's number once it is acknowledged.

Run as `python -m tests.storage.committing DIRECTORY`, and killed by its parent.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from multiproto.storage.sqlite.store import SqliteStore

from ..command_line import make_parser
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
    parser = make_parser(__doc__)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="of the store")
    directory = parser.parse_args().directory
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_commit_for_ever(directory)))
    reactor.run()
