"""The health document, from what the dependencies answer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.observe.health import HealthMonitor, Probe, always_up


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.database: Deferred[object] = succeed(None)
        self.cache: Any = None
        self.is_ready = True
        self.clock_warning: str | None = None
        self.damage_warning: str | None = None
        self.log_notice: object = None
        self.pruning_notice: str | None = None
        probes = (
            Probe("database", lambda: self.database, required=True),
            Probe("cache", lambda: self.cache or always_up(), required=False),
        )
        started = self.clock.seconds() - 90.5
        warnings = {"clock": lambda: self.clock_warning, "damage": lambda: self.damage_warning}
        self.health = HealthMonitor(
            self.clock,
            self.clock.seconds,
            probes,
            lambda: self.is_ready,
            started,
            warnings,
            {"pruning": lambda: self.pruning_notice, "log": lambda: self.log_notice},
        )

    def report(self) -> Deferred[tuple[int, dict[str, Any]]]:
        return Deferred.fromCoroutine(self.health.report())

    def test_all_is_well(self) -> None:
        """What lives in this process counts as up."""
        self.assertEqual(
            self.successResultOf(self.report()),
            (
                200,
                {
                    "status": "healthy",
                    "timestamp": "2001-09-09T01:46:40.000Z",
                    "uptime": 90.5,
                    "dependencies": {
                        "database": {"status": "up", "responseTime": 0.0},
                        "cache": {"status": "up", "responseTime": 0.0},
                    },
                },
            ),
        )

    def test_a_cache_away_degrades(self) -> None:
        self.cache = fail(ConnectionRefusedError())
        status, document = self.successResultOf(self.report())
        self.assertEqual((status, document["status"]), (200, "degraded"))
        self.assertEqual(document["dependencies"]["cache"]["status"], "down")

    def test_what_is_kept_longer_is_told_and_degrades_nothing(self) -> None:
        self.pruning_notice = "not yet"
        status, document = self.successResultOf(self.report())
        self.assertEqual((status, document["status"], document["pruning"]), (200, "healthy", "not yet"))

    def test_a_time_of_day_that_has_leapt_degrades_and_says_so(self) -> None:
        self.clock_warning = "set forward"
        status, document = self.successResultOf(self.report())
        self.assertEqual((status, document["status"], document["clock"]), (200, "degraded", "set forward"))

    def test_damage_degrades_and_says_so(self) -> None:
        self.damage_warning = "stored data is damaged"
        status, document = self.successResultOf(self.report())
        self.assertEqual(
            (status, document["status"], document["damage"], "clock" in document),
            (200, "degraded", "stored data is damaged", False),
        )

    def test_what_is_none_the_worse_is_said(self) -> None:
        self.log_notice = {"replacedAt": "2001-09-09T01:46:29.500Z"}
        status, document = self.successResultOf(self.report())
        self.assertEqual((status, document["status"]), (200, "healthy"))
        self.assertEqual(document["log"], self.log_notice)

    def test_a_database_away_is_ill(self) -> None:
        self.database = fail(OSError())
        self.cache = fail(OSError())
        status, document = self.successResultOf(self.report())
        self.assertEqual((status, document["status"]), (503, "unhealthy"))

    def test_silence_means_down(self) -> None:
        self.database = Deferred()
        reported = self.report()
        self.clock.advance(1.9)
        self.assertNoResult(reported)
        self.clock.advance(0.1)
        status, document = self.successResultOf(reported)
        self.assertEqual(status, 503)
        self.assertEqual(document["dependencies"]["database"], {"status": "down", "responseTime": 2000.0})

    def test_how_long_an_answer_took(self) -> None:
        self.database = Deferred()
        reported = self.report()
        self.clock.advance(0.25)
        self.database.callback(None)
        _, document = self.successResultOf(reported)
        self.assertEqual(document["dependencies"]["database"], {"status": "up", "responseTime": 250.0})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ready_is_asked_anew(self) -> None:
        self.assertTrue(self.health.ready())
        self.is_ready = False
        self.assertFalse(self.health.ready())
