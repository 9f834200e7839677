"""The goals, and how far we are from them: ratios of CPU for one operation, ours to that of others; lower is better."""

from __future__ import annotations

from statistics import median
from typing import Any, Iterator

from attrs import frozen

from .figures import table

NODE_HTTP, SQLITE, POSTGRES = "node:http", "multiproto, SQLite", "multiproto, PostgreSQL"
IDLE = "multiproto, session and subscription"
FLOOR = "C, one system call each"


@frozen
class Goal:
    area: str
    title: str  # how the contest's title begins
    ours: str  # a row
    theirs: str  # another
    most: float
    what: str = "cpu"


@frozen
class Bound:
    """Of ours alone, in the unit of `what`."""

    title: str
    most: float
    what: str


GET, PIPELINED, USER, POST = "GET a small", "The same, 16", "GET /api/v1/users", "POST /api/v1/messages"
ONE, SIXTEEN = "1000 subscribers, messages one", "1000 subscribers, messages 16"
WS_IN, TCP_IN = "Messages of 100 bytes over WebSocket", "Messages of 100 bytes over framed TCP"
WS_ECHO, TCP_ECHO = "Round trips over WebSocket", "Round trips over framed TCP"
GOALS = (
    Goal("http", GET, "multiproto", NODE_HTTP, 0.75),
    Goal("http", GET, "multiproto", "fastify", 0.7),
    Goal("http", GET, "multiproto", "Express", 0.15),
    Goal("http", GET, "multiproto", "Starlette", 0.35),
    Goal("http", GET, "multiproto", FLOOR, 2.2),
    Goal("http", PIPELINED, "multiproto", NODE_HTTP, 0.35),
    Goal("http", USER, POSTGRES, "fastify, pg", 0.5),
    Goal("http", POST, POSTGRES, "fastify, pg", 0.7),
    Goal("http", POST, SQLITE, "fastify, pg", 0.6),
    Goal("fanout", ONE, "multiproto", "Node ws", 0.85),
    Goal("fanout", ONE, "multiproto", "nats-server", 0.85),
    Goal("fanout", ONE, "multiproto", "Mosquitto, QoS 0", 0.85),
    Goal("fanout", ONE, "multiproto", "Redis pub/sub", 1.15),
    Goal("fanout", ONE, "multiproto", FLOOR, 1.4),
    Goal("fanout", SIXTEEN, "multiproto", "Node ws", 0.1),
    Goal("fanout", SIXTEEN, "multiproto", "nats-server", 0.6),
    Goal("fanout", SIXTEEN, "multiproto", "Redis pub/sub", 0.9),
    Goal("ingest", TCP_IN, "multiproto, published", "Node net, decoded", 0.75),
    Goal("ingest", WS_IN, "multiproto, published", "Node ws, decoded", 0.9),
    Goal("ingest", TCP_ECHO, "multiproto, PING and PONG", "Node net, decoded and encoded", 0.8),
    Goal("ingest", WS_ECHO, "multiproto /ws-echo", "Node ws", 0.9),
    Goal("graphql", "One object", "multiproto", "graphql-yoga", 0.4),
    Goal("graphql", "A list", "multiproto", "graphql-yoga", 0.9),
    Goal("idle", "10000", IDLE, "Node ws, handshake only", 1.5, "KiB"),
    Goal("idle", "10000", IDLE, "Node ws, handshake only", 1.1, "accept"),
    Goal("growth", "Patterns", "100,000 patterns", "100 patterns", 1.5),
    Goal("workers", "Mixed load", "1 worker", "2 workers", 1 / 1.6, "alone"),
)
BOUNDS = Bound("10000 idle", 12, "KiB"), Bound("2000 idle", 6, "KiB")


def shown(found: dict[str, dict[str, Any]]) -> str:
    """`found` is the content of each area's file, by its name."""
    heads = "", "of", "beside", "goal, at most", "measured", ""
    return table(heads, [*ratios(found), *bounds(found)])


def ratios(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for goal in GOALS:
        contest = contest_of(found, goal.area, goal.title)
        ours, theirs = (middle(contest, name, goal.what) for name in (goal.ours, goal.theirs))
        begins = f"{goal.title} …", goal.ours, f"{goal.theirs}, {goal.what}", f"{goal.most:g} ×"
        yield (*begins, *verdict(ours / theirs if ours and theirs else None, goal.most, " ×"))


def bounds(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for bound in BOUNDS:
        value = middle(contest_of(found, "idle", bound.title), IDLE, bound.what)
        begins = f"{bound.title} …", IDLE, "", f"{bound.most:g} {bound.what}"
        yield (*begins, *verdict(value, bound.most, f" {bound.what}"))


def verdict(value: float | None, most: float, unit: str) -> tuple[str, str]:
    if value is None:
        return "not measured", ""
    return f"{value:.2f}{unit}", "reached" if value <= most else "missed"


def contest_of(found: dict[str, dict[str, Any]], area: str, title: str) -> dict[str, Any]:
    contests = found.get(area, {}).get("contests", [])
    return next((each for each in contests if each["title"].startswith(title)), {})


def middle(contest: dict[str, Any], name: str, what: str) -> float | None:
    """The median of a row; None where it is not there."""
    if "series" in contest:
        laps = contest["series"].get(name, {"rounds": []})["rounds"]
    else:
        laps = contest.get("rounds", {}).get(name, [])
    if not laps:
        return None
    if what == "KiB":
        return median((each["total"] - each["base"]) / each["count"] for each in laps)
    return median(each[what] for each in laps)
