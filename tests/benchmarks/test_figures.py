"""The arithmetic of the benchmarks, and how their tables read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import goals
from benchmarks.contest import Contest
from benchmarks.figures import Lap, Series, percentile
from benchmarks.growth import Growth
from benchmarks.idle import Crowd, Held


def lap(cpu: float, server: float = 1.0, generator: float = 0.1, p50: float = 2.0) -> Lap:
    return Lap(1000.0, cpu, 500, p50, 9.0, server, generator)


class FiguresTests(SynchronousTestCase):
    def test_percentiles(self) -> None:
        values = [float(each) for each in range(100)]
        self.assertEqual((percentile(values, 50), percentile(values, 99)), (50.0, 99.0))
        self.assertEqual((percentile([7.0], 99), percentile([], 50)), (7.0, 0.0))

    def test_the_generator_is_the_limit_only_where_the_server_had_more_to_give(self) -> None:
        laps = [lap(1, 0.5, 0.95), lap(1, 0.99, 0.95), lap(1, 0.5, 0.5)]
        self.assertEqual([each.generator_is_limit for each in laps], [True, False, False])


class ContestTests(SynchronousTestCase):
    def test_rounds_alternate_behind_a_warm_up_of_each(self) -> None:
        said = []

        def run(name: str, cost: float) -> Lap:
            said.append(name)
            return lap(cost)

        runs = {"multiproto": lambda _: run("a", 30), "peer": lambda _: run("b", 20)}
        contest = Contest("", "request").run(runs, 2, 1.0)
        self.assertEqual(said, ["a", "b", "a", "b", "b", "a"])
        self.assertEqual(contest.ratio("multiproto", "peer"), 1.5)

    def test_the_median_counts(self) -> None:
        contest = Contest("", "request", {"multiproto": Series([lap(1), lap(90), lap(3)])})
        self.assertEqual(contest.series["multiproto"].cpu, 3)

    def test_a_row_for_each_and_a_word_on_who_is_missing(self) -> None:
        series = {"multiproto": Series([lap(10)]), "peer": Series([lap(20, 0.5, 0.99, p50=0)])}
        contest = Contest("", "request", series, {"other": "not installed"})
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in contest.shown().splitlines()]
        self.assertEqual(
            rows[:1] + rows[2:],
            [
                [
                    *("", "CPU of one request, µs", "least to most", "ours / it", "/s", "p50, ms", "p99, ms"),
                    "busy %, server : generator",
                ],
                ["multiproto", "10.00", "10.00-10.00", "1.00", "1,000", "2.00", "9.00", "100 : 10"],
                [
                    "peer",
                    "20.00",
                    "20.00-20.00",
                    "0.50",
                    "1,000",
                    "",
                    "",
                    "50 : 99, the generator is the limit",
                ],
                ["other", "not installed", "", "", "", "", "", ""],
            ],
        )

    def test_growth_is_told_beside_the_first(self) -> None:
        growth = Growth("", "delivery", {"10 of them": Series([lap(10)]), "100 of them": Series([lap(15)])})
        self.assertEqual(
            [line.split("|")[-2].strip() for line in growth.shown().splitlines()[2:]], ["1.00", "1.50"]
        )

    def test_memory_of_one_connection(self) -> None:
        crowd = Crowd("", {"multiproto": [Held(100, 1000, 2000, 50)], "peer": [Held(100, 500, 1000, 25)]})
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in crowd.shown().splitlines()]
        self.assertEqual(
            rows[2:],
            [
                ["multiproto", "10.00", "1.00", "1.0", "2.0", "50", "50-50", "1.00"],
                ["peer", "5.00", "2.00", "0.5", "1.0", "25", "25-25", "2.00"],
            ],
        )


class GoalTests(SynchronousTestCase):
    def test_a_goal_is_reached_missed_or_not_measured(self) -> None:
        def row(*costs: float) -> dict[str, object]:
            return {"rounds": [{"cpu": cost} for cost in costs]}

        series = {"multiproto": row(1, 3, 2), "node:http": row(4), "fastify": row(2)}
        found = {"http": {"contests": [{"title": f"{goals.GET} JSON", "series": series}]}}
        self.assertEqual(
            [line[-2:] for line in goals.ratios(found)][:3],
            [("0.50 ×", "reached"), ("1.00 ×", "missed"), ("not measured", "")],
        )

    def test_memory_of_ours_alone(self) -> None:
        held = {"count": 1000, "base": 1000, "total": 13000, "accept": 100.0}
        found = {"idle": {"contests": [{"title": "10000 idle WebSockets", "rounds": {goals.IDLE: [held]}}]}}
        self.assertEqual(
            [line[-2:] for line in goals.bounds(found)], [("12.00 KiB", "reached"), ("not measured", "")]
        )
