"""What a publication on a live topic costs two instances and Redis: over one channel, and over one for each topic.

The ways are measured by turns, and medians are shown; each round hears exactly
what it must, or ends the benchmark.  See `lane_ends.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any, Sequence

from tests.servers import Redis

from .apart import Apart, cpu_exactly
from .figures import circumstances, number, table
from .lane_ends import topic

WAYS = "channel", "topics", "patterns"
TOPICS = 10, 1000, 10_000  # that somebody listens to on the one instance
SHARES = 1, 10  # one in so many publications is on those
TURNS = 1, 16  # publications in one turn of the publishing instance
COUNT = 4000  # publications in a round
FEW = 400  # where Redis takes a millisecond for each

Found = dict[str, list[dict[str, float]]]


def measure(redis: Redis, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = circumstances()
    ends = [
        Apart("benchmarks.lane_ends", (role,), {"REDIS_URL": redis.url})
        for role in ("publisher", "subscriber")
    ]
    for end in ends:
        end.start()
    publications: Found = {}
    resubscriptions: Found = {}
    for number_ in range(rounds + 1):  # the first one warms up
        for topics in TOPICS:
            for way in WAYS:
                ends[1].ask("listen", way=way, topics=topics)
                seen, again = one_round(redis, ends, way, topics)
                ends[1].ask("leave")
                if number_:
                    for name, each in seen.items():
                        publications.setdefault(name, []).append(each)
                    resubscriptions.setdefault(f"{way} {topics}", []).append(again)
    for end in ends:
        end.stop()
    return found | {"publications": publications, "resubscriptions": resubscriptions}


def count_of(way: str, topics: int) -> int:
    return FEW if way == "patterns" and topics > 1000 else COUNT


def one_round(
    redis: Redis, ends: Sequence[Apart], way: str, topics: int
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """CPU seconds of some publications, by name; and what a lost connection cost."""
    publisher, subscriber = ends
    seen, told, count = {}, 0, count_of(way, topics)
    theirs = subscriber.ask("heard", count=0)["cpu"]
    for share in SHARES:
        heard = sum(int(topic(each, topics * share)[5:]) < topics for each in range(count))
        for turn in TURNS:
            cpu = cpu_exactly(redis.pid)
            said = publisher.ask("publish", way=way, count=count, a_turn=turn, topics=topics * share)
            told += heard
            now = subscriber.ask("heard", count=told)["cpu"]
            redis_cpu = cpu_exactly(redis.pid) - cpu
            seen[f"{way} {topics} {share} {turn}"] = {
                "publisher": said["cpu"],
                "subscriber": now - theirs,
                "redis": redis_cpu,
                "heard": heard,
            }
            theirs = now
    cpu = cpu_exactly(redis.pid)
    again: dict[str, float] = subscriber.ask("again")
    return seen, again | {"redis": cpu_exactly(redis.pid) - cpu}


def shown(found: dict[str, Any]) -> str:
    whose = "publisher", "subscriber", "redis"
    heads = "topics", "wanted", "a turn", *(f"{way}: {' / '.join(whose)}, µs" for way in WAYS)
    rows = []
    for topics in TOPICS:
        for share in SHARES:
            for turn in TURNS:
                cells: list[object] = [f"{topics:,}", f"1 in {share}" if share > 1 else "all", turn]
                for way in WAYS:
                    series = found["publications"][f"{way} {topics} {share} {turn}"]
                    each = (
                        median(one[name] for one in series) / count_of(way, topics) * 1e6 for name in whose
                    )
                    cells.append(" / ".join(f"{value:.1f}" for value in each))
                rows.append(cells)
    lost = []
    for topics in TOPICS:
        cells = [f"{topics:,}"]
        for way in WAYS:
            series = found["resubscriptions"][f"{way} {topics}"]
            cells += [number(median(one[name] for one in series) * 1000) for name in ("subscribing", "away")]
            cells.append(f"{median(one['cpu'] for one in series) * 1000:.1f}")
        lost.append(cells)
    lost_heads = "topics", *(f"{way}: {what}, ms" for way in WAYS for what in ("subscribing", "away", "CPU"))
    return f"{table(heads, rows)}\n\nA lost connection\n\n{table(lost_heads, lost)}"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m benchmarks.lane", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="medians are shown (%(default)s)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/lane.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    redis = Redis()
    try:
        found = measure(redis, options.rounds)
    finally:
        redis.stop()
    print(shown(found))
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
