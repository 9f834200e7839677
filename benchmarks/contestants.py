"""Three ways to ask PostgreSQL from Python, each in a process of its own, on orders from `drivers.py`.

    reactor   ours: psycopg's `pq` in pipeline mode on the reactor
    asyncio   psycopg's `AsyncConnection`s on an asyncio loop
    threads   psycopg's `Connection`s in a thread pool of the reactor

All read the same row, and commit the same unit: a message with its event,
behind the head's lock.  `single` commits each for itself, `grouped` all that
came while the last transaction was under way.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from typing import Any, Awaitable, Callable, Sequence

from attrs import define, field
from psycopg import AsyncConnection, Connection
from psycopg.rows import dict_row
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from multiproto.base.timestamps import format_timestamp
from multiproto.base.uuid7 import Uuid7Generator
from multiproto.core.transactions import Event, Step, Unit
from multiproto.storage.postgresql.connection import StatementCall
from multiproto.storage.postgresql.connector import PostgresConnector
from multiproto.storage.postgresql.read_queue import PostgresReadQueue, read_session_settings
from multiproto.storage.postgresql.statements import to_prepared_statements
from multiproto.storage.postgresql.store import PostgresStore
from multiproto.storage.postgresql.transaction import new_mark
from multiproto.storage.rows import event_to_row
from multiproto.storage.statements import load_statements, sql_directory
from tests.command_line import make_parser

from .apart import obey
from .figures import race

CONNECTIONS = 20  # as many as the server opens at most
MOST = 400  # units in one transaction
STATEMENTS = load_statements(sql_directory("postgresql") / "queries")
SQL = {name: re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", text).encode() for name, text in STATEMENTS.items()}
AS_USUAL: dict[str, Any] = {"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0}
new_id = Uuid7Generator(time.time)


def unit(user: str) -> Unit:
    """A message of about 200 bytes."""
    id, at, text = new_id(), format_timestamp(time.time()), "x" * 180
    params = {"id": id, "user_id": user, "content": text, "channel_id": "c", "recipient_id": None, "at": at}
    event = Event(id, "message.sent", ("messages",), {"text": text}, id, at, "messages.**", user)
    return Unit((Step("message_add", params, expected_rows=1, event=0),), (event,))


def rows_behind(head: int, units: Sequence[Unit]) -> tuple[list[Any], list[Any]]:
    """Of messages, and of events."""
    messages = [unit.steps[0].params_behind(position) for position, unit in enumerate(units, head)]
    return messages, [event_to_row(position, unit.events[0]) for position, unit in enumerate(units, head + 1)]


def next_head(head: Any, events: int) -> dict[str, object]:
    """The row of a transaction with so many, behind the one that left `head`."""
    return {"number": head["number"] + 1, "position": head["position"] + events, "mark": new_mark()}


@define(eq=False)
class OnReactor:
    conninfo: str
    user: str
    _reactor: Any
    _reads: Any = None
    _one_row: Any = None
    _single: Any = None
    _grouped: Any = None

    async def start(self) -> None:
        statements = to_prepared_statements(STATEMENTS)
        dialer = PostgresConnector(
            self.conninfo, self._reactor, list(statements.values()), read_session_settings(5), 6
        )
        self._reads = PostgresReadQueue(dialer, self._reactor, 1, CONNECTIONS - 1, 10_000)
        self._one_row = [StatementCall(statements["user_by_id"], {"id": self.user})]
        await self._reads.start()
        self._single, self._grouped = (
            PostgresStore(self.conninfo, self._reactor, lambda *of: None, max_batch=batch)
            for batch in (1, MOST)
        )
        await self._single.startService()
        await self._grouped.startService()

    async def read(self) -> None:
        (result,) = await self._reads.execute(self._one_row)
        assert result.rows[0]["id"] == self.user

    def single(self) -> Awaitable[object]:
        return self._single.commit(unit(self.user))  # type: ignore[no-any-return]

    def grouped(self) -> Awaitable[object]:
        return self._grouped.commit(unit(self.user))  # type: ignore[no-any-return]


@define(eq=False)
class OnAsyncio:
    """Lends connections from a stack, which is less than `psycopg_pool` does."""

    conninfo: str
    user: str
    _free: asyncio.LifoQueue[AsyncConnection[Any]] = field(factory=asyncio.LifoQueue)
    _writer: Any = None
    _waiting: list[tuple[Unit, asyncio.Future[None]]] = field(factory=list)
    _writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for _ in range(CONNECTIONS - 1):
            self._free.put_nowait(await AsyncConnection.connect(self.conninfo, **AS_USUAL))
        self._writer = await AsyncConnection.connect(self.conninfo, **AS_USUAL)

    async def read(self) -> None:
        connection = await self._free.get()
        row = await (await connection.execute(SQL["user_by_id"], {"id": self.user})).fetchone()
        assert row["id"] == self.user  # type: ignore[index]
        self._free.put_nowait(connection)

    async def single(self) -> None:
        connection = await self._free.get()
        await self._commit(connection, [unit(self.user)])
        self._free.put_nowait(connection)

    async def grouped(self) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((unit(self.user), done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            await self._commit(self._writer, [unit for unit, _ in taken])
            for _, done in taken:
                done.set_result(None)
        self._writing = None

    async def _commit(self, connection: AsyncConnection[Any], units: Sequence[Unit]) -> None:
        async with connection.pipeline(), connection.cursor() as cursor:
            await cursor.execute(b"BEGIN")
            await cursor.execute(SQL["log_lock"])
            await cursor.execute(SQL["log_head"])
            head = await cursor.fetchone()
            position = head["position"]  # type: ignore[index]
            messages, events = rows_behind(position, units)
            await cursor.executemany(SQL["message_add"], messages)
            await cursor.executemany(SQL["log_append"], events)
            await cursor.execute(SQL["head_add"], next_head(head, len(units)))
            await cursor.execute(SQL["log_notify"])
            await cursor.execute(b"COMMIT")


@define(eq=False)
class OnThreads:
    conninfo: str
    user: str
    _reactor: Any
    _pool: ThreadPool = field(factory=lambda: ThreadPool(CONNECTIONS, CONNECTIONS))
    _own: threading.local = field(factory=threading.local)
    _waiting: list[tuple[Unit, Deferred[None]]] = field(factory=list)
    _writing: bool = False

    async def start(self) -> None:
        self._pool.start()
        self._reactor.addSystemEventTrigger("during", "shutdown", self._pool.stop)

    def read(self) -> Awaitable[object]:
        return deferToThreadPool(self._reactor, self._pool, self._read)

    def single(self) -> Awaitable[object]:
        return deferToThreadPool(self._reactor, self._pool, self._commit, [unit(self.user)])

    def grouped(self) -> Awaitable[object]:
        done: Deferred[None] = Deferred()
        self._waiting.append((unit(self.user), done))
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write())
        return done

    async def _write(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            await deferToThreadPool(self._reactor, self._pool, self._commit, [unit for unit, _ in taken])
            for _, done in taken:
                done.callback(None)
        self._writing = False

    @property
    def _connection(self) -> Connection[Any]:
        """The one of this thread."""
        if not hasattr(self._own, "connection"):
            self._own.connection = Connection.connect(self.conninfo, **AS_USUAL)
        return self._own.connection  # type: ignore[no-any-return]

    def _read(self) -> None:
        row = self._connection.execute(SQL["user_by_id"], {"id": self.user}).fetchone()
        assert row["id"] == self.user  # type: ignore[index]

    def _commit(self, units: Sequence[Unit]) -> None:
        connection = self._connection
        with connection.pipeline(), connection.cursor() as cursor:
            cursor.execute(b"BEGIN")
            cursor.execute(SQL["log_lock"])
            cursor.execute(SQL["log_head"])
            head = cursor.fetchone()
            position = head["position"]  # type: ignore[index]
            messages, events = rows_behind(position, units)
            cursor.executemany(SQL["message_add"], messages)
            cursor.executemany(SQL["log_append"], events)
            cursor.execute(SQL["head_add"], next_head(head, len(units)))
            cursor.execute(SQL["log_notify"])
            cursor.execute(b"COMMIT")


Race = Callable[[Sequence[Callable[[], Awaitable[object]]], float], Awaitable[tuple[int, float]]]


async def race_on_asyncio(
    doing: Sequence[Callable[[], Awaitable[object]]], seconds: float
) -> tuple[int, float]:
    begun = time.perf_counter()

    async def keep_on(do: Callable[[], Awaitable[object]]) -> int:
        count = 0
        while time.perf_counter() - begun < seconds:
            await do()
            count += 1
        return count

    counts = await asyncio.gather(*map(keep_on, doing))
    return sum(counts), time.perf_counter() - begun


async def serve(contestant: Any, race: Race, **how: Any) -> None:
    async def race_it(work: str, callers: int, seconds: float) -> dict[str, float]:
        cpu = time.process_time()
        done, took = await race([getattr(contestant, work)] * callers, seconds)
        return {"done": done, "took": took, "cpu": time.process_time() - cpu}

    await contestant.start()
    await obey({"race": race_it}, **how)


def main(name: str, user: str) -> None:
    conninfo = os.environ["DATABASE_URL"]
    if name == "asyncio":
        orders = {"next_line": lambda: asyncio.to_thread(sys.stdin.readline)}
        asyncio.run(serve(OnAsyncio(conninfo, user), race_on_asyncio, **orders))
        return
    way = {"reactor": OnReactor, "threads": OnThreads}[name]
    react(lambda reactor: Deferred.fromCoroutine(serve(way(conninfo, user, reactor), race)))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "name", metavar="NAME", choices=("reactor", "asyncio", "threads"), help="one of the three"
    )
    parser.add_argument("user", metavar="USER", help="id of the author; the database is that of DATABASE_URL")
    options = parser.parse_args()
    main(options.name, options.user)
