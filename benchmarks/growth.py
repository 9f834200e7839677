"""What becomes more expensive with more patterns, subscribers, connections, publishers, or a longer log.

Each row is our server with so many of them; the last column is what one
operation costs beside the row with the fewest.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from typing import Callable, Iterator, Sequence

from attrs import define

from . import load, wires
from .contest import Contest, Run, busy, costs, measured, started
from .figures import Lap, table
from .ours import Multiproto

PATTERNS = 100, 1_000, 10_000, 100_000
PER_SESSION = 100  # patterns; no session may have more
SUBSCRIBERS = 10, 100, 1_000, 10_000
CONNECTIONS = 10, 100, 1_000, 10_000
EVENTS = 10_000, 100_000, 1_000_000  # in the log already
PUBLISHERS = 1, 10, 100, 400
MISSED = 1_000  # events that a subscriber comes back for
ASKING = 16  # connections with a question on its way
DURABLE = "bench.durable.log"
SHAPES = "{}", "{}.*", "{}.**"
# As many rows as a server that has run for long would have; only their number matters.
FILL = """
WITH RECURSIVE numbers (position) AS (SELECT 1 UNION ALL SELECT position + 1 FROM numbers WHERE position < :last)
INSERT INTO events (position, id, type, topics, content, subject, created_at, namespace, sender, metadata)
SELECT position, printf('00000000-0000-4000-8000-%012d', position), 'publication', '["bench.durable.old"]',
    '{"text":"some words that somebody published"}', 'ann', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
    'bench.durable.**', 'ann', NULL
FROM numbers WHERE position > :first
"""


@define
class Growth(Contest):
    def shown(self) -> str:
        heads = (
            "",
            f"CPU of one {self.unit}, µs",
            "/s",
            "p50, ms",
            "p99, ms",
            "busy %, server : generator",
            "× the first",
        )
        first = next(iter(self.series.values())).cpu
        rows = []
        for name, series in self.series.items():
            laps = [each for each in series.rounds if isinstance(each, Lap)]
            rows.append((name, *costs(series, laps), busy(laps), f"{series.cpu / first:.2f}"))
        return table(heads, rows)


def patterns(rounds: int, seconds: float) -> Iterator[Growth]:
    """One subscriber hears all; none of the others' patterns covers what is said."""
    servers = {count: Multiproto(name=f"{count:,} patterns") for count in PATTERNS}
    with started(servers.values()), ExitStack() as stack:
        runs: dict[str, Run] = {}
        for count, server in servers.items():
            token = server.token()
            for begin in range(0, count, PER_SESSION):
                crowd = stack.enter_context(closing(wires.ws_session(server.port, token)))
                wires.ws_subscribe_all(crowd, [pattern(each) for each in range(begin, begin + PER_SESSION)])
            runs[server.name] = published(stack, server, token, wires.TOPIC, 1, 16)
        yield Growth("Patterns that others subscribed to; one subscriber hears", "publication").run(
            runs, rounds, seconds
        )


def pattern(number: int) -> str:
    return SHAPES[number % len(SHAPES)].format(f"bench.p{number}")


def published(
    stack: ExitStack, server: Multiproto, token: str, topic: str, subscribers: int, window: int
) -> Run:
    opening = wires.ws_opening(token, topic)
    audience = [
        stack.enter_context(closing(wires.ws_enter(server.port, opening))) for _ in range(subscribers)
    ]
    publisher = stack.enter_context(closing(wires.ws_session(server.port, token)))
    frame = wires.ws_message(topic)
    return lambda seconds: load.fanout(server, publisher, audience, frame, window, seconds)


def subscribers(rounds: int, seconds: float) -> Iterator[Growth]:
    """Topics with more and more who hear them, at one server."""
    with started([server := Multiproto()]), ExitStack() as stack:
        token = server.token()
        runs = {
            f"{count:,} subscribers": published(stack, server, token, f"bench.s{count}", count, 1)
            for count in SUBSCRIBERS
        }
        yield Growth("Subscribers to the topic; one message at a time", "delivery").run(runs, rounds, seconds)


def connections(rounds: int, seconds: float) -> Iterator[Growth]:
    """All but a few are silent."""
    servers = {count: Multiproto(name=f"{count:,} connections") for count in CONNECTIONS}
    with started(servers.values()), ExitStack() as stack:
        runs: dict[str, Run] = {}
        for count, server in servers.items():
            token = server.token()
            opening = wires.ws_opening(token, "bench.silence")
            for _ in range(count):
                stack.enter_context(closing(wires.ws_enter(server.port, opening)))
            runs[server.name] = acknowledged(stack, server, token, "bench.in", ASKING)
        yield Growth(f"Silent WebSockets; {ASKING} publish and wait for the ack", "publication").run(
            runs, rounds, seconds
        )


def publishers(rounds: int, seconds: float) -> Iterator[Growth]:
    with started([server := Multiproto()]), ExitStack() as stack:
        token = server.token()
        for title, topic in (("nobody hears", "bench.in"), ("durable", DURABLE)):
            runs = {
                f"{count} publishers": acknowledged(stack, server, token, topic, count)
                for count in PUBLISHERS
            }
            yield Growth(f"Publishers over framed TCP, each waiting for its ack; {title}", "publication").run(
                runs, rounds, seconds
            )


def acknowledged(stack: ExitStack, server: Multiproto, token: str, topic: str, count: int) -> Run:
    fds = [stack.enter_context(closing(wires.tcp_session(server.tcp, token))) for _ in range(count)]
    frame = wires.tcp_final(topic, load.STAMP.decode())
    return lambda seconds: load.echo(server, fds, frame, seconds)


def log(rounds: int, seconds: float) -> Iterator[Growth]:
    servers = {count: Multiproto(name=f"{count:,} events") for count in EVENTS}
    with started(servers.values()), ExitStack() as stack:
        writing: dict[str, Run] = {}
        resuming: dict[str, Run] = {}
        for count, server in servers.items():
            token = server.token()
            server.again(lambda server=server, count=count: fill(server, count))
            writing[server.name] = acknowledged(stack, server, token, DURABLE, ASKING)
            resuming[server.name] = missed(stack, server, token)
        title = f"Events in the log; {ASKING} publish durably and wait for the ack"
        yield Growth(title, "publication").run(writing, rounds, seconds)
        title = f"Events in the log; subscribers come back for the last {MISSED:,}, one after the other"
        yield Growth(title, "event").run(resuming, rounds, seconds)


def fill(server: Multiproto, last: int) -> None:
    """While it does not run: so many events in its log."""
    with closing(sqlite3.connect(server.directory / "data" / "multiproto.db")) as database, database:
        (first,) = database.execute("SELECT position FROM head").fetchone()
        database.execute(FILL, {"first": first, "last": last})
        database.execute("UPDATE head SET position = ?", (last,))


def missed(stack: ExitStack, server: Multiproto, token: str) -> Run:
    publisher = stack.enter_context(closing(wires.tcp_session(server.tcp, token)))
    topic = "bench.durable.missed"
    after = str(wires.tcp_publish(publisher, topic, MISSED)["cursor"])
    for each in range(MISSED):
        wires.tcp_publish(publisher, topic, each)

    def run(seconds: float) -> Lap:
        return load.timed(server, lambda: comebacks(server, token, topic, after, seconds))

    return run


def comebacks(server: Multiproto, token: str, topic: str, after: str, seconds: float) -> tuple[int, int]:
    """How many events were told, and what was wrong: one lost or out of order, or the end."""
    told = faults = 0
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        with closing(wires.tcp_session(server.tcp, token)) as device:
            kind, _ = wires.tcp_ask(device, wires.SUBSCRIBE, topic=topic, after=after)
            faults += kind != wires.SUBSCRIBED
            came = 0
            while (said := wires.tcp_read(device))[0] == wires.SERVER_MESSAGE:
                faults += b"@@%08d" % came not in said[1]
                came += 1
            told += came
            faults += said[0] != wires.CAUGHT_UP or came != MISSED
    return told, faults


MEASURES: Sequence[Callable[[int, float], Iterator[Growth]]] = (
    patterns,
    subscribers,
    connections,
    publishers,
    log,
)


def measure(rounds: int, seconds: float) -> Iterator[Growth]:
    for each in MEASURES:
        yield from each(rounds, seconds)


if __name__ == "__main__":
    measured("growth", str(__doc__), measure, sys.argv[1:])
