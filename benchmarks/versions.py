"""This checkout beside another one, in one run: what a change has made dearer or cheaper.

`python -m benchmarks.versions OTHER` needs a `.venv` in both (`make venv`).  Both
servers are started with the same settings and measured by turns; a ratio above 1
says that this checkout asks for more CPU.  The other one stands in every table
twice, so that its own spread can be seen beside the difference.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

from attrs import define, field

from tests.command_line import make_parser
from tests.servers import Missing as NoPostgres
from tests.servers import Postgres

from . import fanout, graphql, http, ingest, wires
from .contest import Contest, Run, measured, started
from .ours import Multiproto

HERE = Path(__file__).parent.parent
PROXIES = {"TRUSTED_PROXIES": "127.0.0.0/8"}
FORWARDED = {"X-Forwarded-For": "203.0.113.7"}
DURABLE = "bench.durable.in"  # in a namespace of server.toml
PUBLISHERS = 1, 10, 100


@define(eq=False)
class Version(Multiproto):
    """The server of a checkout."""

    checkout: Path = field(kw_only=True, default=HERE)

    def _command(self, port: int, directory: Path) -> Sequence[str]:
        _, *arguments = super()._command(port, directory)
        return [str(self.checkout / ".venv/bin/twistd"), *arguments]


def versions(other: Path, **options: Any) -> list[Version]:
    """This one, the other one, and the other one again."""
    return [
        Version(name="multiproto", **options),
        Version(name="other", checkout=other, **options),
        Version(name="other, again", checkout=other, **options),
    ]


def contest(title: str, unit: str, servers: Sequence[Version], run_for: Callable[[Version], Run]) -> Any:
    runs = {each.name: run_for(each) for each in servers}
    return lambda rounds, seconds: Contest(title, unit).run(runs, rounds, seconds)


def http_contests(servers: Sequence[Version], suffix: str, added: dict[str, str]) -> Iterator[Any]:
    people = {each: [each.register(number) for number in range(http.USERS)] for each in servers}
    small = [wires.request("GET", "/health/live", b'"alive"', wires.BROWSER | added)]

    def headers(of: Version) -> dict[str, str]:
        return wires.BROWSER | added | {"Authorization": f"Bearer {people[of][0]['token']}"}

    def users(of: Version) -> Run:
        return http.asking(of, http.reads([each["user"]["id"] for each in people[of]], headers(of)))

    def message(of: Version) -> Run:
        body = {"content": "x" * 100, "channelId": "bench"}
        post = wires.request("POST", "/api/v1/messages", b"xxxxxxxx", headers(of), body)
        return http.asking(of, [post], status=201)

    def explained(of: Version) -> Run:
        return http.asking(of, http.explanations(headers(of)))

    yield contest(f"GET a small public JSON{suffix}", "request", servers, lambda of: http.asking(of, small))
    yield contest(
        f"{http.DEPTH} in one write{suffix}",
        "request",
        servers,
        lambda of: http.asking(of, small, http.DEPTH),
    )
    yield contest(f"GET a user by id{suffix}", "request", servers, users)
    yield contest(f"POST a message{suffix}", "request", servers, message)
    yield contest(f"GET one of {http.PATHS:,} paths{suffix}", "request", servers, explained)


def graphql_contests(servers: Sequence[Version]) -> Iterator[Any]:
    people = {each: [each.register(number) for number in range(graphql.USERS)] for each in servers}

    def one(of: Version) -> Run:
        id = people[of][7]["user"]["id"]
        return graphql.asking(of, graphql.query(headers(of), graphql.ONE, f'"id":"{id}"', id=id))

    def listed(of: Version) -> Run:
        oldest = f"user{graphql.USERS - graphql.LISTED}@"
        return graphql.asking(of, graphql.query(headers(of), graphql.LIST, oldest))

    def headers(of: Version) -> dict[str, str]:
        return wires.BROWSER | {"Authorization": f"Bearer {people[of][0]['token']}"}

    yield contest("GraphQL: one object by its id", "query", servers, one)
    yield contest(f"GraphQL: a list of {graphql.LISTED} objects", "query", servers, listed)


def fanout_contests(servers: Sequence[Version]) -> Iterator[Any]:
    sockets = {}
    for each in servers:
        open_, frame = fanout.ours(each)
        sockets[each] = open_(False), [open_(True) for _ in range(fanout.SUBSCRIBERS)], frame

    def publishing(window: int) -> Callable[[Version], Run]:
        return lambda of: fanout.publishing(of, *sockets[of], window)

    for window, words in fanout.WINDOWS.items():
        title = f"{fanout.SUBSCRIBERS} subscribers, messages {words}"
        yield contest(title, "delivery", servers, publishing(window))


def ingest_contests(servers: Sequence[Version]) -> Iterator[Any]:
    tokens = {each: each.token() for each in servers}
    ways: dict[str, Callable[[Version, str], Run]] = {
        "Messages over WebSocket": ingest.ours_over_websocket,
        "Messages over framed TCP": ingest.ours_over_tcp,
        "Round trips over WebSocket, publish and ack": ingest.acknowledged_websocket,
        "Round trips over framed TCP, publish and ack": ingest.acknowledged_tcp,
        "Round trips over framed TCP, PING and PONG": ingest.pinging,
        "Round trips over WebSocket, /ws-echo": lambda of, _: ingest.echoing(of, "/ws-echo"),
    }
    for title, way in ways.items():
        yield contest(title, "message", servers, lambda of, way=way: way(of, tokens[of]))


def durable_contests(servers: Sequence[Version], engine: str) -> Iterator[Any]:
    tokens = {each: each.token() for each in servers}

    def publishing(count: int) -> Callable[[Version], Run]:
        return lambda of: ingest.acknowledged_tcp(of, tokens[of], DURABLE, count)

    for count in PUBLISHERS:
        title = f"Durable publications over framed TCP by {count}, {engine}"
        yield contest(title, "publication", servers, publishing(count))


def measure(other: Path, areas: Sequence[str], rounds: int, seconds: float) -> Iterator[Contest]:
    def run(contests: Iterator[Any]) -> Iterator[Contest]:
        yield from (each(rounds, seconds) for each in contests)

    def with_servers(make: Callable[[Sequence[Version]], Iterator[Any]], **options: Any) -> Iterator[Contest]:
        servers = versions(other, **options)
        with started(servers) as (_, missing):
            if missing:
                raise SystemExit(str(missing))
            yield from run(make(servers))

    if "http" in areas:
        yield from with_servers(lambda servers: http_contests(servers, "", {}))
        yield from with_servers(
            lambda servers: http_contests(servers, ", behind a trusted proxy", FORWARDED), settings=PROXIES
        )
        # A user by id, and a message.
        yield from on_postgresql(
            other, lambda servers: run(islice(http_contests(servers, ", PostgreSQL", {}), 2, 4))
        )
    if "graphql" in areas:
        yield from with_servers(graphql_contests)
    if "fanout" in areas:
        yield from with_servers(fanout_contests)
    if "ingest" in areas:
        yield from with_servers(ingest_contests, settings={"WEBSOCKET_ECHO_ENABLED": "true"})
    if "durable" in areas:
        yield from with_servers(lambda servers: durable_contests(servers, "SQLite"))
        yield from on_postgresql(other, lambda servers: run(durable_contests(servers, "PostgreSQL")))


def on_postgresql(
    other: Path, measured_on: Callable[[Sequence[Version]], Iterator[Contest]]
) -> Iterator[Contest]:
    try:
        postgres = Postgres(fsync=True)
    except NoPostgres as why:
        print(f"without PostgreSQL: {why}\n")
        return
    try:
        servers = versions(other)
        for each in servers:
            each.database = postgres.new_database()
        with started(servers):
            yield from measured_on(servers)
    finally:
        postgres.stop()


def main(arguments: Sequence[str]) -> None:
    parser = make_parser(
        f"{__doc__}\nAll other options are those of an area: python -m benchmarks.http --help"
    )
    parser.add_argument("other", type=Path, metavar="OTHER", help="the other checkout")
    parser.add_argument(
        "--areas", nargs="+", default=["http", "graphql", "fanout", "ingest", "durable"], help="(%(default)s)"
    )
    options, others = parser.parse_known_args(arguments)
    other = options.other.resolve()

    def measure_both(rounds: int, seconds: float) -> Iterator[Contest]:
        return measure(other, options.areas, rounds, seconds)

    measured("versions", str(__doc__), measure_both, ["--json", "benchmarks/versions.json", *others])


if __name__ == "__main__":
    main(sys.argv[1:])
