"""Requests that wait for the count of a rate limit that instances share."""

from __future__ import annotations

from attrs import Factory, define, frozen
from twisted.internet.defer import Deferred

from multiproto.core.protocol import Delivery

from .client import Line, responses
from .sites import SiteCase


@define
class Counts:
    """Answers when the test wants it to."""

    asked: list[Deferred[tuple[int, float]]] = Factory(list)

    def count(self, key: str) -> Deferred[tuple[int, float]]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def answer(self, count: int) -> None:
        self.asked.pop(0).callback((count, 42.0))


@frozen(eq=False)
class Ear:
    heard: list[Delivery]

    def deliver(self, delivery: Delivery) -> bool:
        self.heard.append(delivery)
        return True


class SharedLimitTests(SiteCase):
    requests = 3

    def setUp(self) -> None:
        self.counts = Counts()
        super().setUp()
        self.line = Line(self.site)

    def test_all_that_instances_counted_is_what_counts(self) -> None:
        self.line.ask("GET", "/nope")
        self.assertEqual(self.line.heard(), b"")
        self.counts.answer(3)
        answer = self.line.answer()
        self.assertEqual((answer.status, answer.headers["ratelimit-remaining"]), (404, "0"))
        self.assertEqual(answer.headers["ratelimit-reset"], "42")

    def test_one_too_many_elsewhere_is_refused_here_and_the_connection_goes_on(self) -> None:
        for _ in range(2):
            self.line.ask("GET", "/nope")
        self.line.ask("GET", "/health/live")
        self.counts.answer(4)
        statuses = [answer.status for answer in responses(self.line.heard())]
        self.assertEqual((statuses, self.line.closed), ([429, 429, 200], False))
        self.assertEqual(self.counts.asked, [])  # the second was known to be too many

    def test_a_client_that_leaves_meanwhile_costs_no_work(self) -> None:
        heard: list[Delivery] = []
        self.house.dispatcher.subscribe("a", Ear(heard))
        publish = "POST", "/api/v1/topics/a", {"data": 1}, {"Authorization": "Bearer token-ann"}
        self.line.ask(*publish)
        self.line.hang_up()
        self.counts.answer(1)
        self.assertEqual((heard, [seen[2] for seen in self.observed]), ([], [499]))
        self.line = Line(self.site)
        self.line.ask(*publish)
        self.counts.answer(2)
        self.assertEqual((len(heard), self.line.answer().status), (1, 202))

    def test_health_is_not_counted(self) -> None:
        self.line.ask("GET", "/health/live")
        self.assertEqual(self.line.answer().status, 200)
        self.assertEqual(self.counts.asked, [])
