"""A process that commits one unit after another and says of each whether it was acknowledged.

Run as `python -m tests.live.syncing DIRECTORY MOST`; goes on when it is refused.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from multiproto.core.errors import Refusal
from multiproto.storage.sqlite.store import SqliteStore

from ..command_line import make_parser
from ..storage.units import published, say

ACKNOWLEDGED, REFUSED = "acknowledged", "refused"


async def _commit(directory: Path, most: int) -> None:
    store = SqliteStore(directory, reactor, reactor, lambda *observed: None)
    store.open()
    for n in range(most):
        try:
            await store.commit(say(published(f"e{n}", "telemetry.t", n)))
            outcome = ACKNOWLEDGED
        except Refusal:
            outcome = REFUSED
        os.write(1, f"{outcome} e{n}\n".encode())  # unbuffered: in the order of the system calls
    os._exit(0)  # without folding the journal into the file, as after a crash


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="of the store")
    parser.add_argument("most", type=int, metavar="MOST", help="units")
    options = parser.parse_args()
    commit = partial(_commit, options.directory, options.most)
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(commit()))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
