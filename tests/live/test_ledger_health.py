"""`Health` of the ledger waits until all servers report a status at once, and no longer than it should."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.ledger.health import Health
from tests.timing import RESCUE


class Reporter(HTTPServer):
    """An HTTP server that reports these statuses one after the other, and the last one from then on."""

    def __init__(self, *statuses: str) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.statuses = list(statuses)

    def next_status(self) -> str:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


class Answer(BaseHTTPRequestHandler):
    server: Reporter

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "%s"}' % self.server.next_status().encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nowhere."""


class HealthTests(SynchronousTestCase):
    def health(self, *reporters: Reporter) -> Health:
        for reporter in reporters:
            thread = Thread(target=reporter.serve_forever)
            thread.start()
            self.addCleanup(thread.join)
            self.addCleanup(reporter.server_close)
            self.addCleanup(reporter.shutdown)
        return Health([reporter.server_port for reporter in reporters])

    def test_an_answer_that_comes_too_late(self) -> None:
        health = self.health(Reporter("healthy"))
        health.until("healthy", RESCUE)
        self.assertEqual(health.complaints, [])
        health.until("healthy", 0.0)
        self.assertEqual(health.complaints, ["not healthy within 0.0 s, but ['healthy']"])

    def test_all_at_once(self) -> None:
        """Not one after the other: the first falls back before the second is well."""
        first = Reporter("healthy", "degraded", "degraded", "healthy")
        self.health(first, Reporter("degraded", "healthy")).until("healthy", RESCUE)
        self.assertEqual(first.statuses, ["healthy"])
