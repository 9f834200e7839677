"""What a worker and its supervisor say to each other, over real pipes."""

from __future__ import annotations

import io
import os

from twisted.internet.error import ConnectionDone, ReactorNotRunning
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import Config
from multiproto.workers.supervisor import MAX_REPORT_LINE
from multiproto.workers.worker import (
    MAX_REASON_LENGTH,
    WORKER_NUMBER_VARIABLE,
    SupervisorLink,
    SupervisorWatcher,
)


class PipeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.read, self.write = os.pipe()
        self.open = [self.read, self.write]
        self.addCleanup(lambda: [os.close(each) for each in self.open])

    def close(self, descriptor: int) -> None:
        self.open.remove(descriptor)
        os.close(descriptor)


class SupervisorLinkTests(PipeCase):
    def test_who_has_one(self) -> None:
        self.assertIsNone(SupervisorLink.from_environment({"PORT": "1"}, io.StringIO()))
        parent = SupervisorLink.from_environment(
            {WORKER_NUMBER_VARIABLE: "3"}, io.StringIO('{"PORT": "1", "APP_NAME": "\\u00e4"}\n')
        )
        assert parent is not None
        self.assertEqual((parent.worker_number, parent.setting_texts), (3, {"PORT": "1", "APP_NAME": "ä"}))

    def test_one_that_is_gone_already(self) -> None:
        ended = self.assertRaises(
            SystemExit, SupervisorLink.from_environment, {WORKER_NUMBER_VARIABLE: "0"}, io.StringIO()
        )
        self.assertEqual(ended.code, 1)

    def test_what_it_hears(self) -> None:
        """One line each, however long the reason, and short enough for the other side."""
        parent = SupervisorLink(0, {}, self.write)
        parent.report_ready()
        parent.report_failure("no database")
        self.assertEqual(os.read(self.read, 100), b"ready\nfailed no database\n")
        parent.report_failure("\N{GRINNING FACE}" * (MAX_REASON_LENGTH + 1))
        said = os.read(self.read, 2 * MAX_REPORT_LINE)
        self.assertEqual(said.decode(), "failed " + "\N{GRINNING FACE}" * MAX_REASON_LENGTH + "\n")
        self.assertTrue(len(said) <= MAX_REPORT_LINE)

    def test_ports_of_metrics_one_after_the_other(self) -> None:
        config = Config()
        self.assertEqual(SupervisorLink(0, {}).worker_config(config), config)
        third = SupervisorLink(2, {}).worker_config(config)
        self.assertEqual((third.metrics.port, third.http), (9092, config.http))

    def test_no_secret_is_shown(self) -> None:
        self.assertNotIn("hunter2", repr(SupervisorLink(0, {"JWT_SECRET": "hunter2"})))


class Reactor(MemoryReactorClock):
    """Counts its stops; like the real one it can't be stopped twice."""

    stops = 0

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning()


class SupervisorWatcherTests(PipeCase):
    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        log = Logger(observer=lambda event: self.said.append(event["log_format"]))
        self.patch(SupervisorWatcher, "_log", log)
        self.reactor = Reactor()
        self.leash = SupervisorLink(0, {}, stdin_fd=self.read).make_watcher(self.reactor)
        self.leash.startService()

    def test_the_end_of_the_other_side_is_ours(self) -> None:
        self.assertEqual((self.reactor.getReaders(), self.leash.fileno()), ([self.leash], self.read))
        self.close(self.write)
        self.leash.doRead()
        self.assertEqual((self.reactor.stops, self.reactor.getReaders()), (1, []))
        self.assertEqual(self.said, ["the supervisor is gone: stopping"])

    def test_as_some_reactors_tell_it(self) -> None:
        self.leash.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.reactor.stops, 1)

    def test_while_stopping_already(self) -> None:
        self.reactor.stop()
        self.close(self.write)
        self.leash.doRead()
        self.assertEqual(self.said, [])

    def test_no_longer_watched_once_stopped(self) -> None:
        self.leash.stopService()
        self.assertEqual(self.reactor.getReaders(), [])

    def test_words_mean_nothing(self) -> None:
        os.write(self.write, b"hello")
        self.leash.doRead()
        self.assertEqual((self.reactor.stops, self.reactor.getReaders()), (0, [self.leash]))
